"""What is wrong with a store, as records to show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiocheckpoint._texts import quoted
from aiocheckpoint.look._records import Record

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["FindingView", "megabytes", "named"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingView(Record):
    """Something that is wrong with a store, or will be.

    Attributes:
        kind: What it is about: "durability", "network", "readable", "writable", "damaged", "stale",
            "code", "python", "large", "leftover" or "wal". Of a server also "schema", "index",
            "vacuum", "owner", "standby", "pooler" or "clock". A later release may know more words.
        problem: What is wrong, as one sentence.
        remedy: What mends it, as one sentence or two.
        flow: The flow that it is about. None for the store as a whole.
        count: The number of runs or files that it is about.
        runs: At most three of these runs.
        hint: Whether nothing is wrong, and it is only good to know.
    """

    kind: str
    problem: str
    remedy: str
    flow: str | None = None
    count: int = 1
    runs: tuple[str | None, ...] = ()
    hint: bool = False


def named(names: Iterable[str | None], count: int) -> str:
    """Name examples, such as "'a', 'b' and 2 more". None is the run without an id.

    Args:
        names: The examples. A name is cut where it is long, and cannot steer a terminal.
        count: How many there are in all.
    """
    shown = ["the run without an id" if one is None else quoted(one) for one in names]
    more = f" and {count - len(shown):,} more" if count > len(shown) else ""
    return ", ".join(shown) + more


def megabytes(size: int) -> str:
    """Show a number of bytes in MB."""
    return f"{size / 1e6:,.1f} MB"
