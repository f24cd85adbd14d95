"""Stored states as displays see them: decoded without executing anything, and compared.

Imported where a state is asked for: lists need no decoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._snapshot.pickling.inert import (
    MISSING,
    decode_inert,
    to_json,
    type_name,
)
from aiocheckpoint._snapshot.pickling.inert_paths import step_of
from aiocheckpoint._snapshot.pickling.inert_values import DEFAULT
from aiocheckpoint._snapshot.pickling.opcodes import MalformedError
from aiocheckpoint.errors import CorruptSnapshotError
from aiocheckpoint.look._records import ChangeView, KeyView

if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from aiocheckpoint._snapshot.pickling.inert import Change, Differences, Inert, InertBounds

__all__ = ["change_views", "decoded", "key_views", "shown_key"]


def decoded(file: BinaryIO, location: str, bounds: InertBounds | None = None) -> Inert:
    """Decode the state of a snapshot.

    Args:
        file: The snapshot.
        location: Where it is, for the error.
        bounds: The bounds of the decoder, or None for its usual ones.

    Raises:
        CorruptSnapshotError: Its payload is no pickle of a dict.
    """
    try:
        return decode_inert(file, bounds or DEFAULT)
    except MalformedError as error:
        raise CorruptSnapshotError(
            location, f"its pickle cannot be read from byte {error.at} on"
        ) from error


def key_views(inert: Inert, *, values: bool) -> tuple[KeyView, ...]:
    """Make the views of the keys of a state.

    Args:
        inert: The decoded state.
        values: Whether values are shown.
    """
    return tuple(
        KeyView(
            key=shown_key(one.key),
            type=type_name(one.tree),
            size=one.size,
            digest=one.digest,
            value=to_json(one.tree) if values else None,
            shown=values,
        )
        for one in inert.keys
    )


def shown_key(key: Any) -> str:  # noqa: ANN401 - an inert tree
    """A key of a state as text: itself if it is text, else as in a path, such as `[3]`."""
    return key if type(key) is str else step_of(key)


def change_views(
    differences: Differences, *, values: bool, bounds: InertBounds | None = None
) -> tuple[ChangeView, ...]:
    """Make the views of the differences of two states.

    Args:
        differences: The differences.
        values: Whether values are shown.
        bounds: The bounds of what is shown, or None for the usual ones.
    """
    return tuple(_change_view(one, bounds or DEFAULT, values=values) for one in differences.changes)


def _change_view(change: Change, bounds: InertBounds, *, values: bool) -> ChangeView:
    shown = {
        side: to_json(tree, bounds)
        for side, tree in (("old", change.old), ("new", change.new))
        if values and tree is not MISSING
    }
    return ChangeView(
        path=change.path,
        kind=change.kind,
        old_type=None if change.old is MISSING else type_name(change.old),
        new_type=None if change.new is MISSING else type_name(change.new),
        **shown,
    )
