"""The sign, and the colour, of each status. A status is always told by its word as well."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["SIGNS", "Sign", "sign_of", "with_sign"]


class Sign(NamedTuple):
    """How a status looks.

    Attributes:
        sign: One character.
        ascii: One character for encodings that lack it.
        colour: Its colour, with a contrast of 3 to 1 on white and on black.
        basic: Its colour on terminals of 16 colours.
    """

    sign: str
    ascii: str
    colour: str
    basic: str


_QUIET = ("#7a8794", "bright_black")
_ENDED = ("#8a7f8d", "magenta")
_GOOD = ("#3f9142", "green")
_BAD = ("#d64545", "red")
_BUSY = ("#3b82c4", "blue")
_UNKNOWN = Sign("?", "?", *_QUIET)

SIGNS = {
    "queued": Sign("○", "o", *_QUIET),
    "running": Sign("▶", ">", *_BUSY),
    "stopped": Sign("■", "#", *_QUIET),
    "paused": Sign("‖", "=", "#b7791f", "yellow"),
    "failed": Sign("✗", "x", *_BAD),
    "cancelled": Sign("⊘", "/", *_ENDED),
    "terminated": Sign("⊗", "X", *_ENDED),
    "finished": Sign("✓", "+", *_GOOD),
    "done": Sign("✓", "+", *_GOOD),
    "damaged": Sign("!", "!", *_BAD),
    "next": Sign("→", "-", *_BUSY),
    "kept": Sign("·", ".", *_QUIET),
    "waiting": Sign("·", ".", *_QUIET),
}
"""By status of a run or of a step."""


def sign_of(status: str) -> Sign:
    """Give the sign of a status, also of one that a later release brings."""
    return SIGNS.get(status, _UNKNOWN)


def with_sign(status: str) -> str:
    """Give a status as a text, by its sign and its word, such as "✓ finished"."""
    return f"{sign_of(status).sign} {status}"
