"""The names of objects: no two runs have one, and the index is in the order of lists."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from aiocheckpoint.handlers.objects._names import (
    NOBODY,
    IndexName,
    Keys,
    hashed_id,
    key_part,
    stored_id,
)
from aiocheckpoint.handlers.objects._run_object import RunHead, RunObject, encode_run

IDS = st.text(max_size=300) | st.text("\ud800.%/@~", max_size=90)
TIMES = st.floats(0, 1e12)


def stored(run_id: str) -> bytes:
    """Give a run id as the store has it."""
    return run_id.encode("utf-8", "surrogatepass")


@given(IDS, IDS)
def test_no_two_runs_have_one_key(one: str, other: str) -> None:
    """The parts of keys of two ids differ as the ids do."""
    assert (key_part(stored(one)) == key_part(stored(other))) == (one == other)


@given(IDS)
def test_a_part_of_a_key_is_short_and_no_path(run_id: str) -> None:
    """It has no slash, is neither "." nor "..", and gives the id back."""
    part = key_part(stored(run_id))
    assert 0 < len(part) <= 200
    assert part.isascii()
    assert "/" not in part
    assert part not in {".", ".."}
    assert stored_id(part, hashed_id(stored(run_id))) == stored(run_id)


@given(TIMES, st.none() | TIMES | st.just(math.inf), IDS, st.integers(0, 2**60))
def test_index_names_are_read_back(
    began: float, due: float | None, run_id: str, number: int
) -> None:
    """All facts of a name are found in it."""
    name = IndexName(began, "failed", due, NOBODY, number, key_part(stored(run_id)))
    kind, _, rest = name.encode().partition("/")
    assert kind == "open"
    assert IndexName.decode(rest) == name


@given(TIMES, TIMES)
def test_index_names_have_the_newest_run_first(one: float, other: float) -> None:
    """The order of names is that of times, inverted."""
    names = [IndexName(began, "finished", None, NOBODY, 1, "a").encode() for began in (one, other)]
    if one != other:
        assert (names[0] < names[1]) == (one > other)


def test_no_other_object_is_an_index_name() -> None:
    """Objects of other programs are passed over."""
    assert IndexName.decode("holiday.jpg") is None


@given(st.binary(max_size=50), st.binary(max_size=50), st.integers(1, 400))
def test_the_object_of_a_run_is_read_by_its_first_bytes(
    footer: bytes, payload: bytes, most: int
) -> None:
    """Too few bytes say how many are needed, and enough of them give the footer."""
    head = RunHead(write="w-1", owner="o", token=7, status="running", due=math.inf)
    content = encode_run(head, footer, payload)
    for _ in range(9):
        found = RunObject.decode(content[:most], len(content))
        if isinstance(found, RunObject):
            break
        assert found > most
        most = found
    assert isinstance(found, RunObject)
    assert (found.head, found.footer, found.payload_length) == (head, footer, len(payload))
    assert found.payload in {None, payload}


def test_facts_of_a_later_version_are_passed_over() -> None:
    """A neighbouring version may add facts to the first line."""
    content = encode_run(RunHead(write="w"), b"", b"").replace(b'"write"', b'"later":1,"write"')
    found = RunObject.decode(content, len(content))
    assert isinstance(found, RunObject)
    assert found.head.write == "w"


def test_keys_of_flows_are_apart() -> None:
    """Flows share a prefix, and no object."""
    keys = Keys("work/")
    assert keys.run((b"a", b"b")) == "work/flows/a/runs/b"
    assert keys.run((b"a/runs", b"b")) != keys.run((b"a", b"runs/b"))
