"""The list of flows: the answer of `flows`, and of any command that needs one of several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._cli.output import Column, Output
from aiocheckpoint._display.times import ago, clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aiocheckpoint.look import FlowView

__all__ = ["list_flows"]

_COLUMNS = (
    Column("FLOW", cut="middle"),
    Column("RUNS", right=True),
    Column("STATUS"),
    Column("BYTES", right=True),
    Column("OLDEST"),
    Column("NEWEST"),
)


def list_flows(flows: Sequence[FlowView], output: Output) -> None:
    """Print the flows of a store."""
    if not output.is_text:
        output.records("flows", (one.to_json() for one in flows))
        return
    output.table(_COLUMNS, map(_row, flows))


def _row(flow: FlowView) -> Sequence[str]:
    return (
        flow.flow or "-",
        f"{flow.total:,}",
        ", ".join(_counts(flow)),
        f"{flow.size:,}",
        clock(flow.oldest),
        ago(flow.newest),
    )


def _counts(flow: FlowView) -> Iterable[str]:
    for status, number in flow.counts.items():
        yield f"{number:,} {status}"
    if flow.damaged:
        yield f"{flow.damaged:,} damaged"
