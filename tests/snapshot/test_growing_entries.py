"""The text of a dict that grows is that of all its entries, whatever happened since the last."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiocheckpoint._model.header import _record
from aiocheckpoint._snapshot.growing_entries import GrowingEntries

MOST = 4
NAMES = st.sampled_from("abcdefg")
BETWEEN = st.lists(NAMES, max_size=4)
"""The steps that end before the text is asked for again. A name that comes again is a step that is
executed again."""


def encode(name: str, value: float) -> str:
    """Format one entry."""
    return f"{name}:{value}"


@given(st.lists(BETWEEN, max_size=12))
def test_text_of_all_entries(rounds: list[list[str]]) -> None:
    """Entries are added, replaced and dropped, in any order, with the same or other values."""
    entries, growing = dict[str, float](), GrowingEntries[float](encode)
    for number, names in enumerate(rounds):
        for name in names:
            _record(entries, name, float(str(number // 3)), MOST)
        assert growing.text(entries) == ",".join(map(encode, entries, entries.values()))


@given(BETWEEN, BETWEEN)
def test_another_dict(first: list[str], second: list[str]) -> None:
    """A dict with entries of the same names has a text of its own."""
    growing = GrowingEntries[float](encode)
    for value, names in ((1.0, first), (2.0, second)):
        entries = dict.fromkeys(names, value)
        assert growing.text(entries) == ",".join(map(encode, entries, entries.values()))
