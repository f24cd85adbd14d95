"""A plan as a card. Its text is `str(plan)`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._display import html
from aiocheckpoint._display.folding import Gap, folded
from aiocheckpoint._display.html import Html, Room, cut
from aiocheckpoint._model.given_state import GIVEN_WORDS
from aiocheckpoint._model.plan import SOURCE_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint._model.plan import Plan

__all__ = ["plan_card"]


def plan_card(plan: Plan) -> str:
    """Show a plan as HTML of at most 20 KB."""

    def build(room: Room) -> Html:
        rows = folded(range(len(plan.steps)), plan.start, room.rows)
        shown = (_gap(one) if isinstance(one, Gap) else _row(plan, one, room) for one in rows)
        return html.box(
            html.title("Plan", *(cut(one, room.text) for one in _title(plan))),
            html.table(shown) if plan.steps and plan.refused is None else Html(),
            *(
                html.paragraph(html.marked("⚠", "paused", cut(one, room.text)))
                for one in _warnings(plan)
            ),
            html.fold("in words", html.lines_of(str(plan), room.block or room.text)),
        )

    return html.fitted(build)


def _title(plan: Plan) -> Iterator[str]:
    if plan.refused is not None:
        yield f"refused with {type(plan.refused).__name__}"
    elif plan.done or plan.first is None or plan.start >= plan.stop:
        yield "runs nothing"
    else:
        place = f"starts at {plan.start + 1:,} of {len(plan.steps):,}, {plan.first}"
        yield f"{place}, with {SOURCE_WORDS[plan.source]}"
    yield plan.reason


def _row(plan: Plan, index: int, room: Room) -> Html:
    runs = plan.start <= index < plan.stop
    name = cut(plan.steps[index], room.name)
    cells = (
        _sign(plan, index),
        html.strong(name) if runs else name,
        cut(_loader_words(plan, index), room.text) if runs else "",
    )
    return html.row(*map(html.cell, cells))


def _sign(plan: Plan, index: int) -> Html:
    if plan.start <= index < plan.stop:
        return html.sign("running", "runs")
    if index >= plan.stop and not plan.done:
        return html.sign("waiting", "later")
    return html.sign("waiting", "passed over") if plan.fresh else html.sign("done")


def _loader_words(plan: Plan, index: int) -> str:
    if plan.loads[index]:
        return "its loader runs"
    if plan.steps[index] in plan.skips:
        return "its loader does not run"
    keys = plan.needs[index] if plan.needs else ()
    return f"its loader runs if {' or '.join(map(repr, keys))} is missing" if keys else ""


def _gap(gap: Gap) -> Html:
    return html.row(html.cell(), html.cell(html.quiet(f"… {gap.words}")), html.cell())


def _warnings(plan: Plan) -> Iterator[str]:
    if plan.refused is not None or plan.done:
        return
    if plan.migrates is not None:
        yield f"calls migrate= first, as version {plan.migrates} of the flow stored the run"
    if plan.ignores_given:
        yield GIVEN_WORDS[plan.given]
    if plan.edited:
        names = ", ".join(map(repr, plan.edited))
        yield f"edited since it ran, and not run again: {names}"
