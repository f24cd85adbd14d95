"""How many older snapshots of a run a handler keeps, and which it deletes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from aiocheckpoint.errors import InvalidTypeError, InvalidValueError

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Header

__all__ = ["Keep", "check_keep", "to_prune"]


Keep = int | Literal["all"]
"""How many snapshots of a run there are, the newest included; or all of its last passage."""


def check_keep(keep: Any) -> Keep:  # noqa: ANN401 - whatever a user passes
    """Give `keep` back if it is a number from 1, or "all".

    Raises:
        InvalidTypeError: It is something else.
        InvalidValueError: It is another number or text.
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


def to_prune(names: list[tuple[int, int]], header: Header, keep: Keep) -> list[tuple[int, int]]:
    """Say which snapshots need not be kept any more, `header` being that of the newest.

    Args:
        names: Number of the run and sequence of each, newest first.
        header: That of the newest.
        keep: How many are kept.
    """
    newest = (header.number, header.sequence)
    # Another one that is not older is of a writer that was killed, or of a file deleted by hand.
    past = [one for one in names if one == newest or one[1] < header.sequence]
    if isinstance(keep, int):
        wanted = past[:keep]
    else:
        wanted = [one for one in past if one[0] == header.number]
    return [one for one in names if one not in wanted]
