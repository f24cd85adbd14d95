"""The sign, and the colour, of each status. A status is always told by its word as well."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["SIGNS", "Sign", "sign_of"]


class Sign(NamedTuple):
    """How a status looks.

    Attributes:
        sign: One character.
        ascii: One character for encodings that lack it.
        colour: Its colour, readable on light and dark backgrounds.
    """

    sign: str
    ascii: str
    colour: str


_QUIET = "#7a8794"
_ENDED = "#8a7f8d"
_UNKNOWN = Sign("?", "?", _QUIET)

SIGNS = {
    "queued": Sign("○", "o", _QUIET),
    "running": Sign("▶", ">", "#3b82c4"),
    "stopped": Sign("■", "#", _QUIET),
    "paused": Sign("‖", "=", "#b7791f"),
    "failed": Sign("✗", "x", "#d64545"),
    "cancelled": Sign("⊘", "/", _ENDED),
    "terminated": Sign("⊗", "X", _ENDED),
    "finished": Sign("✓", "+", "#3f9142"),
    "done": Sign("✓", "+", "#3f9142"),
    "damaged": Sign("!", "!", "#d64545"),
    "next": Sign("→", "-", "#3b82c4"),
    "waiting": Sign("·", ".", _QUIET),
}
"""By status of a run or of a step."""


def sign_of(status: str) -> Sign:
    """Give the sign of a status, also of one that a later release brings."""
    return SIGNS.get(status, _UNKNOWN)
