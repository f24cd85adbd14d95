"""The header as JSON: every header is read as written, older ones with defaults."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

import pytest
from forged_snapshots import Pieces
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aiocheckpoint import CheckpointFlow, Failure, Header, StepNamesExcerpt, current_step
from aiocheckpoint._model.header import Status
from aiocheckpoint._snapshot.header_json import (
    HeaderEncoder,
    decode_header,
    encode_header,
)
from aiocheckpoint._snapshot.new_headers import NewHeaders
from aiocheckpoint._snapshot.versions import stamped

if TYPE_CHECKING:
    from pathlib import Path

    from support import FlowFactory, Runner, State

# Surrogate pairs decode to one character, which is not tested here.
TEXTS = st.text(st.characters(codec="utf-8") | st.just("\ud800"), max_size=20)
TIMES = st.floats(0, 1e10, allow_nan=False)
COUNTS = st.integers(0, 2**40)
ATTEMPTS = st.integers(1, 2**40)
FAILURES = st.builds(
    Failure,
    **dict.fromkeys(("step", "part", "type", "message", "traceback"), TEXTS),
    **dict.fromkeys(("at", "seconds"), TIMES),
    attempt=ATTEMPTS,
)
LISTING = st.builds(
    Header,
    flow=TEXTS,
    position=COUNTS,
    run_id=st.none() | TEXTS,
    number=COUNTS,
    sequence=COUNTS,
    version=COUNTS,
    steps=st.none() | st.lists(TEXTS, max_size=4).map(tuple),
    status=st.sampled_from(get_args(Status)),
    failure=st.none() | FAILURES,
    pause=st.none() | TEXTS,
    pause_number=COUNTS,
    stopped_by=st.none() | TEXTS,
    due=st.none() | TIMES,
    terminated_by=st.none() | TEXTS,
    actor=st.none() | TEXTS,
    attempts=st.dictionaries(TEXTS, ATTEMPTS, max_size=4),
    durations=st.dictionaries(TEXTS, TIMES.map(lambda time: round(time, 6)), max_size=4),
    expected=st.dictionaries(TEXTS, TIMES.map(lambda time: round(time, 3)), max_size=4),
    snapshots=st.dictionaries(
        TEXTS, st.tuples(COUNTS, st.integers(1000, 10**12).map(lambda us: us / 1e6)), max_size=4
    ),
    initial_digest=st.none() | TEXTS,
    step_digests=st.dictionaries(TEXTS, TEXTS, max_size=4),
    holds_data=st.booleans(),
    code=st.booleans(),
    **dict.fromkeys(("written_at", "started_at"), TIMES),
)
EXCERPTS = st.builds(
    StepNamesExcerpt,
    names=st.lists(TEXTS, max_size=4).map(tuple),
    begin=st.integers(0, 9),
    done=st.integers(9, 99),
    count=st.integers(99),
    **dict.fromkeys(("before", "whole"), st.from_regex("[0-9a-f]{64}", fullmatch=True)),
)
HEADERS = LISTING | st.builds(
    lambda header, excerpt: replace(header, steps=None, excerpt=excerpt), LISTING, EXCERPTS
)
a_few = settings(deadline=None, max_examples=40)
LATER: dict[str, Any] = {
    "pause": None,
    "due": None,
    "terminated_by": None,
    "attempts": {},
    "holds_data": False,
    "started_at": 0.0,
    "expected": {},
    "snapshots": {},
    "version": 0,
    "initial_digest": None,
    "step_digests": {},
}
OF_0_3_0 = (
    '{"flow":"checkpoint","run_id":"order","number":2,"steps":["a","b"],"python":"3.11.7",'
    '"dill":"0.4.1","library":"0.3.0","started_at":1795600000.5,"sequence":7,"position":1,'
    '"status":"failed","code":false,"written_at":1795600001.25,"failure":{"step":"b","part":"step",'
    '"type":"builtins.OSError","message":"broken","traceback":"","at":1795600001.25,'
    '"seconds":0.5,"attempt":2},"durations":{"a":0.000012}}'
)


@a_few
@given(HEADERS)
def test_any_header_is_read_as_written(header: Header) -> None:
    """An encoded header is ASCII JSON, decodes to an equal one, and encodes to the same."""
    encoded = encode_header(header)
    assert encoded.isascii()
    again = decode_header(encoded)
    assert again == header
    assert encode_header(again) == encoded


@pytest.mark.parametrize(
    "change",
    [
        *({"flow": "g"}, {"run_id": "x"}, {"number": 2}, {"steps": ("b",)}, {"python": "3"}),
        *({"dill": "1"}, {"library": "1"}, {"started_at": 2.5}),
        *({"durations": {"a": 2.0, "b": 1.0}}, {"durations": {"b": 2.0, "c": 1.0}}),
        *({"snapshots": {"a": (2, 1.0)}}, {"expected": {"a": 3.0}}),
    ],
    ids="-".join,
)
def test_change_between_two_headers(change: dict[str, Any]) -> None:
    """An encoder gives every header its own values, though it reuses text of the one before."""
    header = Header(
        flow="f",
        position=0,
        started_at=1.5,
        durations={"a": 1.0, "b": 1.0},
        snapshots={"a": (1, 1.0)},
    )
    changed = replace(header, **change)
    encoder = HeaderEncoder()
    assert encoder.encode(header) == encode_header(header)
    assert encoder.encode(changed) == encode_header(changed)


@a_few
@given(HEADERS, st.lists(st.tuples(TEXTS, st.none() | TEXTS), max_size=3))
def test_new_headers(common: Header, runs: list[tuple[str, str | None]]) -> None:
    """The headers of runs that are stored together have the facts that each would have alone."""
    headers = NewHeaders(common)
    for run_id, digest in runs:
        header = headers.of(run_id, digest)
        own: dict[str, Any] = {"run_id": run_id, "initial_digest": digest}
        own |= dict.fromkeys(("written_at", "started_at"), header.written_at)
        assert header == replace(stamped(common), **own)
        assert decode_header(headers.encode(header)) == decode_header(encode_header(header))
        assert headers.encode(header).isascii()


@a_few
@given(HEADERS, st.sampled_from(get_args(Status)), COUNTS, TIMES)
def test_next_snapshot(header: Header, status: Status, position: int, at: float) -> None:
    """The header of the next snapshot keeps the run, and drops how the last one ended."""
    following = header.next(status, position, at, header.excerpt)
    gone = "failure", "pause", "due", "terminated_by", "termination"
    news: dict[str, Any] = {**dict.fromkeys(gone), "sequence": header.sequence + 1}
    news |= {"status": status, "position": position, "written_at": at}
    assert following == replace(header, **news)
    assert decode_header(encode_header(following)) == following


@a_few
@given(HEADERS, st.sets(st.sampled_from([*LATER])))
def test_fields_missing_in_older_headers(header: Header, left_out: set[str]) -> None:
    """A key that an older version did not write has a neutral value."""
    facts = json.loads(encode_header(header))
    for name in left_out:
        facts.pop(name, None)
    expected = replace(header, **{name: LATER[name] for name in left_out})
    assert decode_header(json.dumps(facts).encode()) == expected


@a_few
@given(HEADERS, st.dictionaries(TEXTS, TEXTS, max_size=3))
def test_fields_added_by_later_headers(header: Header, more: dict[str, str]) -> None:
    """A key that a later version added is skipped."""
    facts = json.loads(encode_header(header))
    assume(not more.keys() & facts.keys())
    assert decode_header(json.dumps({**more, **facts}).encode()) == header


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("pause", 1), ("pause", ["waits"]), ("attempts", None), ("attempts", [2])),
        *(("attempts", {"a": "2"}), ("attempts", {"a": 1.5}), ("holds_data", 1)),
        *(("expected", [1.5]), ("expected", None), ("expected", {"a": "1"})),
        *(("holds_data", None), ("status", "waiting")),
    ],
)
def test_what_is_no_header(name: str, value: object) -> None:
    """A value of another type than its key has is refused."""
    header = Header(flow="f", position=0)
    facts = json.loads(encode_header(header))
    assert decode_header(json.dumps(facts).encode()) == header
    with pytest.raises(ValueError, match=rf"{name}|int|float|waiting"):
        decode_header(json.dumps({**facts, name: value}).encode())


def test_negative_position() -> None:
    """A position before the first step is refused."""
    encoded = encode_header(Header(flow="f", position=-1))
    with pytest.raises(ValueError, match="-1"):
        decode_header(encoded)


def test_durations_are_read_to_the_microsecond() -> None:
    """Further digits of a duration are rounded away, as for a recorded one."""
    facts = json.loads(encode_header(Header(flow="f", position=0)))
    facts["durations"] = {"a": 0.1234567, "b": 2}
    facts["expected"] = {"a": 0.1234567, "b": 2}
    header = decode_header(json.dumps(facts).encode())
    assert header.durations == {"a": 0.123457, "b": 2.0}
    assert header.expected == {"a": 0.123, "b": 2.0}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("count", None), ("count", 3), ("begin", -1), ("begin", 5), ("done", True)),
        *(("names", "abc"), ("names", [1]), ("before", None), ("whole", 0)),
    ],
)
def test_what_is_no_excerpt(name: str, value: object) -> None:
    """An excerpt with a missing or invalid value is refused."""
    reported = {"count": 200, "begin": 2, "names": ["c"], "done": 4, "before": "", "whole": ""}
    header = json.loads(encode_header(Header(flow="f", position=0)))
    assert decode_header(json.dumps({**header, "steps": reported}).encode()).next_step is None
    wrong = {**reported, name: value}
    if value is None:
        del wrong[name]
    with pytest.raises(ValueError, match=rf"{name}|steps|str"):
        decode_header(json.dumps({**header, "steps": wrong}).encode())


def test_header_of_0_3_0() -> None:
    """A header that version 0.3.0 wrote is read, with all its values."""
    header = decode_header(OF_0_3_0.encode())
    assert (header.number, header.sequence, header.position) == (2, 7, 1)
    assert header.failure is not None
    assert header.failure.attempt == 2
    assert {name: getattr(header, name) for name in LATER} == {**LATER, "started_at": 1795600000.5}


def test_run_of_0_3_0_resumes(runner: Runner, flows: FlowFactory) -> None:
    """A run that failed under version 0.3.0 resumes, and counts its attempts on from there."""
    seen: list[int] = []

    def flow(*, keep_data: bool) -> CheckpointFlow:
        cp = CheckpointFlow(flows.path, fsync=False, keep_data=keep_data)
        cp.add_step(name="a")(lambda state: None)

        @cp.add_step(load=lambda state: {"rows": 1})
        def b(state: State, data: State) -> None:
            seen.append(current_step().attempt)
            if not keep_data:
                raise OSError("broken")
            state["rows"] = data["rows"]

        return cp

    with pytest.raises(OSError, match="broken"):
        runner(flow(keep_data=False), {})
    make_old(flows.path)
    assert runner(flow(keep_data=True)) == {"rows": 1}
    assert seen == [1, 2]
    assert flows.header().attempts == {"b": 2}


def make_old(path: Path) -> None:
    """Remove from a header the keys that version 0.3.0 did not write."""
    pieces = Pieces.of(path.read_bytes())
    facts = json.loads(pieces.header)
    for name in ("pause", "attempts", "holds_data"):
        del facts[name]
    path.write_bytes(replace(pieces, header=json.dumps(facts).encode()).joined())


@a_few
@given(st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.booleans()), max_size=60))
def test_encoder_beside_its_records(ops: list[tuple[int, bool, bool]]) -> None:
    """Whatever was recorded between two headers, an encoder writes what a new one would."""
    header, encoder = Header(flow="f", position=0), HeaderEncoder()
    for number, (step, is_snapshot, encodes) in enumerate(ops):
        if is_snapshot:
            header.record_snapshot(str(step), number, 0.5)
        else:
            header.record_duration(str(step), number)
        if encodes:
            assert encoder.encode(header) == encode_header(header)
