"""One run as a card and as text: how it stands, its steps, what it broke on, what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._display import html
from aiocheckpoint._display.cards.remedies import remedy_of
from aiocheckpoint._display.cards.run_details import (
    fold_of_facts,
    fold_of_state,
    state_words,
    stored_words,
    value_lines,
)
from aiocheckpoint._display.cards.step_changes import changes_words, fold_of_changes
from aiocheckpoint._display.cards.step_lines import StepLine, step_lines
from aiocheckpoint._display.figures import first_line
from aiocheckpoint._display.folding import Gap
from aiocheckpoint._display.html import TEXT_ROOM, Html, Room, cut
from aiocheckpoint._display.run_facts import reason_of, run_in_words, standing_at, stopped_words
from aiocheckpoint._display.signs import sign_of, with_sign
from aiocheckpoint._display.tables import Column, plain_lines
from aiocheckpoint._display.times import about_left, moment, now, when
from aiocheckpoint._texts import harmless, type_shown
from aiocheckpoint.look._time_left import is_by_earlier_runs, is_by_progress, run_left

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aiocheckpoint._model.header import Failure
    from aiocheckpoint.look import RunView

__all__ = ["run_card", "run_text"]

_COLUMNS = (Column(""), Column(""), Column(""), Column(""))
_BAR = "font-size:.7em;"
_TRACK = "width:12em;max-width:100%;vertical-align:middle"


def run_card(run: RunView, *, diagram: str | None = None, notes: Sequence[str] = ()) -> str:
    """Show a run, stored or in progress, as HTML of at most 20 KB.

    Args:
        run: The run.
        diagram: An SVG element of its steps, which is left out of a card that is full without.
        notes: Further lines, such as what is wrong with a display.
    """

    def build(room: Room) -> Html:
        picture = Html(diagram) if diagram and room.extras else Html()
        return html.box(
            _title(run, room),
            *(html.paragraph(cut(one, room.text)) for one in _standing(run)),
            _steps(run, room),
            _failure(run, room),
            fold_of_state(run, room),
            fold_of_changes(run, room),
            html.fold("diagram", picture) if picture else Html(),
            fold_of_facts(run, room),
            *(html.paragraph(cut(one, room.text)) for one in notes[: room.rows]),
            _remedy(run, room),
        )

    return html.fitted(build)


def run_text(run: RunView) -> str:
    """Show a run as the card does, in a few lines of text."""
    return "\n".join(cut(line, 4 * TEXT_ROOM.text) for line in _lines(run))


def _title(run: RunView, room: Room) -> Html:
    named = html.strong("without an id" if run.run_id is None else cut(run.run_id, room.name))
    of = f" of {cut(run.flow, room.name)}" if run.flow else ""
    status = html.join((html.sign(run.status), cut(standing_at(run), room.name + 24)), " ")
    facts = [html.join((named, of)), status]
    if run.written_at:
        facts.append(html.quiet(_written(run)))
    return html.title("Run", *facts)


def _standing(run: RunView) -> Iterator[str]:
    """What else there is to say of the whole run."""
    note = stopped_words(run) if run.status == "stopped" else reason_of(run)
    note = run.damage if run.damage is not None else note
    if note:
        yield note
    if run.status == "queued" and run.due is not None and run.due > now():
        yield f"due at {moment(run.due)}"
    at = now()
    left = run_left(run, at)
    if left is not None:
        yield f"{about_left(left)}, by {_evidence(run, at)}"
    stored = stored_words(run)
    if stored:
        yield stored


def _evidence(run: RunView, at: float) -> str:
    """Say by what it is known how long a run still takes."""
    if not is_by_earlier_runs(run, at):
        return "its progress"
    return "its progress and earlier runs" if is_by_progress(run, at) else "earlier runs"


def _steps(run: RunView, room: Room) -> Html:
    if not run.steps:
        return Html()
    rows = [_row(one, room) for one in step_lines(run, room.rows)]
    return html.table(rows)


def _row(line: StepLine | Gap, room: Room) -> Html:
    if isinstance(line, Gap):
        return html.row(html.cell(), html.cell(html.quiet(f"… {line.words}")))
    name = cut(line.name, room.name)
    is_here = line.status not in {"done", "waiting"}
    colour = f"color:{sign_of(line.status).colour}"
    bar = (
        html.tag("span", line.bar, style=f"{_BAR}{colour}", aria_hidden="true")
        if line.bar
        else Html()
    )
    words = cut(", ".join(line.words), room.text)
    if line.share is not None:
        track = html.tag("progress", value=f"{line.share:.4g}", max="1", style=_TRACK)
        words = html.join((track, words), " ")
    cells = (
        html.strong(name) if is_here else name,
        html.join((bar, words), " "),
    )
    return html.row(html.cell(html.sign(line.status), whole=True), *map(html.cell, cells))


def _failure(run: RunView, room: Room) -> Html:
    failure = run.failure
    if failure is None or run.damage is not None:
        return Html()
    head = cut(_error(failure, failure.message), room.text)
    status = "cancelled" if run.status == "cancelled" else "failed"
    shown = html.paragraph(html.sign(status, head))
    if not failure.traceback or not room.block:
        return shown
    return html.join((shown, html.fold("traceback", html.lines_of(failure.traceback, room.block))))


def _error(failure: Failure, message: str) -> str:
    """The type and the message. An exception such as a `KeyboardInterrupt` has no message."""
    kind = type_shown(failure.type)
    return f"{kind}: {message}" if message else kind


def _written(run: RunView) -> str:
    """Say when the run was written last. Of one in progress it is its snapshot."""
    return f"stored {when(run.written_at)}" if run.status == "running" else when(run.written_at)


def _remedy(run: RunView, room: Room) -> Html:
    remedy = remedy_of(run)
    if remedy is None:
        return Html()
    words = cut(remedy.words, room.text)
    return html.paragraph(words, " ", html.code_of(cut(remedy.call, room.text)))


def _lines(run: RunView) -> Iterator[str]:
    status = with_sign(run.status)
    of = f" of {run.flow}" if run.flow else ""
    written = f", {_written(run)}" if run.written_at else ""
    place = f" {standing_at(run)}" if run.step is not None else ""
    yield f"{run_in_words(run.run_id)}{of}: {status}{place}{written}"
    yield from _standing(run)
    yield from plain_lines(_COLUMNS, map(_cells, step_lines(run, TEXT_ROOM.rows)))
    failure = run.failure
    if failure is not None and run.damage is None:
        yield _error(failure, first_line(failure.message))
    state = state_words(run)
    if state:
        yield state
        yield from value_lines(run, TEXT_ROOM)
    changes = changes_words(run)
    if changes:
        yield changes
    remedy = remedy_of(run)
    if remedy is not None:
        yield f"{remedy.words} {remedy.call}"


def _cells(line: StepLine | Gap) -> tuple[str, str, str, str]:
    if isinstance(line, Gap):
        return "", f"… {line.words}", "", ""
    status = f"  {with_sign(line.status)}"
    return status, cut(line.name, TEXT_ROOM.name), line.bar, harmless(", ".join(line.words))
