"""The values of an inert tree: plain data as it is, and placeholders for everything else."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

__all__ = [
    "CUT",
    "DEFAULT",
    "MISSING",
    "SCALARS",
    "BeyondBoundError",
    "InertBounds",
    "Known",
    "Placeholder",
]

SCALARS: Final = frozenset({type(None), bool, int, float, complex, str, bytes})
"""The types of values that hold no others, and that can be keys."""

MISSING: Final[Any] = type("Missing", (), {"__slots__": (), "__repr__": lambda _: "MISSING"})()
"""In a placeholder: there is no such part."""


class InertBounds(NamedTuple):
    """The bounds of decoding, showing and comparing.

    Attributes:
        depth: Levels of a tree that are shown and compared.
        items: Values that are decoded from a stream.
        text: Characters or bytes of one text, bytes or integer that are kept. A longer one is a
            placeholder with its size and digest.
        memory: Bytes of all texts and bytes that are kept.
        seconds: Seconds that decoding may take, and comparing.
        shown: Values that one `to_json` shows, and differences that one comparison gives.
        shown_text: Characters or bytes of one text or bytes that `to_json` shows.
    """

    depth: int = 64
    items: int = 2_000_000
    text: int = 1 << 24
    memory: int = 1 << 27
    seconds: float = 10.0
    shown: int = 10_000
    shown_text: int = 10_000


DEFAULT: Final = InertBounds()


class BeyondBoundError(Exception):
    """A bound of items, memory or time was reached."""


class Known(NamedTuple):
    """What is known of a well-known object.

    Attributes:
        type: Name of its type.
        facts: What is shown of it, by name. Plain JSON.
        content: What makes up its value besides the facts, as inert trees.
    """

    type: str
    facts: dict[str, Any]
    content: tuple[Any, ...] = ()


class Placeholder:
    """An object that the stream makes by other means than plain data. It was not made.

    Attributes:
        kind: "object", "global" (a class or function that is named), "persistent", "extension",
            "buffer", "large" (a text, bytes or integer that is too long to be kept), or "cut" (a
            value at which decoding reached a bound).
        type: Name of its type, such as "shop.Place". Of a global its own name.
        written_by: How it was pickled: "new", "call", or the name of the function that makes it.
        args: Arguments of the call, or MISSING.
        state: State that is given to the object, or MISSING.
        items: What is appended or added to it, or MISSING.
        entries: Pairs of keys and values that are set in it, or MISSING.
        size: Length of a large value, else 0.
        digest: Digest of a large value, else empty.
    """

    __slots__ = (
        *("args", "digest", "entries", "items", "kind", "size", "state", "type"),
        "written_by",
    )

    def __init__(
        self,
        kind: str,
        type_: str,
        written_by: str = "",
        args: Any = MISSING,  # noqa: ANN401 - an inert tree
        *,
        size: int = 0,
        digest: str = "",
    ) -> None:
        self.kind: str = kind
        self.type: str = type_
        self.written_by: str = written_by
        self.args: Any = args
        self.state: Any = MISSING
        self.items: list[Any] = MISSING
        self.entries: list[tuple[Any, Any]] = MISSING
        self.size: int = size
        self.digest: str = digest

    def __repr__(self) -> str:
        """Kind and type, no value."""
        return f"<Placeholder {self.kind} {self.type[:80]!a}>"


CUT: Final = Placeholder("cut", "?")
"""A value at which decoding reached a bound."""
