"""The result of one of many runs as a card and as text. Values of its state are not shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._display import html
from aiocheckpoint._display.html import TEXT_ROOM, Html, Room, cut
from aiocheckpoint._display.run_facts import run_in_words
from aiocheckpoint._display.signs import with_sign
from aiocheckpoint._model.failure_texts import CANCELLATIONS
from aiocheckpoint._texts import counted, type_shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from aiocheckpoint._model.run_result import RunResult

__all__ = ["error_words", "result_card", "result_text", "status_of"]


def result_card(result: RunResult[Any]) -> str:
    """Show a result as HTML of at most 20 KB."""

    def build(room: Room) -> Html:
        run = html.strong(cut(run_in_words(result.run_id), room.name))
        return html.box(
            html.title("Result", run, html.sign(status_of(result))),
            *(html.paragraph(cut(one, 2 * room.text)) for one in _lines(result, room.rows)),
        )

    return html.fitted(build)


def result_text(result: RunResult[Any]) -> str:
    """Show a result in a few lines of text."""
    status = status_of(result)
    first = f"{run_in_words(result.run_id)}: {with_sign(status)}"
    return "\n".join(cut(one, 4 * TEXT_ROOM.text) for one in (first, *_lines(result, 10)))


def status_of(result: RunResult[Any]) -> str:
    """The status of the run, also of one that has an error alone."""
    if result.status is not None or result.error is None:
        return result.status or "finished"
    is_cancelled = isinstance(result.error, CANCELLATIONS)
    return "cancelled" if is_cancelled else "failed"


def error_words(result: RunResult[Any]) -> str:
    """The type and text of the error. "" without one."""
    error = result.error
    if error is None:
        return ""
    kind = type_shown(f"{type(error).__module__}.{type(error).__qualname__}")
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a user's class may raise anything
        text = "<no text>"
    return f"{kind}: {text}" if text else kind


def _lines(result: RunResult[Any], most: int) -> Iterator[str]:
    if result.error is not None:
        yield error_words(result)
        notes: object = getattr(result.error, "__notes__", ())
        if isinstance(notes, (list, tuple)):
            yield from (line for note in notes[-most:] for line in str(note).split("\n")[:most])
    if result.pause_number:
        yield f"pause {result.pause_number}"
    if isinstance(result.state, dict):
        yield f"state: {counted(len(result.state), 'key')}"
