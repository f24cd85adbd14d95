"""The text diagram of flows and runs, compared with golden text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import CheckpointFlow, Retry
from aiocheckpoint._display.diagrams.diagram_steps import (
    DiagramStep,
    folded,
    of_run,
    of_steps,
    of_views,
)
from aiocheckpoint._display.diagrams.diagram_text import ASCII, draw
from aiocheckpoint._model.header import Failure
from aiocheckpoint.look import RunView, StepView

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

State = dict[str, Any]


def of_names(names: Sequence[str]) -> tuple[DiagramStep, ...]:
    """Steps of these names."""
    views = [StepView(index=index, name=name, status="waiting") for index, name in enumerate(names)]
    return of_views(views)


def read_items(state: State) -> State:
    """A loader."""
    return {"items": state}


def keep_items(state: State, data: State) -> None:
    """A saver."""


async def charge(state: State) -> None:
    """A step."""


def reserve(state: State, data: State) -> None:
    """A step."""


def invoice(state: State) -> None:
    """A step."""


def shop(tmp_path: Path) -> tuple[DiagramStep, ...]:
    """The steps of a flow of three steps."""
    cp = CheckpointFlow(tmp_path / "orders.pkl")
    cp.add_step(load=read_items, save=keep_items)(reserve)
    cp.add_step(retry=Retry(attempts=5), timeout=30)(charge)
    cp.add_step()(invoice)
    return of_steps(cp._core.registry.steps)  # noqa: SLF001 - no public name lists steps


SHOP = """\
  ↓ read_items
┌────────────┐
│ 1  reserve │
└────────────┘
  ↓ keep_items
══════════════
┌────────────┐
│ 2  charge  │  up to 5 tries, at most 30 s
└────────────┘
══════════════
┌────────────┐
│ 3  invoice │
└────────────┘
══════════════"""


def test_flow(tmp_path: Path) -> None:
    """A flow is drawn with loaders, savers and limits."""
    assert draw(shop(tmp_path)) == SHOP


BROKEN = RunView(
    flow="orders",
    run_id="order-42",
    location="orders.db",
    status="failed",
    position=1,
    step_count=3,
    failure=Failure(
        step="charge",
        part="step",
        type="httpx.ConnectTimeout",
        message="",
        traceback="",
        at=0,
        seconds=10,
    ),
    steps=(
        StepView(index=0, name="reserve", status="done", seconds=0.0312),
        StepView(index=1, name="charge", status="failed", seconds=10.004, attempts=5),
        StepView(index=2, name="invoice", status="waiting"),
    ),
)

RUN = """\
+--------------+
| D 1  reserve |  0.03 s
+--------------+
================
+--------------+
| F 2  charge  |  failed, 10.0 s, 5 tries, httpx.ConnectTimeout in its part 'step'
+--------------+
================
+--------------+
| W 3  invoice |
+--------------+
================"""


def test_run() -> None:
    """A run is drawn with the states of its steps, also in ASCII."""
    drawn = draw(of_run(BROKEN), strokes=ASCII, sign=lambda status: status[0].upper())
    assert drawn == RUN


def test_run_of_a_known_flow(tmp_path: Path) -> None:
    """Steps of a run get the loaders, savers and limits of the steps of these names."""
    first, second, _ = of_run(BROKEN, shop(tmp_path))
    assert (first.loader, first.saver, first.status) == ("read_items", "keep_items", "done")
    assert second.badges == ("up to 5 tries", "at most 30 s")
    renamed = of_names(("reserve", "pay", "invoice"))
    assert of_run(BROKEN, renamed)[1].name == "charge"


@pytest.mark.parametrize(("at", "gaps"), [(None, [85]), (50, [39, 39]), (2, [85]), (90, [79])])
def test_large_flows_are_folded(at: int | None, gaps: list[int]) -> None:
    """A flow of more than 100 steps shows its ends, and the steps around that of a run."""
    steps = of_names([f"step {number}" for number in range(101)])
    lines = draw(folded(steps, at), 101).splitlines()
    assert [line for line in lines if "more" in line] == [f"  … {gap} more" for gap in gaps]


def test_a_hundred_steps_are_not_folded() -> None:
    """A flow of 100 steps is shown whole."""
    steps = of_names([f"step {number}" for number in range(100)])
    assert folded(steps, 50) == steps


def test_hostile_names_steer_no_terminal() -> None:
    """Control characters are shown by their escapes, and long names are cut."""
    drawn = draw(of_names(["a\x1b[2Jb\n", "字" * 60, "x" * 500]))
    assert "a\\x1b[2Jb\\n" in drawn
    assert drawn.replace("\n", "").isprintable()
    assert max(map(len, drawn.splitlines())) < 60


def test_nothing_is_drawn_of_no_steps() -> None:
    """A flow without steps has an empty diagram."""
    assert draw(()) == ""
    assert draw((), 3) == "  … 3 more"
