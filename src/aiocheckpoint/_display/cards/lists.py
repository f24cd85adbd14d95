"""Lists of runs, of the snapshots of a run, and of results, as cards and as texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint._display import html
from aiocheckpoint._display.cards.header_card import view_of_header
from aiocheckpoint._display.cards.result_card import error_words, status_of
from aiocheckpoint._display.html import ROWS_OF_LISTS, TEXT_ROOM, Html, Room, cut
from aiocheckpoint._display.run_facts import place_of_run, run_in_words, why
from aiocheckpoint._display.signs import with_sign
from aiocheckpoint._display.tables import Column, plain_lines
from aiocheckpoint._display.times import when
from aiocheckpoint._model.header import Header
from aiocheckpoint._model.run_result import RunResult
from aiocheckpoint._texts import counted, type_shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from aiocheckpoint._model.shown_list import ShownList

__all__ = ["list_card", "list_text"]


class _Kind(NamedTuple):
    """How a list of one kind is shown.

    Attributes:
        noun: What it is of.
        titles: Its columns, but for the first, the status.
        cells: Gives the status and the cells of an item.
    """

    noun: str
    titles: tuple[str, ...]
    cells: Callable[[Any], tuple[str, ...]]


def list_card(shown: ShownList[Any]) -> str | None:
    """Show a list as HTML of at most 20 KB. None for one of other things."""
    kind = _kind_of(shown)
    if kind is None:
        return None

    def build(room: Room) -> Html:
        titles, *items = _filled(kind, shown[: room.rows])
        heads = html.row(*(html.cell(one, heads=True) for one in titles))
        rows = [_row(one, room) for one in items]
        return html.box(
            html.title("List", html.strong(counted(len(shown), kind.noun)), *_counts(shown, kind)),
            html.table(rows, heads) if rows else Html(),
            html.paragraph(_left_out(shown, room.rows)) if len(shown) > room.rows else Html(),
        )

    return html.fitted(build)


def list_text(shown: ShownList[Any]) -> str | None:
    """Show a list as lines of text. None for one of other things."""
    kind = _kind_of(shown)
    if kind is None:
        return None
    titles, *items = _filled(kind, shown[:ROWS_OF_LISTS])
    columns = [Column(one.upper()) for one in titles]
    rows = map(_plain, items)
    lines = [" · ".join((counted(len(shown), kind.noun), *_counts(shown, kind)))]
    if shown:
        lines += plain_lines(columns, rows, header=True)
    if len(shown) > ROWS_OF_LISTS:
        lines.append(_left_out(shown, ROWS_OF_LISTS))
    return "\n".join(lines)


def _filled(kind: _Kind, items: Sequence[Any]) -> list[tuple[str, ...]]:
    """The titles and the rows, without columns that are empty."""
    rows = [kind.cells(one) for one in items]
    if kind is _SNAPSHOTS:
        rows[1:] = [_kept(row) for row in rows[1:]]
    columns = zip(("status", *kind.titles), *rows, strict=True)
    return list(zip(*(one for one in columns if any(one[1:]) or not rows), strict=True))


def _kept(row: tuple[str, ...]) -> tuple[str, ...]:
    """An older snapshot was stored while its run was running, which says nothing of the run now."""
    status, *others = row
    return ("kept" if status == "running" else status, *others)


def _kind_of(shown: ShownList[Any]) -> _Kind | None:
    """The kind of a list, if all of it is still of that kind: it may have been changed."""
    kind, item = _KINDS[shown.of]
    return kind if all(isinstance(one, item) for one in shown) else None


def _row(cells: tuple[str, ...], room: Room) -> Html:
    status, *others = cells
    return html.row(
        html.cell(html.sign(status), whole=True),
        *(html.cell(cut(one, room.name)) for one in others),
    )


def _plain(cells: tuple[str, ...]) -> tuple[str, ...]:
    status, *others = cells
    return (with_sign(status), *(cut(one, TEXT_ROOM.name) for one in others))


def _left_out(shown: Sequence[object], most: int) -> str:
    return f"… {counted(len(shown) - most, 'more')}".removesuffix("s")


def _counts(shown: Sequence[Any], kind: _Kind) -> list[str]:
    """The numbers by status, of a list of several runs."""
    if kind is _SNAPSHOTS:
        return []
    counts: dict[str, int] = {}
    for one in shown:
        status = kind.cells(one)[0]
        counts[status] = counts.get(status, 0) + 1
    return [f"{count:,} {status}" for status, count in sorted(counts.items())]


def _of_run(header: Header) -> tuple[str, ...]:
    run = view_of_header(header)
    return (
        run.status,
        run_in_words(run.run_id),
        place_of_run(run),
        f"{run.tries}" if run.tries > 1 else "",
        why(run),
        when(header.written_at),
    )


def _of_snapshot(header: Header) -> tuple[str, ...]:
    at = "the end" if header.finished else header.next_step or f"step {header.position + 1}"
    error = "" if header.failure is None else type_shown(header.failure.type)
    return header.status, f"{header.number}.{header.sequence}", at, error, when(header.written_at)


def _of_result(result: RunResult[Any]) -> tuple[str, ...]:
    return status_of(result), run_in_words(result.run_id), error_words(result)


_RUNS = _Kind("run", ("run", "at", "tries", "why", "wrote"), _of_run)
_SNAPSHOTS = _Kind("snapshot", ("number", "on entry to", "error", "wrote"), _of_snapshot)
_RESULTS = _Kind("result", ("run", "error"), _of_result)
_KINDS: dict[str, tuple[_Kind, type]] = {
    "runs": (_RUNS, Header),
    "snapshots": (_SNAPSHOTS, Header),
    "results": (_RESULTS, RunResult),
}
