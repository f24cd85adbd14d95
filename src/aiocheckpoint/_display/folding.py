"""Which of many steps are shown: both ends of them, and those around one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence
    from typing import TypeVar

    _Item = TypeVar("_Item")

__all__ = ["Gap", "folded", "places_kept"]

_AT_ENDS = 8


class Gap(NamedTuple):
    """Steps that are left out.

    Attributes:
        words: What is left out, in words.
    """

    words: str


def places_kept(count: int, at: int | None, most: int) -> Container[int]:
    """Choose the places of a long sequence that stay.

    Args:
        count: Its length.
        at: The place that matters, or None.
        most: The most that stay, at least 3. A third of them, up to 8, stays at each end.
    """
    if count <= most:
        return range(count)
    ends = min(_AT_ENDS, most // 3)
    kept = {*range(ends), *range(count - ends, count)}
    if at is not None:
        around = (most - 2 * ends - 1) // 2
        kept.update(range(at - around, at + around + 1))
    return kept


def folded(lines: Sequence[_Item], at: int | None, most: int) -> Iterator[_Item | Gap]:
    """Give lines, with gaps in place of those that are left out.

    Args:
        lines: The lines.
        at: The place of the one that matters, or None.
        most: The most lines that stay, at least 3.
    """
    kept, gap = places_kept(len(lines), at, most), 0
    for place, line in enumerate(lines):
        if place not in kept:
            gap += 1
            continue
        if gap:
            yield Gap(f"{gap:,} more steps")
            gap = 0
        yield line
