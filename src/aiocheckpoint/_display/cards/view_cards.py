"""Flows, snapshots and counts of a store as cards and as texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._display import html
from aiocheckpoint._display.html import ROWS_OF_LISTS, TEXT_ROOM, Html, Room, cut
from aiocheckpoint._display.signs import with_sign
from aiocheckpoint._display.tables import Column, plain_lines
from aiocheckpoint._display.times import when
from aiocheckpoint._texts import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aiocheckpoint.look import CountView, FlowView, SnapshotView

__all__ = [
    "count_card",
    "count_text",
    "flow_view_card",
    "flow_view_text",
    "snapshot_card",
    "snapshot_text",
]


def _counts_words(counts: Mapping[str, int]) -> str:
    """Count runs by status, the most first, such as "12,380 finished · 3 failed"."""
    rows = sorted(counts.items(), key=lambda row: -row[1])
    return " · ".join(f"{count:,} {status}" for status, count in rows if count)


def _counts_html(counts: Mapping[str, int]) -> Html:
    """The same, with signs."""
    rows = sorted(counts.items(), key=lambda row: -row[1])
    signs = (html.join((f"{count:,}", html.sign(status)), " ") for status, count in rows if count)
    return html.join(signs, " · ")


def flow_view_card(flow: FlowView) -> str:
    """Show a flow of a store as HTML of at most 20 KB."""

    def build(room: Room) -> Html:
        lines = (cut(one, 2 * room.text) for one in _flow_lines(flow, room.rows))
        name = html.strong(cut(flow.flow or "without a name", room.name))
        return html.box(
            html.title("Flow", name, cut(flow.place, room.text), counted(flow.total, "run")),
            html.paragraph(_counts_html(flow.counts)) if flow.counts else Html(),
            *map(html.paragraph, lines),
        )

    return html.fitted(build)


def flow_view_text(flow: FlowView) -> str:
    """Show a flow of a store in lines of text."""
    head = f"{flow.flow or 'without a name'} in {flow.place}: {counted(flow.total, 'run')}"
    lines = (head, _counts_words(flow.counts), *_flow_lines(flow, ROWS_OF_LISTS))
    return "\n".join(cut(one, 4 * TEXT_ROOM.text) for one in lines if one)


def _flow_lines(flow: FlowView, most: int) -> Iterator[str]:
    if flow.steps:
        more = len(flow.steps) - most
        yield f"steps: {', '.join(flow.steps[:most])}{f' … {more:,} more' if more > 0 else ''}"
    if flow.newest:
        yield f"written last {when(flow.newest)}, {flow.size:,} bytes"


def snapshot_card(snapshot: SnapshotView) -> str:
    """Show a snapshot as HTML of at most 20 KB."""

    def build(room: Room) -> Html:
        facts = (cut(one, room.text) for one in _snapshot_facts(snapshot))
        return html.box(
            html.title("Snapshot", _number(snapshot), html.sign(_status(snapshot)), *facts),
            html.paragraph(cut(_keys_words(snapshot, room.rows), 2 * room.text)),
        )

    return html.fitted(build)


def snapshot_text(snapshot: SnapshotView) -> str:
    """Show a snapshot in lines of text."""
    status = f"snapshot {_number(snapshot)}: {with_sign(_status(snapshot))}"
    head = ", ".join((status, *_snapshot_facts(snapshot)))
    lines = (head, _keys_words(snapshot, ROWS_OF_LISTS))
    return "\n".join(cut(one, 4 * TEXT_ROOM.text) for one in lines if one)


def _status(snapshot: SnapshotView) -> str:
    """The status. An older snapshot that says "running" says nothing of the run now."""
    is_kept = snapshot.status == "running" and not snapshot.newest
    return "kept" if is_kept else snapshot.status


def _number(snapshot: SnapshotView) -> str:
    return f"{snapshot.sequence} of run {snapshot.number}"


def _snapshot_facts(snapshot: SnapshotView) -> Iterator[str]:
    if snapshot.damage is not None:
        yield snapshot.damage
    elif snapshot.step is not None:
        yield f"on entry to {snapshot.step!r}"
    if snapshot.written_at:
        yield when(snapshot.written_at)
    yield counted(snapshot.size, "byte")
    yield "the newest" if snapshot.newest else "an older one"


def _keys_words(snapshot: SnapshotView, most: int) -> str:
    if snapshot.keys is None:
        return ""
    names = ", ".join(one.key for one in snapshot.keys[:most])
    more = len(snapshot.keys) - most
    return f"keys: {names}{f' … {more:,} more' if more > 0 else ''}"


def count_card(count: CountView) -> str:
    """Show counts as HTML of at most 20 KB."""

    def build(room: Room) -> Html:
        cells = [html.cell(one, heads=True) for one in count.by]
        heads = html.row(*cells, html.cell("runs", number=True, heads=True))
        rows = [
            html.row(
                *(html.cell(cut(one or "-", room.name)) for one in values),
                html.cell(f"{number:,}", number=True),
            )
            for values, number in count.rows[: room.rows]
        ]
        return html.box(
            html.title("Runs", html.strong(cut(count.flow, room.name)), f"{count.total:,} in all"),
            html.table(rows, heads) if rows and count.by else Html(),
            *map(html.paragraph, _rows_left_out(count, room.rows)),
        )

    return html.fitted(build)


def count_text(count: CountView) -> str:
    """Show counts in lines of text."""
    columns = [*(Column(one.upper()) for one in count.by), Column("RUNS", right=True)]
    rows = (
        [*(cut(one or "-", TEXT_ROOM.name) for one in values), f"{number:,}"]
        for values, number in count.rows[:ROWS_OF_LISTS]
    )
    lines = [cut(f"{count.flow}: {counted(count.total, 'run')}", TEXT_ROOM.text)]
    if count.by:
        lines += plain_lines(columns, rows, header=True)
    return "\n".join((*lines, *_rows_left_out(count, ROWS_OF_LISTS)))


def _rows_left_out(count: CountView, most: int) -> Iterator[str]:
    if len(count.rows) > most:
        yield f"… {counted(len(count.rows) - most, 'more row')}"
