"""Lists that show themselves, and are lists in every other way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar

from aiocheckpoint._model.shown import Shown

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ShownList"]

_Item = TypeVar("_Item")


class ShownList(list[_Item], Shown):
    """A list of runs, snapshots or results. Its copies and pickles are plain lists.

    Args:
        items: The items.
        of: What they are: headers of runs, headers of the snapshots of one run, or results.
    """

    __slots__ = ("of",)

    def __init__(self, items: Iterable[_Item], of: Literal["runs", "snapshots", "results"]) -> None:
        super().__init__(items)
        self.of = of

    def __reduce_ex__(self, protocol: object, /) -> tuple[object, ...]:
        """Copy and pickle as a list."""
        return list, (list(self),)
