"""The header of a large flow: as long for 5,000 steps as for 200, and always sufficient."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from forged_snapshots import Pieces
from hypothesis import example, given, settings
from hypothesis import strategies as st
from large_flows import COUNT, NAMES, flow, renamed, stop_at, stored
from run_factories import sql

from aiocheckpoint import FlowChangedError, Header
from aiocheckpoint._model import step_names
from aiocheckpoint._model.step_names import BESIDE, MOST_NAMES, StepNames
from aiocheckpoint._snapshot.footer import payload_length
from aiocheckpoint._snapshot.header_json import HeaderEncoder, decode_header, encode_header

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from run_factories import Runs
    from support import Runner

    from aiocheckpoint import CheckpointFlow

MIDDLE = COUNT // 2
MANY = tuple(f"step-{index:04}" for index in range(5000))
MOST_DURATIONS = 20
SPECIAL = ('"', '""', 'a"', "\\", "é", "\U0001f600", "\ud800")
NAMED = (*NAMES[:MIDDLE], *SPECIAL, *NAMES[MIDDLE:])


def untimed(header: Header) -> bytes:
    """Encode a header without its times, whose number of digits varies."""
    snapshots = {name: (size, 0.0) for name, (size, _) in header.snapshots.items()}
    return encode_header(replace(header, written_at=0.0, started_at=0.0, snapshots=snapshots))


def sizes(runs: Runs, runner: Runner, cp: CheckpointFlow, *spans: tuple[int, int]) -> list[int]:
    """Run from a step to another, several times, and give the sizes of the headers in between."""
    found: list[int] = []
    for begin, end in spans:
        runner(cp, {}, run_id="x", checkpoint=begin, until=end - 1)
        found.append(len(untimed(stored(runs))))
    return found


def test_size_of_a_header(runner: Runner, runs: Runs) -> None:
    """The size depends on the digits of the header's numbers, not on the number of steps."""
    many = flow(runs, MANY)
    early, *late = sizes(runs, runner, many, (0, 150), (2000, 2040), (3970, 4010), (4950, 4990))
    assert len(set(late)) == 1
    assert late[0] == early + 3  # position, begin, done
    runner.do(many, "delete", "x")
    assert sizes(runs, runner, flow(runs, MANY[:200]), (0, 150)) == [early - 1]  # count
    assert late[0] < 2400


@pytest.mark.parametrize("position", [50, 150])
def test_durations_of_the_newest(position: int, runner: Runner, runs: Runs) -> None:
    """A large flow's header has the seconds of the newest steps, by any way to its position."""
    cp = flow(runs, MANY[:200])
    runner(cp, {}, run_id="x", until=position - 1)
    assert tuple(stored(runs).durations) == MANY[position - MOST_DURATIONS : position]
    runner(cp, {}, run_id="x", checkpoint=position - 5, until=position + 4)
    assert tuple(stored(runs).durations) == MANY[position + 5 - MOST_DURATIONS : position + 5]
    runner(cp, {}, run_id="x", checkpoint=8, until=9)
    expected = (*MANY[position + 7 - MOST_DURATIONS : position + 5], *MANY[8:10])
    assert tuple(stored(runs).durations) == expected


def test_seconds_of_a_step_that_ran_again() -> None:
    """A step that ran again is the newest, and is in the header once."""
    excerpt = StepNames(NAMES).excerpt(0, finished=False)
    older = {f"{number}": 0.5 for number in range(MOST_DURATIONS - 3)}
    durations = {**older, "a": 1.0, "b": 2.0}
    header = Header(flow="f", position=0, excerpt=excerpt, durations=durations)
    encoder = HeaderEncoder()
    for name, seconds in (("a", 3.0), ("c", 4.0), ("a", 5.0), ("d", 6.0000001), ("e", 7.0)):
        header.record_duration(name, seconds)
        encoded = encoder.encode(header)
        assert encoded == encode_header(header)
    assert encoded.endswith(b'"b":2.000000,"c":4.000000,"a":5.000000,"d":6.000000,"e":7.000000}}')
    assert list(durations) == [*list(older)[2:], "b", "c", "a", "d", "e"]
    assert decode_header(encoded).durations == durations


def test_attempts_of_the_newest() -> None:
    """The header also has the newest attempts. For a small flow it has those of all steps."""
    for names, reported in ((NAMES, MOST_DURATIONS), (NAMES[:MOST_NAMES], MOST_NAMES)):
        excerpt = StepNames(names).excerpt(0, finished=False)
        header = Header(flow="f", position=0, excerpt=excerpt)
        for name in names:
            header.record_attempt(name, 2)
        assert header.attempts == dict.fromkeys(names[-reported:], 2)
        header.record_attempt(names[-reported], 3)
        header.record_attempt("another", 2)
        assert tuple(header.attempts) == (*names[2 - reported :], names[-reported], "another")
        assert header.attempts[names[-reported]] == 3


def test_digests_are_made_once(
    runner: Runner, database: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large flow's names are hashed once for all its runs. A small flow's are never hashed."""
    seen: list[str] = []

    def quoted(name: str) -> str:
        seen.append(name)
        return json.dumps(name)

    monkeypatch.setattr(step_names, "quoted", quoted)
    for names, number in ((NAMES[:MOST_NAMES], 0), (NAMES, COUNT)):
        cp = flow(database, names)
        for run_id in ("x", "y"):
            runner(cp, {}, run_id=run_id, until=2)
            runner(cp, {}, run_id=run_id)
        assert len(seen) == number


def test_digest_as_it_is_documented() -> None:
    """A digest is made of the names as JSON strings, so that others can make it, and for ever."""
    names = StepNames(NAMED)
    for position in (0, 1, MIDDLE + 3, len(NAMED)):
        excerpt = names.excerpt(position, finished=False)
        assert excerpt is not None
        text = "".join(json.dumps(name) for name in NAMED[:position])
        assert excerpt.before == hashlib.sha256(text.encode("ascii")).hexdigest()


@st.composite
def changes(draw: st.DrawFn) -> tuple[tuple[str, ...], int, int]:
    """Give the names of a flow after up to two changes, a position, and a moved position."""
    names, index = list(NAMED), st.integers(0, len(NAMED))
    for _ in range(draw(st.integers(0, 2))):
        place = draw(index)
        kind = draw(st.sampled_from(["rename", "insert", "remove", "swap", "cut", "more"]))
        if kind == "rename":
            names[place : place + 1] = [f"new-{place}"]
        elif kind == "insert":
            names.insert(place, f"new-{place}")
        elif kind == "remove":
            del names[place : place + 1]
        elif kind == "swap":
            names[place : place + 2] = names[place : place + 2][::-1]
        elif kind == "cut":
            del names[place:]
        else:
            names += [f"more-{place}-{number}" for number in range(place)]
    done = draw(index)
    near = st.integers(-BESIDE - 2, BESIDE + 2).map(lambda by: min(len(NAMED), max(0, done + by)))
    return tuple(names), done, draw(st.just(done) | near | index)


def reported(names: Sequence[str], done: int) -> Header:
    """Give the header of a run at a position, as it is read."""
    whole = StepNames(tuple(names))
    excerpt = whole.excerpt(done, finished=False)
    header = Header(flow="f", position=done, steps=whole.listed, excerpt=excerpt)
    return decode_header(encode_header(header))


@settings(deadline=None, max_examples=150)
@given(changes())
@example((renamed(MIDDLE + 20, names=NAMED), MIDDLE, MIDDLE - BESIDE - 1))
@example((renamed(MIDDLE - 3, names=NAMED), MIDDLE, MIDDLE - 3))
@example((renamed(MIDDLE + 3, names=NAMED), MIDDLE, MIDDLE + 3))
@example((renamed(MIDDLE + 3, names=NAMED), MIDDLE, MIDDLE + 4))
def test_decision_is_that_of_all_names(change: tuple[tuple[str, ...], int, int]) -> None:
    """The excerpt decides about a changed flow as the names of all steps would.

    It may be stricter if the position was moved by hand beyond the recorded names.
    """
    names, done, first = change
    header, current = reported(NAMED, done), StepNames(names)
    same = first <= len(names) and NAMED[:first] == names[:first]
    excerpt = header.excerpt
    assert excerpt is not None
    near = excerpt.begin <= first <= excerpt.begin + len(excerpt.names)
    if near or (NAMED[: max(first, done)] == names[: max(first, done)] and first <= done):
        assert header.matches_prefix(current, first) == same
    elif header.matches_prefix(current, first):
        assert same
    if names == NAMED:
        assert header.matches_prefix(current, first)
    assert header.matches(current) == (names == NAMED)


class Old:
    """A run "x" of an older version, whose header names all steps.

    Args:
        runs: The store.
        runner: The runner of the flow.
        position: The position of the stopped run, or the number of steps of a finished one.
    """

    def __init__(self, runs: Runs, runner: Runner, position: int) -> None:
        """Make the old run from a run that this version writes."""
        self._runs = runs
        stop_at(runs, runner, position)
        durations = dict.fromkeys(NAMES[:position], 0.25)
        self._rewrite_header(steps=NAMES, durations=durations, library="0.4.0")
        header = stored(runs)
        assert (header.steps, header.excerpt) == (NAMES, None)
        assert header.durations == durations

    def _rewrite_header(self, **facts: object) -> None:
        if self._runs.kind == "sqlite":
            query = "SELECT payload, footer FROM runs WHERE run_id = 'x'"
            ((payload, footer),) = sql(self._runs.path, query)
            whole = Pieces.of(payload + footer).with_fields(**facts).joined()
            footer = whole[payload_length(whole) :]
            sql(self._runs.path, "UPDATE runs SET footer = ? WHERE run_id = 'x'", footer)
        else:
            path = self._path
            path.write_bytes(Pieces.of(path.read_bytes()).with_fields(**facts).joined())

    @property
    def _path(self) -> Path:
        return self._runs.path / "x.pkl"


@pytest.mark.parametrize("position", [1, MIDDLE, COUNT - 1])
def test_old_header_of_a_large_flow(position: int, runner: Runner, durable_runs: Runs) -> None:
    """A large flow's run of an older version resumes, and its next header is a short one."""
    Old(durable_runs, runner, position)
    with pytest.raises(FlowChangedError) as info:
        runner(flow(durable_runs, renamed(0)), run_id="x")
    assert (info.value.difference, info.value.stored_steps) == (0, NAMES)
    assert f"index 0 there was {NAMES[0]!r}, and is '{NAMES[0]}-new' now" in str(info.value)
    assert len(str(info.value)) < 2000
    runner(flow(durable_runs, renamed(position)), run_id="x", until=position)
    header = stored(durable_runs)
    if position < COUNT - 1:
        assert header.steps is None
        assert header.next_step == NAMES[position + 1]
    assert len(header.durations) <= MOST_DURATIONS
    assert header.durations[NAMES[position - 1]] == 0.25


def test_old_header_that_records_a_failure(runner: Runner, durable_runs: Runs) -> None:
    """A failure in the next step of an old run is recorded with an excerpt."""
    Old(durable_runs, runner, MIDDLE)
    cp = flow(durable_runs, NAMES[:MIDDLE])
    cp.add_step(name="breaks")(lambda state: 1 / 0)
    with pytest.raises(ZeroDivisionError, match="by zero"):
        runner(cp, run_id="x")
    header = stored(durable_runs)
    assert (header.status, header.position, header.next_step) == ("failed", MIDDLE, "breaks")
    assert runner.plan(flow(durable_runs), run_id="x").start == MIDDLE


def test_old_finished_run_once(runner: Runner, durable_runs: Runs) -> None:
    """A finished run gives its result for `once=True`, whatever became of its steps."""
    Old(durable_runs, runner, COUNT)
    for names in (NAMES, renamed(MIDDLE)):
        assert runner(flow(durable_runs, names), {"n": 2}, run_id="x", once=True) == {"n": 1}
