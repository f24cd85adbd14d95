"""What the card of a flow shows: its place, its steps, and what is stored of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint._concurrency.callables import is_async_callable
from aiocheckpoint._display.run_facts import reason_of, standing_at
from aiocheckpoint._display.times import took, when

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint._model.steps import Step
    from aiocheckpoint.look import RunView
    from aiocheckpoint.look._glance import Glance

__all__ = ["FlowFacts", "how_words", "last_times", "newest_words", "part_words"]


class FlowFacts(NamedTuple):
    """The facts of a flow.

    Attributes:
        name: Its name.
        place: Where its runs are stored, without credentials.
        options: How they are stored, such as "sqlite" and "signed".
        steps: Its steps.
        stored: What is stored of it. None where that is unknown.
        problem: Why it is unknown, in words, or "".
    """

    name: str
    place: str
    options: tuple[str, ...]
    steps: Sequence[Step]
    stored: Glance | None
    problem: str = ""


def how_words(step: Step) -> str:
    """Say how a step is called under `arun`."""
    if is_async_callable(step.run.function):
        return "async"
    return "sync, on the loop" if step.run.on_loop else "sync, thread"


def part_words(step: Step) -> str:
    """Say which of loader and saver it has."""
    needs = f" of {', '.join(map(repr, step.needs))}" if step.needs else ""
    loader = f"loader{needs}" if step.load is not None else ""
    return ", ".join(filter(None, (loader, "saver" if step.save is not None else "")))


def last_times(facts: FlowFacts) -> dict[str, str]:
    """How long the steps took in the run that began last, by name."""
    newest = None if facts.stored is None else facts.stored.newest
    if newest is None:
        return {}
    seconds = {**newest.expected}
    seconds |= {one.name: one.seconds for one in newest.steps if one.seconds is not None}
    return {name: f"{took(one)} last time" for name, one in seconds.items()}


def newest_words(run: RunView) -> str:
    """Say how the run that began last stands, but for its status."""
    name = "" if run.run_id is None else f"run {run.run_id}"
    gone = reason_of(run) if run.stale else ""
    return ", ".join(filter(None, (standing_at(run), gone, when(run.written_at), name)))
