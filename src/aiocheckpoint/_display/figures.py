"""Figures of progress: amounts, and shares of the whole."""

from __future__ import annotations

import math

from aiocheckpoint._texts import harmless

__all__ = ["amount_of", "amount_shown", "first_line", "percent", "share_of"]

_FEW, _LARGE = 100, 1e15


def share_of(done: float | None, total: float | None) -> float | None:
    """Give the share that is done, from 0.0 to 1.0. None where it is unknown."""
    return None if done is None or not total else min(max(done / total, 0.0), 1.0)


def percent(share: float) -> str:
    """Show a share, such as "62 %". All of it is 100 % alone."""
    return f"{int(share * 100)} %"


def amount_shown(done: float, total: float | None, note: str | None) -> str:
    """Show the progress of a step, such as "1,240/2,000 rows", or "7 done" of a bare number."""
    amount = amount_of(done, total, note)
    return f"{amount} done" if amount == _number(done) else amount


def amount_of(done: float, total: float | None, note: str | None) -> str:
    """Show the same within a sentence: a bare number stays bare."""
    # A total of 0 of which something is done is none.
    of = "" if total is None or (not total and done) else f"/{_number(total)}"
    words = f" {first_line(note)}" if note else ""
    return f"{_number(done)}{of}{words}"


def first_line(text: str) -> str:
    """The first line of a text of strangers, harmless."""
    return harmless(text.strip().partition("\n")[0])


def _number(value: float) -> str:
    """Show a number in full, a small one with two decimals, and a huge one by its first digits."""
    if not math.isfinite(value):  # A stored record may hold any number.
        return "?"
    if abs(value) >= _LARGE:
        return f"{value:.3g}"
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.2f}" if abs(value) < _FEW else f"{value:,.1f}"
