"""What a header says of its run, and the header of the next snapshot."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

import pytest

from aiocheckpoint import Failure, Header
from aiocheckpoint._model.header import Status
from aiocheckpoint._model.statuses import UNFINISHED
from aiocheckpoint._model.step_names import MOST_NAMES, StepNames

NAMES = ("a", "b", "c")
MANY = tuple(f"step {number}" for number in range(MOST_NAMES + 1))
FAILURE = Failure(step="b", part="step", type="E", message="m", traceback="t", at=1.0, seconds=2.0)


def header(position: int = 1, **fields: Any) -> Header:  # noqa: ANN401
    """Make a header of three steps."""
    named: dict[str, Any] = {"steps": NAMES, **fields}
    return Header(flow="f", position=position, **named)


def test_what_is_unknown() -> None:
    """A header of which nothing else is known has these values."""
    known = dataclasses.asdict(Header(flow="f", position=0))
    counts = {"number": 0, "sequence": 0, "written_at": 0.0, "started_at": 0.0, "position": 0}
    texts = {"flow": "f", "status": "running", "python": "", "dill": "", "library": ""}
    flags = {"holds_data": False, "code": False}
    none = ("run_id", "steps", "excerpt", "failure", "pause", "signed_by", "sizes", "owner")
    counts |= {"version": 0, "pause_number": 0, "starts": 0, "killed": 0}
    empty: dict[str, Any] = {"attempts": {}, "durations": {}, "step_digests": {}, "snapshots": {}}
    empty["expected"] = {}
    names = ("stopped_by", "trace", "initial_digest", "due", "terminated_by", "termination")
    later = dict.fromkeys((*names, "actor"))
    rest = {**dict.fromkeys(none), **later, **empty}
    assert known == {**counts, **texts, **flags, **rest}
    assert FAILURE.attempt == 1
    assert header(attempts={}).durations is not header().durations


def test_records_cannot_be_changed() -> None:
    """Neither a header nor a failure can be changed, and both take names only."""
    names = [field.name for field in dataclasses.fields(Failure)]
    for record, given in ((header(), ["flow", "position"]), (FAILURE, names)):
        kind: Any = type(record)
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, given[0], "another")
        with pytest.raises(TypeError, match="positional"):
            kind(*(getattr(record, name) for name in given))
    assert hasattr(Failure, "__slots__")


@pytest.mark.parametrize("status", get_args(Status))
def test_next_step(status: Status) -> None:
    """A finished run has no next step. Any other has the one at its position."""
    finished = status == "finished"
    assert header(status=status).finished is finished
    assert header(status=status).next_step == (None if finished else "b")
    assert header(3, status=status).next_step is None
    assert header(status=status, steps=None).next_step is None
    assert header(status=status).is_at(StepNames(NAMES), 1) is not finished


def test_place_in_a_flow() -> None:
    """A state is on entry to the step with the name at its position, wherever that is now."""
    names = StepNames(NAMES)
    assert [header(1).is_at(names, index) for index in range(3)] == [False, True, False]
    assert not header(1, steps=("a", "other", "c")).is_at(names, 1)
    assert header(1, steps=("a", "c", "b")).is_at(names, 2)
    assert header(1).matches(names)
    assert not header(1, steps=("a", "b", "other")).matches(names)
    assert header(1, steps=("a", "b", "other")).matches_prefix(names, 2)
    assert not header(1, steps=("a", "b", "other")).matches_prefix(names, 3)


def test_names_of_a_large_flow() -> None:
    """A header with an excerpt answers from it, even where it lists names as well."""
    names = StepNames(MANY)
    large = header(7, excerpt=names.excerpt(7, finished=False))
    assert large.next_step == "step 7"
    assert large.is_at(names, 7)
    assert large.step_names is large.excerpt
    assert not header(7, steps=None).is_at(names, 7)


@pytest.mark.parametrize(("position", "status"), [(0, "finished"), (1, "stopped"), (7, "stopped")])
def test_state_without_a_header(position: int, status: str) -> None:
    """A state with a position alone is one of a stopped run, or of a finished one at 0."""
    made = Header.without_names("f", "x", position)
    assert (made.flow, made.run_id, made.position, made.status) == ("f", "x", position, status)


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
def test_newest_entries_stay(*, large: bool) -> None:
    """The newest 100 entries stay, or 20 of a large flow, and a repeated step is the newest."""
    excerpt = StepNames(MANY).excerpt(0, finished=False) if large else None
    made, most = header(excerpt=excerpt), 20 if large else MOST_NAMES
    for number in range(most):
        made.record_attempt(f"{number}", number)
        made.record_duration(f"{number}", number + 0.123_456_7)
    assert list(made.attempts) == [f"{number}" for number in range(most)]
    made.record_attempt("0", 5)
    made.record_duration("0", 0.5)
    assert list(made.attempts) == [*(f"{number}" for number in range(1, most)), "0"]
    made.record_attempt("another", 2)
    made.record_duration("another", 1)
    wanted = [*(f"{number}" for number in range(2, most)), "0", "another"]
    assert list(made.attempts) == list(made.durations) == wanted
    assert (made.attempts["0"], made.attempts["2"]) == (5, 2)
    assert (made.durations["0"], made.durations["2"]) == (0.5, 2.123457)


@pytest.mark.parametrize(
    "fields", [{}, {"failure": FAILURE}, {"pause": "why"}, {"failure": FAILURE, "pause": "why"}]
)
def test_next_snapshot_of_a_run(fields: dict[str, Any]) -> None:
    """The next header counts on, without the failure and the pause. The one before stays."""
    before = header(1, sequence=4, written_at=1.0, status="failed", **fields)
    copied = dataclasses.replace(before)
    after = before.next("running", 2, 5.0, None)
    assert after == header(2, sequence=5, written_at=5.0, status="running")
    assert type(after) is Header
    assert before == copied


def test_each_status_is_of_finished_runs_or_of_others() -> None:
    """No status is forgotten in the sets of statuses."""
    assert {"finished"} ^ UNFINISHED == set(get_args(Status))
