"""Records of starts are read back, and anything else that stands in their place is none."""

from __future__ import annotations

import json

import pytest

from aiocheckpoint.handlers import StartRecord

RECORD = StartRecord(2, 1, 3, starts=4, killed=1)


def test_there_and_back() -> None:
    """A record is what was encoded."""
    assert StartRecord.decode(RECORD.encode()) == RECORD


@pytest.mark.parametrize("field", StartRecord._fields)
def test_a_field_is_missing_or_of_another_type(field: str) -> None:
    """Such a record is none, so that the run is listed and goes on without it."""
    fields = RECORD._asdict()
    del fields[field]
    assert StartRecord.decode(json.dumps(fields)) is None
    assert StartRecord.decode(json.dumps({**fields, field: "text"})) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "0", '"text"', "{", "\0", "[" * 100_000])
def test_other_texts(text: str) -> None:
    """A text that is no record is none."""
    assert StartRecord.decode(text) is None
