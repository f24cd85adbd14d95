"""The public records are plain dataclasses: compared, shown, copied, pickled and tabulated."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import pytest
from large_flows import NAMES, stop_at

from aiocheckpoint import (
    CurrentStep,
    Failure,
    Header,
    Plan,
    Retry,
    RunResult,
    StepNamesExcerpt,
    events,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from run_factories import Runs
    from support import Runner

FAILURE = Failure(step="a", part="step", type="E", message="m", traceback="t", at=1.0, seconds=2.0)
EXCERPT = StepNamesExcerpt(count=200, begin=0, names=("a",), done=1, before="b", whole="w")
HEADER = Header(
    flow="f", position=1, failure=FAILURE, excerpt=EXCERPT, durations={"a": 1.5}, attempts={"a": 2}
)
PLAN = Plan(
    steps=("a",),
    start=0,
    stop=1,
    loads=(True,),
    source="given",
    fresh=True,
    relocates=False,
    ignores_given=False,
    reason="why",
)
RECORDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "header": (HEADER, {"position": 2}),
    "failure": (FAILURE, {"message": "n"}),
    "plan": (PLAN, {"reason": "because"}),
    "result": (
        RunResult(run_id="x", state={"a": 1}, error=None, status="finished"),
        {"state": {"a": 2}},
    ),
    "retry": (Retry(attempts=3), {"attempts": 4}),
    "excerpt": (EXCERPT, {"done": 2}),
    "event": (
        events.StepLoaded(flow="f", run_id=None, number=1, step="a", index=0, of=1, seconds=0.5),
        {"index": 1},
    ),
}
COPIES: list[Callable[[Any], Any]] = [
    copy.copy,
    copy.deepcopy,
    dataclasses.replace,
    *(
        lambda record, number=number: pickle.loads(pickle.dumps(record, number))
        for number in (2, 5)
    ),
]


@pytest.mark.parametrize("make", COPIES)
@pytest.mark.parametrize("name", RECORDS)
def test_copies_are_equal(name: str, make: Callable[[Any], Any]) -> None:
    """A copy equals its record and is shown the same; a changed one does neither."""
    record, change = RECORDS[name]
    again = make(record)
    assert type(again) is type(record)
    assert (again, repr(again)) == (record, repr(record))
    changed = dataclasses.replace(record, **change)
    assert record != changed
    assert repr(record) != repr(changed)


@pytest.mark.parametrize("name", RECORDS)
def test_fields_are_shown_and_given(name: str) -> None:
    """`repr` has each field by name but digests, `asdict` and `astuple` its value."""
    record, _ = RECORDS[name]
    fields = [field.name for field in dataclasses.fields(record)]
    assert repr(record).startswith(f"{type(record).__name__}({fields[0]}=")
    hidden = {field for field in fields if f"{field}=" not in repr(record)}
    assert hidden == ({"initial_digest", "step_digests"} if name == "header" else set())
    assert list(dataclasses.asdict(record)) == fields
    assert len(dataclasses.astuple(record)) == len(fields)


def test_records_are_frozen() -> None:
    """None of them takes another value."""
    for record, change in RECORDS.values():
        for name, value in change.items():
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(record, name, value)


def test_current_step_is_a_named_tuple() -> None:
    """It is shown by its fields, and copied as a tuple is."""
    step = CurrentStep("f", "x", 1, "a", 2)
    assert repr(step) == "CurrentStep(flow='f', run_id='x', number=1, step='a', attempt=2)"
    assert copy.deepcopy(step) == pickle.loads(pickle.dumps(step)) == step


@pytest.mark.parametrize("name", ["header", "plan"])
def test_vars_of_a_record(name: str) -> None:
    """`vars` of a header or plan has its fields, as `asdict` has them."""
    record, _ = RECORDS[name]
    facts = vars(record)
    assert set(facts) == {field.name for field in dataclasses.fields(record)}
    assert all(facts[field] == getattr(record, field) for field in facts)


def test_a_header_as_a_dict() -> None:
    """Its dict holds plain values alone, of which JSON is made as it is."""
    facts = dataclasses.asdict(HEADER)
    assert facts["durations"] == {"a": 1.5}
    assert type(facts["durations"]) is dict
    assert facts["excerpt"]["names"] == ("a",)
    assert json.loads(json.dumps(facts))["failure"]["step"] == "a"


def test_a_copy_has_its_own_durations() -> None:
    """A deep copy is apart from its header."""
    again = copy.deepcopy(HEADER)
    again.record_duration("b", 1.0)
    again.record_attempt("b", 2)
    assert HEADER.durations == {"a": 1.5}
    assert HEADER.attempts == {"a": 2}


def test_durations_are_kept_to_the_microsecond() -> None:
    """The value in the header is the one that is stored."""
    header = Header(flow="f", position=0)
    header.record_duration("a", 0.123_456_789)
    header.record_duration("b", 1e-7)
    assert header.durations == {"a": 0.123_457, "b": 0.0}


def test_headers_that_were_read(runner: Runner, runs: Runs) -> None:
    """Headers of stored runs, of large flows too, are copied and given as dicts the same way."""
    header = stop_at(runs, runner, 30)
    for made in (copy.deepcopy(header), pickle.loads(pickle.dumps(header))):
        assert made == header
    facts = dataclasses.asdict(header)
    assert facts["excerpt"]["count"] == len(NAMES)
    assert list(facts["durations"]) == list(NAMES[10:30])


def test_records_in_a_table() -> None:
    """Pandas makes a table of headers, plans or events, and of their dicts."""
    pandas: Any = import_module("pandas")
    for name, (record, change) in RECORDS.items():
        both = [record, dataclasses.replace(record, **change)]
        for rows in (both, [dataclasses.asdict(one) for one in both]):
            table = pandas.DataFrame(cast("Any", rows))
            assert list(table) == [field.name for field in dataclasses.fields(record)], name
            for field, value in change.items():
                assert list(table[field]) == [getattr(record, field), value]


def test_table_of_stored_runs(runner: Runner, runs: Runs) -> None:
    """The headers of a store make a table, with a line for each run."""
    pandas: Any = import_module("pandas")
    for number in (1, 2):
        runner(runs.flow(), {"n": number}, run_id=f"n={number}")
    table = pandas.DataFrame(runner.do(runs.flow(), "runs"))
    assert set(table["run_id"]) == {"n=1", "n=2"}
    assert list(table["status"]) == ["finished", "finished"]
