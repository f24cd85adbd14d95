"""How amounts are written."""

from __future__ import annotations

import pytest

from aiocheckpoint._display.figures import amount_of, amount_shown


@pytest.mark.parametrize(
    ("given", "shown", "in_sentence"),
    [
        ((3, None, None), "3 done", "3"),
        ((3, None, "rows"), "3 rows", "3 rows"),
        ((3, 7, None), "3/7", "3/7"),
        ((0, 0, "rows"), "0/0 rows", "0/0 rows"),
        ((5, 0, "rows"), "5 rows", "5 rows"),
        ((5, 0, None), "5 done", "5"),
    ],
)
def test_amount(
    given: tuple[float, float | None, str | None], shown: str, in_sentence: str
) -> None:
    """A bare number says what it is, and a total of 0 of which something is done is none."""
    assert amount_shown(*given) == shown
    assert amount_of(*given) == in_sentence
