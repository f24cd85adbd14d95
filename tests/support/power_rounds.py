"""Rounds of power cuts, and the checks after each of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import power_script
import pytest
from locations import with_support
from power import Disk, what_is_missing
from power_script import STEPS, kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCRIPT = Path(power_script.__file__)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Disk]]:
    """Give a way to make one disk, which is removed at the end in any case."""
    made = list[Disk]()

    def make(kind: str) -> Disk:
        missing = what_is_missing(kind)
        if missing:
            pytest.skip(missing)
        made.append(Disk(kind, tmp_path / "disk"))
        try:
            made[0].make()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no disk can be made here: {error.stderr!r}")
        return made[0]

    yield make
    for one in made:
        one.clear()


def cut_power(disk: Disk, word: str, durable: str, *, rounds: int, seed: int) -> list[Any]:
    """Let the script cut the power of a disk; return its report of each round."""
    words = [disk.kind, disk.place, word, durable, rounds, seed]
    done = subprocess.run(
        [sys.executable, SCRIPT, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=with_support(),
    )
    assert (done.returncode, done.stderr) == (0, "")
    seen: list[Any] = json.loads(done.stdout)
    return seen


def check_runs(seen: list[Any]) -> None:
    """Check that each round resumed from the snapshot before, and lost nothing acknowledged."""
    *cut, last = seen
    for one in cut:
        check_ending(one)
        assert kept(one), one
        assert one["left"].count(".tmp") <= 1, one
        first = max(one["before"], 0)
        assert one["told"] == list(range(first, first + len(one["told"]))), one
    assert any(one["errors"] for one in cut)
    assert last["told"] == list(range(max(last["before"], 0), STEPS))
    assert (last["stored"], last["sound"]) == (STEPS, True)
    assert last["left"] in ([".pkl"], [".db"])


def check_firsts(seen: list[Any]) -> None:
    """Check that each first snapshot is stored, except the one in progress at the cut."""
    for one in seen:
        check_ending(one)
        assert all(found["sound"] for found in one["found"]), one
        assert {found["stored"] for found in one["found"]} <= {-1, 1}, one
        assert [found["stored"] for found in sure_of(one)] == [1] * len(sure_of(one)), one
    assert any(sure_of(one) for one in seen)


def sure_of(one: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the first snapshots acknowledged before the cut; the last number was only begun."""
    found: list[dict[str, Any]] = one["found"]
    return found[: len(one["sure"]) - 1]


def check_ending(one: dict[str, Any]) -> None:
    """Check that the cut raised the documented error, unless all steps were done by then."""
    assert one["status"] == 0
    assert set(one["errors"]) <= {"StorageError", "NotDurableError"}, one
    assert bool(one["errors"]) is (STEPS not in one["told"]) or "found" in one, one


def lost(word: str, seen: list[Any]) -> bool:
    """Whether an acknowledged snapshot is lost."""
    if word != "first":
        return not all(kept(one) for one in seen)
    return any(found["stored"] != 1 for one in seen for found in sure_of(one))
