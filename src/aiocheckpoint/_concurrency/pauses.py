"""The pause before something is tried again: it is doubled after each failure."""

from __future__ import annotations

import math

__all__ = ["doubled_pause"]

_MOST_DOUBLINGS = 64
"""A pause that was doubled more often is longer than any limit, and would overflow at last."""


def doubled_pause(first: float, doublings: int, longest: float) -> float:
    """Give the seconds before the next try.

    Args:
        first: The seconds of the first pause.
        doublings: How often it is doubled.
        longest: The most seconds.
    """
    return min(math.ldexp(first, min(doublings, _MOST_DOUBLINGS)), longest)
