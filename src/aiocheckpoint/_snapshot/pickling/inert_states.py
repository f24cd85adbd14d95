"""A decoded state: its keys with their values, sizes and digests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiocheckpoint._snapshot.pickling.inert_digests import Digester

__all__ = ["Inert", "InertKey"]


@dataclass(frozen=True, slots=True)
class InertKey:
    """One key of a decoded state.

    Attributes:
        key: The key, an inert tree.
        tree: The value, an inert tree.
        size: Bytes of the stream that the item takes. A value that several keys share counts for
            the first.
        digest: Digest of the decoded value, 16 hexadecimal digits. Equal plain data has equal
            digests. Empty where a bound was reached.
    """

    key: Any
    tree: Any
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Inert:
    """A decoded state.

    Attributes:
        keys: Its keys in their order, without the key of the position.
        complete: Whether all keys were decoded and digested. False where a bound was reached.
        position: The position that the state holds, or None.
        digester: What has digested the values, for comparisons.
    """

    keys: tuple[InertKey, ...]
    complete: bool
    position: int | None
    digester: Digester = field(repr=False, compare=False)
