"""When workers take a run: what show, lists, requeue and suggestions say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from queued_runs import put_header
from shop import Shop, make_shop

from aiocheckpoint._display.times import now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A shop with a run that has failed, and is due again in ten seconds and a quarter."""
    with make_shop(tmp_path) as shop:
        shop.run("bad", 1, declined=True)
        yield shop


def wait(shop: Shop, due: float | None) -> None:
    """Set when the run is due."""
    put_header(shop.flow().handler, "bad", due=due)


def test_run_that_waits_for_its_next_try(shop: Shop) -> None:
    """The card and the wide list say when a failed run is tried again."""
    wait(shop, now() + 90_000)
    assert shop.bare("show", "bad").out.splitlines()[0].endswith("(due in 1 d)")
    assert shop.bare("runs", "--wide").out.splitlines()[-1].endswith("due in 1 d")
    assert "would be due now, failed" in shop.bare("requeue", "bad", "--dry-run").out


def test_requeued_run_looks_so(shop: Shop) -> None:
    """Its list, its card and a second dry run say that it is due."""
    wait(shop, now() + 90_000)
    shop.bare("requeue", "bad", "--write")
    assert shop.bare("show", "bad").out.splitlines()[0].endswith("(by requeue, due now)")
    assert shop.bare("runs", "--wide").out.splitlines()[-1].endswith("by requeue, due now")
    assert "is due now already, stopped" in shop.bare("requeue", "bad", "--dry-run").out


def test_suggestion_takes_runs_that_are_not_due(shop: Shop) -> None:
    """`--all` is suggested where it takes a run. Else their status takes them before their time."""
    wait(shop, now() + 90_000)
    line = shop.does("runs").err
    assert line.endswith("--status failed --dry-run\n")
    words = line.split(f"{shop.target} ")[1].split()
    assert "1 would run" in shop.does("resume", *words).err
    wait(shop, now() - 1)
    assert shop.does("runs").err.endswith("--all --dry-run\n")
    assert "1 would run" in shop.does("resume", "--all", "--dry-run").err


def test_queued_runs_are_for_workers(shop: Shop) -> None:
    """`resume --all` takes begun runs, and says so. A queued one is left to `work`."""
    shop.does("submit", "q", "--state", "{}")
    wait(shop, None)
    assert shop.does("resume", "--all", "--dry-run").out.startswith("bad  ")
    words = " ".join(shop.does("resume", "--help").out.split())
    assert "all begun runs that are due, and none that is queued" in words
