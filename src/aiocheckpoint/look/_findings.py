"""What is wrong with a store, as records to show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiocheckpoint._texts import cut_middle
from aiocheckpoint.look._records import Record

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MOST_EXAMPLES", "FindingView", "counted", "megabytes", "named"]

MOST_EXAMPLES = 3
"""Runs or files that a finding names."""
_LONGEST = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingView(Record):
    """Something that is wrong with a store, or will be.

    Attributes:
        kind: What it is about: "durability", "network", "readable", "writable", "damaged", "stale",
            "code", "python", "large", "leftover" or "wal". A later release may know further words.
        problem: What is wrong, as one sentence.
        remedy: What mends it, as one sentence or two.
        flow: The flow that it is about. None for the store as a whole.
        count: The number of runs or files that it is about.
        runs: At most three of these runs.
    """

    kind: str
    problem: str
    remedy: str
    flow: str | None = None
    count: int = 1
    runs: tuple[str | None, ...] = ()


def named(names: Iterable[str | None], count: int) -> str:
    """Name examples, such as "'a', 'b' and 2 more". None is the run without an id.

    Args:
        names: The examples. A name is cut where it is long, and cannot steer a terminal.
        count: How many there are in all.
    """
    shown = ["the run without an id" if one is None else _quoted(one) for one in names]
    more = f" and {count - len(shown):,} more" if count > len(shown) else ""
    return ", ".join(shown) + more


def _quoted(name: str) -> str:
    return cut_middle(repr(name), _LONGEST)


def counted(count: int, noun: str, verbs: tuple[str, str] = ("", ""), *, of: str = "") -> str:
    """Count things, such as "1 run of 'orders' is" or "3 files".

    Args:
        count: The number.
        noun: The noun for one.
        verbs: The verb for one, and that for several.
        of: The flow that the things are of.
    """
    things = f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
    whose = f"of {_quoted(of)}" if of else ""
    return " ".join(filter(None, (things, whose, verbs[count != 1])))


def megabytes(size: int) -> str:
    """Show a number of bytes in MB."""
    return f"{size / 1e6:,.1f} MB"
