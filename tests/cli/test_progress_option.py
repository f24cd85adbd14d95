"""`--progress`: a bar on a terminal, lines where they are asked for, and nothing else in a pipe."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from cli import in_pty
from emulated_terminal import EmulatedTerminal
from shop import Shop, make_shop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STEPS = ("reserve", "approve", "charge", "invoice")
LINES = [f"order-1 [{number}/4] {step}: done" for number, step in enumerate(STEPS, 1)]
LINES.append("order-1 finished")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """Give a shop without runs."""
    with make_shop(tmp_path) as made:
        yield made


def lines_of(shown: str) -> list[str]:
    """The lines of progress, without their durations."""
    return re.findall(r"^(order-1 .+) (?:in|after) \S+(?: s)?$", shown, re.MULTILINE)


def test_lines_in_a_pipe(shop: Shop) -> None:
    """A pipe has lines on stderr where they are asked for. Stdout is the same."""
    quiet = shop.does("run", "order-1")
    assert shop.does("delete", "order-1", "--yes").code == 0
    asked = shop.does("run", "order-1", "--progress", "lines")
    assert lines_of(quiet.out + quiet.err) == []
    assert lines_of(asked.err) == LINES
    assert asked.out == quiet.out


def test_json_has_no_other_lines(shop: Shop) -> None:
    """JSON for a program comes alone, also on a terminal, unless lines are asked for."""
    shown = in_pty("run", shop.target, "order-0", "--output", "json", cwd=shop.folder).out
    assert "\x1b" not in shown
    assert "finished after" not in shown
    asked = shop.does("run", "order-1", "--output", "json", "--progress", "lines")
    assert lines_of(asked.err) == LINES
    assert json.loads(asked.out[asked.out.index("{") :])["run"]["status"] == "finished"


MANY = {
    "resume --status failed": "1 failed",
    "work --until-empty": "1 finished, 1 failed",
}


@pytest.mark.parametrize("words", MANY)
def test_lines_of_many(words: str, shop: Shop) -> None:
    """Commands of many runs say which have failed, and how all have ended."""
    if words.startswith("resume"):
        shop.run("order-3", 1, declined=True)
    for run_id, declined in (("order-1", False), ("order-2", True)):
        state = json.dumps({"declined": declined})
        assert shop.does("submit", run_id, "--state", state).code == 0
    done = shop.does(*words.split(), "--progress", "lines")
    assert " failed at 3/4 charge: ValueError\n" in done.err
    *_, counts = [line for line in done.err.splitlines() if line.startswith("orders: ")]
    assert f", {MANY[words]}, " in counts.replace(" 0 finished,", "")


def test_a_bar_on_a_terminal(shop: Shop) -> None:
    """A terminal of 80 columns has a bar below what steps print, and one line of it stays."""
    shown = in_pty("run", shop.target, "order-1", columns=80, cwd=shop.folder)
    assert shown.code == 0
    terminal = EmulatedTerminal(80).feed(shown.out)
    assert terminal.widest <= 80
    lines = terminal.lines
    (end,) = [line for line in lines if line.startswith("✓ orders[order-1] finished after ")]
    assert lines.index("reserving") < lines.index(end)
    assert lines_of("\n".join(lines[: lines.index(end)])) == []


def test_a_terminal_without_the_extra(shop: Shop) -> None:
    """Where rich is missing, the same terminal has lines."""
    missing = dict.fromkeys(("rich", "rich.console", "rich.text"))
    with mock.patch.dict(sys.modules, missing):
        sys.modules.pop("aiocheckpoint._display.live.screen", None)
        shown = in_pty("run", shop.target, "order-1", cwd=shop.folder)
    assert (shown.code, "\x1b" in shown.out) == (0, False)
    assert lines_of(shown.out)[: len(LINES)] == LINES


def test_two_hundred_runs_on_a_terminal(shop: Shop) -> None:
    """Two hundred runs at once have one bar. Their failures stand above its last line."""
    states = [(f"order-{n}", {"declined": n % 50 == 7}) for n in range(200)]
    given = "\n".join(map(json.dumps, states))
    assert shop.does("submit", "-", input=given).code == 0
    words = ("work", shop.target, "--until-empty", "--limit", "200")
    shown = in_pty(*words, columns=80, cwd=shop.folder, env={"NO_COLOR": "1"})
    terminal = EmulatedTerminal(80).feed(shown.out)
    assert (terminal.widest <= 80, terminal.styles) == (True, [])
    (end,) = [line for line in terminal.lines if line.startswith("orders  ") and "200 runs" in line]
    assert "196 finished  4 failed" in end
    failed = [line for line in terminal.lines if "failed at 3/4 charge" in line]
    assert len(failed) == 4
