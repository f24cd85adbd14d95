"""Retention: how many snapshots of a run a handler keeps, and which it prunes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from aiocheckpoint.errors import InvalidTypeError, InvalidValueError

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Header

__all__ = ["Keep", "checked_keep", "to_prune"]


Keep = int | Literal["all"]
"""How many snapshots of a run are kept, the newest included. Or all of its last run."""


def checked_keep(keep: Any) -> Keep:  # noqa: ANN401 - any value of a user's
    """Return `keep` if it is a number from 1, or "all".

    Raises:
        InvalidTypeError: `keep` is neither a number nor text.
        InvalidValueError: `keep` is another number or text.
    """
    if isinstance(keep, bool) or not isinstance(keep, (int, str)):
        raise InvalidTypeError(f'keep= is a number or "all", not a {type(keep).__name__}.')
    if keep == "all":
        return "all"
    if isinstance(keep, int) and keep >= 1:
        return keep
    raise InvalidValueError(
        f"keep={keep!r}: it is the number of snapshots to keep, 1 for the newest alone, or "
        '"all" for one of each step.'
    )


def to_prune(retained: list[tuple[int, int]], header: Header, keep: Keep) -> list[tuple[int, int]]:
    """Select the retained snapshots to delete.

    Args:
        retained: Number of the run and sequence of each, newest first.
        header: Header of the newest.
        keep: How many are kept.
    """
    newest = (header.number, header.sequence)
    # A killed writer, or a file deleted by hand, leaves others that are not older.
    past = [entry for entry in retained if entry == newest or entry[1] < header.sequence]
    if isinstance(keep, int):
        wanted = past[:keep]
    else:
        wanted = [entry for entry in past if entry[0] == header.number]
    return [entry for entry in retained if entry not in wanted]
