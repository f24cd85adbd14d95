"""Where a run starts, and with which state: every row of the table, through both runners."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass

import pytest
from support import NAMES, FlowFactory, Runner, State, make_stored

from aiocheckpoint import (
    GivenStateIgnoredWarning,
    InvalidTypeError,
    InvalidValueError,
    LocalStateHandler,
)


@dataclass(frozen=True)
class Row:
    """One row of the table: the stored snapshot, the arguments, and the expected run."""

    stored: str
    given: bool
    checkpoint: int | str | None
    start: int
    source: str

    def __str__(self) -> str:
        """Name the row for the test report."""
        return f"{self.stored}, {'given' if self.given else 'none'}, {self.checkpoint}"

    @property
    def ignores_given(self) -> bool:
        """Whether a given dict is not used."""
        return self.given and self.source != "given"


ROWS = [
    Row("nothing", given=True, checkpoint=None, start=0, source="given"),
    Row("empty file", given=True, checkpoint=None, start=0, source="given"),
    Row("finished", given=True, checkpoint=None, start=0, source="given"),
    Row("nothing", given=False, checkpoint=None, start=0, source="empty"),
    Row("empty file", given=False, checkpoint=None, start=0, source="empty"),
    Row("finished", given=False, checkpoint=None, start=0, source="stored"),
    Row("failed at 1", given=True, checkpoint=None, start=1, source="stored"),
    Row("failed at 1", given=False, checkpoint=None, start=1, source="stored"),
    Row("failed at 2", given=True, checkpoint=None, start=2, source="stored"),
    Row("stopped at 1", given=True, checkpoint=None, start=1, source="stored"),
    Row("stopped at 2", given=False, checkpoint=None, start=2, source="stored"),
    Row("failed at 0", given=True, checkpoint=None, start=0, source="given"),
    Row("failed at 0", given=False, checkpoint=None, start=0, source="stored"),
    Row("nothing", given=True, checkpoint=0, start=0, source="given"),
    Row("nothing", given=True, checkpoint=1, start=1, source="given"),
    Row("nothing", given=True, checkpoint="c", start=2, source="given"),
    Row("empty file", given=True, checkpoint="b", start=1, source="given"),
    Row("finished", given=True, checkpoint=2, start=2, source="given"),
    Row("finished", given=True, checkpoint="a", start=0, source="given"),
    Row("failed at 1", given=True, checkpoint=2, start=2, source="stored"),
    Row("failed at 2", given=True, checkpoint=0, start=0, source="stored"),
    Row("failed at 2", given=False, checkpoint="b", start=1, source="stored"),
    Row("failed at 2", given=False, checkpoint=2, start=2, source="stored"),
    Row("stopped at 1", given=True, checkpoint="b", start=1, source="stored"),
    Row("stopped at 2", given=False, checkpoint="a", start=0, source="stored"),
    Row("nothing", given=False, checkpoint=1, start=1, source="empty"),
    Row("empty file", given=False, checkpoint="c", start=2, source="empty"),
    Row("finished", given=False, checkpoint=1, start=1, source="stored"),
    Row("finished", given=False, checkpoint="c", start=2, source="stored"),
    Row("failed at 0", given=False, checkpoint=1, start=1, source="stored"),
    # Not in the table: no step is done yet, so the given dict counts, as without checkpoint.
    Row("failed at 0", given=True, checkpoint=1, start=1, source="given"),
]
every_row = pytest.mark.parametrize("row", ROWS, ids=str)
pytestmark = pytest.mark.filterwarnings("ignore::aiocheckpoint.GivenStateIgnoredWarning")


def given_for(row: Row) -> State | None:
    """Make the dict that a row gives to the run."""
    return {"who": "given", "deep": [1]} if row.given else None


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Give the library's log messages at WARNING or above."""
    ours = [r for r in caplog.records if r.name.split(".")[0] == "aiocheckpoint"]
    return [r.getMessage() for r in ours if r.levelno >= logging.WARNING]


def state_before(row: Row, stored: State) -> State:
    """Work out the state on entry to the first executed step."""
    if row.source == "given":
        return {"who": "given", "deep": [1]}
    return dict(stored) if row.source == "stored" else {}


@every_row
def test_run_starts_where_the_table_says(row: Row, runner: Runner, flows: FlowFactory) -> None:
    """The executed steps, their state and the stored end are those of the row."""
    make_stored(flows, row.stored, {"who": "stored"})
    stored, given = flows.stored(), given_for(row)
    result = runner(flows.flow(), given, checkpoint=row.checkpoint)
    before = state_before(row, stored)
    assert flows.ran() == list(NAMES[row.start :])
    assert result.get("who") == before.get("who")
    assert result["trail"] == [*before.get("trail", []), *NAMES[row.start :]]
    assert "checkpoint_index" not in result
    assert flows.stored() == {**result, "checkpoint_index": 0}


@every_row
def test_given_dict_is_returned_or_left_alone(row: Row, runner: Runner, flows: FlowFactory) -> None:
    """A run from the given dict returns that very dict. An ignored dict keeps its contents."""
    make_stored(flows, row.stored, {"who": "stored"})
    given = given_for(row)
    result = runner(flows.flow(), given, checkpoint=row.checkpoint)
    assert (result is given) == (row.source == "given")
    if row.ignores_given:
        assert given == {"who": "given", "deep": [1]}


@every_row
def test_warning_of_an_ignored_dict(
    row: Row, runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """Python warns exactly when another dict is ignored, and never shows its values."""
    make_stored(flows, row.stored, {"who": "stored"})
    caplog.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runner(flows.flow(), given_for(row), checkpoint=row.checkpoint)
    assert [one.category for one in caught] == [GivenStateIgnoredWarning] * row.ignores_given
    assert all("'given'" not in str(one.message) for one in caught)
    assert warnings_in(caplog) == []


@every_row
def test_plan_matches_the_run(row: Row, runner: Runner, flows: FlowFactory) -> None:
    """The run carries out the plan that `plan` gave before."""
    make_stored(flows, row.stored, {"who": "stored"})
    plan = runner.plan(flows.flow(), given_for(row), checkpoint=row.checkpoint)
    runner(flows.flow(), given_for(row), checkpoint=row.checkpoint)
    assert flows.plans() == [plan]
    assert plan.steps == NAMES
    assert flows.ran() == list(plan.steps[plan.start : plan.stop])
    assert flows.ran("load") == [n for n, loads in zip(NAMES, plan.loads, strict=True) if loads]
    assert (plan.start, plan.stop) == (row.start, len(NAMES))
    assert (plan.source, plan.ignores_given) == (row.source, row.ignores_given)


@every_row
def test_plan_runs_and_writes_nothing(row: Row, runner: Runner, flows: FlowFactory) -> None:
    """`plan` calls no part of a step, and leaves every file as it is."""
    make_stored(flows, row.stored, {"who": "stored"})
    cp, before = flows.flow(), flows.files()
    runner.plan(cp, given_for(row), checkpoint=row.checkpoint)
    assert flows.log == []
    assert flows.files() == before


@every_row
def test_plan_in_words_names_the_first_step(row: Row, runner: Runner, flows: FlowFactory) -> None:
    """The plan as text names the steps to run and the reason."""
    names = ("fetch_it", "clean_it", "write_it")
    make_stored(flows, row.stored, {"who": "stored"}, *names)
    start = row.checkpoint if not isinstance(row.checkpoint, str) else "abc".index(row.checkpoint)
    text = str(runner.plan(flows.flow(*names), given_for(row), checkpoint=start))
    assert all(name in text for name in names[row.start :])


@every_row
def test_only_a_fresh_run_has_a_new_number(row: Row, runner: Runner, flows: FlowFactory) -> None:
    """A run is fresh, with the next number, unless it resumes an unfinished one."""
    make_stored(flows, row.stored, {"who": "stored"})
    before = LocalStateHandler(flows.path).header()
    goes_on = row.source == "stored" and row.stored != "finished"
    plan = runner.plan(flows.flow(), given_for(row), checkpoint=row.checkpoint)
    runner(flows.flow(), given_for(row), checkpoint=row.checkpoint)
    assert plan.fresh == (not goes_on)
    if before is not None:
        assert flows.header().number == before.number + plan.fresh


def test_border_key_is_taken_off_a_given_state(runner: Runner, flows: FlowFactory) -> None:
    """A state from `read()` can be given as it is. No step sees the key."""
    make_stored(flows, "finished", {"who": "stored"})
    given = flows.stored()
    assert given["checkpoint_index"] == 0
    result = runner(flows.flow(), given)
    assert result is given
    assert "checkpoint_index" not in given


def test_border_key_in_a_given_state_moves_nothing(runner: Runner, flows: FlowFactory) -> None:
    """The key in a given state does not choose the step. The run starts at the first."""
    runner(flows.flow(), {"checkpoint_index": 2})
    assert flows.ran() == list(NAMES)


def test_border_key_made_by_a_step_moves_nothing(runner: Runner, flows: FlowFactory) -> None:
    """A step that writes the key into the state does not move the run."""
    cp = flows.flow("a")

    @cp.add_step()
    def tamper(state: State) -> None:
        state["checkpoint_index"] = 0

    flows.add(cp, "c")
    flows.faults["step c"] = OSError("not yet")
    with pytest.raises(OSError, match="not yet"):
        runner(cp)
    flows.faults.clear()
    assert flows.stored()["checkpoint_index"] == 2
    assert "checkpoint_index" not in runner(cp)
    assert flows.ran() == ["a", "c", "c"]


def test_run_numbers_count_runs_not_attempts(runner: Runner, flows: FlowFactory) -> None:
    """Every new run has the next number. A resumed run keeps its number."""
    runner(flows.flow())
    first = flows.header().number
    make_stored(flows, "failed at 1")
    assert flows.header().number == first + 1
    runner(flows.flow())
    assert flows.header().number == first + 1
    runner(flows.flow())
    assert flows.header().number == first + 2


def test_sequence_grows_with_every_attempt(runner: Runner, flows: FlowFactory) -> None:
    """Later snapshots have greater sequence numbers, across failures and runs."""
    seen: list[int] = []
    for kind in ("failed at 0", "failed at 1", "stopped at 2", "finished"):
        make_stored(flows, kind)
        seen.append(flows.header().sequence)
    runner(flows.flow())
    seen.append(flows.header().sequence)
    assert seen == sorted(set(seen))


def test_finished_run_is_stored_as_finished_at_the_beginning(
    runner: Runner, flows: FlowFactory
) -> None:
    """After the last step the header has the status "finished", position 0, and the step names."""
    runner(flows.flow())
    header = flows.header()
    assert (header.status, header.position, header.failure) == ("finished", 0, None)
    assert header.steps == NAMES
    assert header.flow == "checkpoint"


def test_reset_forgets_an_unfinished_run(runner: Runner, flows: FlowFactory) -> None:
    """After a reset nothing is stored, and the next run starts at the beginning."""
    make_stored(flows, "failed at 2", {"who": "stored"})
    cp = flows.flow()
    runner.reset(cp)
    assert flows.stored() == {}
    assert "who" not in runner(cp)
    assert flows.ran() == list(NAMES)


def test_reset_of_nothing_is_no_error(runner: Runner, flows: FlowFactory) -> None:
    """Resetting a flow that never ran does nothing."""
    runner.reset(flows.flow())
    assert flows.stored() == {}


OUT_OF_RANGE = [99, 3, -1, "nope", ""]


@pytest.mark.parametrize("stored", ["nothing", "failed at 1", "finished"])
@pytest.mark.parametrize("checkpoint", OUT_OF_RANGE)
def test_unknown_checkpoint_names_the_steps(
    checkpoint: int | str, stored: str, runner: Runner, flows: FlowFactory
) -> None:
    """A checkpoint that does not exist is a ValueError that lists the existing ones."""
    names = ("fetch_it", "clean_it", "write_it")
    make_stored(flows, stored, {"who": "stored"}, *names)
    before = flows.files()
    with pytest.raises(InvalidValueError) as info:
        runner(flows.flow(*names), {}, checkpoint=checkpoint)
    assert isinstance(info.value, ValueError)
    assert all(name in str(info.value) for name in (*names, "checkpoint", str(checkpoint)))
    assert (flows.log, flows.files()) == ([], before)


@pytest.mark.parametrize("word", ["checkpoint", "until"])
@pytest.mark.parametrize("value", [1.5, ["a"], b"a"], ids=["float", "list", "bytes"])
def test_checkpoint_of_another_type(
    value: object, word: str, runner: Runner, flows: FlowFactory
) -> None:
    """A `checkpoint=` or `until=` that is neither index nor name is a TypeError of ours."""
    cp = flows.flow()
    with pytest.raises(InvalidTypeError, match=word):
        runner(cp, **{word: value})
    assert flows.log == []
