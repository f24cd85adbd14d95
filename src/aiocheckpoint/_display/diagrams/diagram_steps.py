"""The steps of a flow, or of a run of it, as diagrams draw them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aiocheckpoint._display.folding import places_kept
from aiocheckpoint._display.step_words import limits_of, words_of
from aiocheckpoint._model.steps import name_of
from aiocheckpoint._texts import cut_middle, harmless, width_of
from aiocheckpoint.look._records import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aiocheckpoint._model.steps import Step
    from aiocheckpoint.look import RunView, StepView

__all__ = [
    "MOST_STEPS",
    "DiagramStep",
    "folded",
    "name_shown",
    "nearest",
    "of_run",
    "of_steps",
    "of_views",
    "with_gaps",
]

MOST_STEPS = 100
"""A flow of more steps is folded."""
_MOST_FOLDED = 24
_CHARACTERS_A_COLUMN = 2
"""More are marks that take no column, of which a name may have any number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagramStep(Record):
    """A step as it is drawn.

    Attributes:
        index: Its index from 0.
        name: Its name.
        loader, saver: Names of the functions, or None.
        badges: Its limits in words, such as "up to 5 tries".
        status: Its status in a run, as in `StepView`, or None for the step of a flow.
        notes: What is known of it in the run, in words.
    """

    index: int
    name: str
    loader: str | None = None
    saver: str | None = None
    badges: tuple[str, ...] = ()
    status: str | None = None
    notes: tuple[str, ...] = ()


def of_steps(steps: Sequence[Step]) -> tuple[DiagramStep, ...]:
    """Describe the steps of a flow."""
    return tuple(
        DiagramStep(
            index=index,
            name=step.name,
            loader=None if step.load is None else name_of(step.load.function),
            saver=None if step.save is None else name_of(step.save.function),
            badges=tuple(limits_of(step)),
        )
        for index, step in enumerate(steps)
    )


def of_views(steps: Sequence[StepView]) -> tuple[DiagramStep, ...]:
    """Describe the steps of a flow of which a run is stored, without the run."""
    return tuple(DiagramStep(index=step.index, name=step.name) for step in steps)


def of_run(run: RunView, steps: Sequence[DiagramStep] = ()) -> tuple[DiagramStep, ...]:
    """Describe the steps of a run.

    Args:
        run: The run.
        steps: The steps of its flow, where its code is there. A step of the run with the index and
            name of one of them gets its loader, saver and badges.
    """
    known = {(step.index, step.name): step for step in steps}
    described: list[DiagramStep] = []
    for one in run.steps:
        step = known.get((one.index, one.name)) or DiagramStep(index=one.index, name=one.name)
        described.append(replace(step, status=one.status, notes=tuple(_notes(run, one))))
    return tuple(described)


def folded(steps: Sequence[DiagramStep], at: int | None = None) -> tuple[DiagramStep, ...]:
    """Leave out steps of a flow of more than 100: its ends and the steps around one stay.

    Args:
        steps: The steps.
        at: Index of the step at which a run stands, or None.
    """
    return tuple(steps) if len(steps) <= MOST_STEPS else nearest(steps, at, _MOST_FOLDED)


def nearest(steps: Sequence[DiagramStep], at: int | None, most: int) -> tuple[DiagramStep, ...]:
    """Leave out steps of more than a number: the ends and the steps around one stay.

    Args:
        steps: The steps, with indexes that follow each other.
        at: Index of the step at which a run stands, or None.
        most: The most steps that stay, at least 3.
    """
    place = None if at is None or not steps else at - steps[0].index
    kept = places_kept(len(steps), place, most)
    return tuple(step for number, step in enumerate(steps) if number in kept)


def with_gaps(
    steps: Sequence[DiagramStep], count: int | None = None
) -> Iterator[DiagramStep | int]:
    """Give the steps, and numbers of steps that are left out between them and behind them.

    Args:
        steps: The steps.
        count: Number of all steps, or None where it is that of `steps`.
    """
    index = 0
    for step in steps:
        if step.index > index:
            yield step.index - index
        yield step
        index = step.index + 1
    if count is not None and count > index:
        yield count - index


def name_shown(name: str, columns: int, dots: str = "…") -> str:
    """Give a name as it is drawn: harmless, and cut to columns and to a number of characters."""
    shown = harmless(name)
    most = _CHARACTERS_A_COLUMN * columns
    if len(shown) > most:
        shown = shown[: most // 2] + dots + shown[-most // 4 :]
    return cut_middle(shown, columns, dots) if width_of(shown) > columns else shown


def _notes(run: RunView, step: StepView) -> Iterator[str]:
    if step.status not in {"done", "waiting"}:
        yield step.status
    yield from words_of(step, run, None)
