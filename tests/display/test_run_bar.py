"""The lines of bars: what has room, and that no name breaks out of its line."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from card_checks import checked_card

from aiocheckpoint._display.live.displays import DisplaySubject
from aiocheckpoint._display.live.followed import FollowedRuns
from aiocheckpoint._display.live.live_runs_card import LiveRunsCard
from aiocheckpoint._display.live.run_bar import end_line, run_lines
from aiocheckpoint._display.live.runs_bar import counts_line, runs_lines
from aiocheckpoint._display.live.terminal_style import TerminalStyle, width_of_line
from aiocheckpoint._model.header import Failure
from aiocheckpoint._model.plan import Plan
from aiocheckpoint.events import RunFinished, RunStarted, RunTerminated, StepFailed, StepStarted
from aiocheckpoint.look import RunView, StepView

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint._display.live.terminal_style import Line
    from aiocheckpoint.events import Event

NOW = 1_000_000.0
AGAIN = "The same call goes on, and repeats no finished run, with: once=True"
WIDE = TerminalStyle(100, unicode=True)
FAILURE = Failure(
    step="charge",
    part="step",
    type="httpx.ConnectTimeout",
    message="late",
    traceback="",
    at=NOW,
    seconds=10.0,
)
PLAN = Plan(
    steps=("charge",),
    start=0,
    stop=1,
    loads=(False,),
    source="given",
    fresh=True,
    relocates=False,
    ignores_given=False,
    reason="a new run",
)
CHARGE = StepView(
    index=2,
    name="charge",
    status="running",
    attempts=1,
    began=NOW - 41,
    ends_at=NOW + 25,
    done=1_240,
    total=2_000,
    note="rows",
)
RUN = RunView(
    flow="orders",
    run_id="order-42",
    location="orders.db",
    status="running",
    position=2,
    step="charge",
    step_count=4,
    stop=4,
    started_at=NOW - 60,
    steps=(
        StepView(index=0, name="reserve", status="done", seconds=0.03, attempts=1),
        StepView(index=1, name="approve", status="done", seconds=0.0, attempts=1),
        CHARGE,
        StepView(index=3, name="invoice", status="waiting", expected=90.0),
    ),
)
TITLE = "orders[order-42]"
HOSTILE = "\x1b[2J\n" + "名" * 50 + "\u202e[bold]"


def plain(line: Line) -> str:
    """A line without its colours."""
    return "".join(text for text, _ in line)


def texts(run: RunView, style: TerminalStyle = WIDE) -> list[str]:
    """The lines of a run without their colours."""
    return [plain(line).rstrip() for line in run_lines(run, style, NOW)]


def test_all_of_it() -> None:
    """The step with its bar, amount and times, and the steps around it with the time of the run."""
    assert texts(RUN) == [
        f"{TITLE}  3/4 charge   ████████████░░░░░░░░  1,240/2,000 rows  0:41, about 0:25 left",
        f"✓ reserve 0.03 s   ✓ approve 0.00 s   · invoice{' ' * 32}run: about 2 min left",
    ]


def test_ascii() -> None:
    """A terminal without these signs gets others."""
    shown = "\n".join(texts(RUN, TerminalStyle(100, unicode=False)))
    assert shown.isascii()
    assert "############........" in shown


def test_nothing_is_known() -> None:
    """Where no step says how far it is, and no run was before, there are no figures of that."""
    step = replace(CHARGE, done=None, total=None, note=None, ends_at=0.0)
    steps = (*RUN.steps[:2], step, replace(RUN.steps[3], expected=None))
    assert texts(replace(RUN, steps=steps)) == [
        "orders[order-42]  3/4 charge   0:41",
        "✓ reserve 0.03 s   ✓ approve 0.00 s   · invoice",
    ]


def test_amount_without_a_total() -> None:
    """Without a total there is no bar."""
    step = replace(CHARGE, total=None, ends_at=0.0, attempts=3)
    (first, _) = texts(replace(RUN, steps=(*RUN.steps[:2], step, RUN.steps[3])))
    assert first == "orders[order-42]  3/4 charge   1,240 rows  try 3  0:41"


@pytest.mark.parametrize("width", [40, 60, 79, 80, 120])
@pytest.mark.parametrize("name", ["orders", HOSTILE], ids=["plain", "hostile"])
def test_width(width: int, name: str) -> None:
    """No line is wider than the terminal, whatever the names, and each is one line."""
    step = replace(CHARGE, name=name, note=name)
    run = replace(RUN, flow=name, run_id=name, step=name, steps=(*RUN.steps[:2], step))
    for status in ("running", "failed", "paused", "finished"):
        one = replace(run, status=status, failure=FAILURE, pause=name)
        style = TerminalStyle(width, unicode=True)
        for line in (*run_lines(one, style, NOW), end_line(one, style, NOW)):
            shown = plain(line)
            assert width_of_line(line) <= width
            assert shown.isprintable()


ENDS: dict[str, tuple[dict[str, Any], str]] = {
    "finished": ({}, "✓ orders[order-42] finished after 1:00"),
    "failed": (
        {"failure": FAILURE},
        "✗ orders[order-42] failed at 3/4 charge: httpx.ConnectTimeout",
    ),
    "paused": ({"pause": "who?"}, "‖ orders[order-42] paused at 3/4 charge: who?"),
    "terminated": ({"termination": "sold"}, "⊗ orders[order-42] terminated at 3/4 charge: sold"),
    "stopped": ({}, "■ orders[order-42] stopped at 3/4 charge after 1:00"),
}


@pytest.mark.parametrize("status", ENDS)
def test_end(status: str) -> None:
    """One line stays, and says how it ended."""
    facts, expected = ENDS[status]
    run = replace(RUN, status=status, **facts)
    assert plain(end_line(run, WIDE, NOW)) == expected


def runs(total: int | None) -> FollowedRuns:
    """Five runs: one of each end, and one in progress."""
    followed = FollowedRuns(DisplaySubject("orders", None, "orders.db", many=True, total=total))
    for event in events_of_five():
        followed.take(event)
    followed.began = NOW - 41
    return followed


def events_of_five() -> Iterator[Event]:
    """Their events."""
    for number in range(5):
        facts: dict[str, Any] = {"flow": "orders", "run_id": f"order-{number}", "number": 1}
        step: dict[str, Any] = {**facts, "step": "charge", "index": 0, "of": 1}
        yield RunStarted(**facts, plan=PLAN)
        yield StepStarted(**step, attempt=1)
        if number == 0:
            error: dict[str, Any] = {"part": "step", "error": OSError("no"), "cancelled": False}
            yield StepFailed(**step, **error, attempt=1, seconds=1.0)
        elif number == 1:
            yield RunTerminated(**facts, step="charge", reason="sold", by="step")
        elif number < 4:
            end: dict[str, Any] = {"status": "paused" if number == 2 else "finished"}
            yield RunFinished(**facts, **end, position=0, seconds=1.0)


def test_many_runs() -> None:
    """One line has how many have ended and how, the next one the slowest."""
    followed = runs(total=8)
    lines = [plain(line) for line in runs_lines(followed, "orders", WIDE, NOW)]
    assert "  4/8 runs  1 finished  1 failed  1 terminated  1 paused  1 running  " in lines[0]
    assert lines[0].startswith("orders  ███")
    assert lines[1].startswith("slowest: order-4 at 1/1 charge, ")
    expected = ["order-0 failed at 1/1 charge: OSError", "order-1 terminated at charge: sold"]
    assert followed.news() == expected
    assert followed.news() == []


@pytest.mark.parametrize(
    ("total", "error", "remedy"),
    [
        (8, None, "Those go on by: list(cp.resume_all(status='failed'))"),
        (
            8,
            KeyboardInterrupt(),
            AGAIN,
        ),
        (
            None,
            KeyboardInterrupt(),
            "Those go on by: list(cp.resume_all(status=('failed', 'cancelled')))",
        ),
    ],
)
def test_end_of_many(total: int | None, error: BaseException | None, remedy: str) -> None:
    """At the end there is no time left. An interrupted call says how many it has not begun."""
    card = LiveRunsCard(DisplaySubject("orders", None, "orders.db", many=True, total=total))
    for event in events_of_five():
        card.take(event)
    card.began = NOW - 41
    both: tuple[FollowedRuns, ...] = (runs(total), card)
    for followed in both:
        bar = plain(counts_line(followed, "orders", TerminalStyle(200, unicode=True), NOW))
        assert ("left" in bar) == (total is not None)
        assert "not begun" not in bar
        followed.end(error)
        bar = plain(counts_line(followed, "orders", TerminalStyle(200, unicode=True), NOW))
        assert "left" not in bar
        assert ("3 not begun" in bar) == (error is not None and total is not None)
        assert "running" not in bar
    html, text = card.drawn()
    assert text.endswith(f"\n{remedy}")
    shown = checked_card(html)
    assert shown.endswith(remedy)
    for words in (shown, text):
        assert "left" not in words
        assert ("3 not begun" in words) == (error is not None and total is not None)


@pytest.mark.parametrize("width", [30, 40, 60, 79, 120])
def test_width_of_many(width: int) -> None:
    """What has no room is left out, the last first."""
    line = counts_line(runs(total=8), HOSTILE, TerminalStyle(width, unicode=True), NOW)
    assert width_of_line(line) <= width
    assert "4/8 runs" in plain(line)
