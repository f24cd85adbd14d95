"""What is said of runs whose steps were renamed: the ways on are pasted from the messages."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import pytest
from run_factories import resume_all
from support import NAMES
from versioned_flows import BrokenError, flow, header, stand

from aiocheckpoint import FlowChangedError, InvalidValueError, Pause, _logging

if TYPE_CHECKING:
    from run_factories import Runs
    from support import Runner, State

    from aiocheckpoint import CheckpointFlow

OTHER = ("p", "q")


@pytest.fixture(autouse=True)
def _nothing_logged_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_logging, "_logged_refusals", set())


def migrated(runs: Runs, *names: str) -> CheckpointFlow:
    """Make a flow whose `migrate` goes on at its last step."""
    return flow(runs, *names, version=1, migrate=lambda state, version: names[-1])


def leave_paused(runs: Runs) -> None:
    """Leave a run that waits for an approval in its second step."""
    cp = flow(runs, "a")

    @cp.add_step()
    def ask(state: State) -> None:
        if "by" not in state:
            raise Pause("who approves?")

    cp.run({}, run_id="x")
    assert header(runs).status == "paused"


def pasted(words: str, call: str, values: str, checkpoint: str) -> str:
    """Give a call that an error names, with values in the place of what the user has to choose."""
    found = re.search(rf"\b{call}\([^()]*\)", words)
    assert found is not None, words
    return found[0].replace("<values>", values).replace("<name or index>", checkpoint)


def refusal(cp: CheckpointFlow, runner: Runner) -> str:
    """The words with which the run "x" is refused."""
    with pytest.raises(FlowChangedError) as info:
        runner(cp, run_id="x")
    return str(info.value)


# --- another flow's runs, of an older version


def test_recovery_says_that_migrate_takes_it_by_hand(
    runs: Runs, runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """Recovery leaves an older run that shares no name alone, and its log line has the way on."""
    stand(runs, *NAMES, at="b", version=None)
    before, cp = header(runs), migrated(runs, *OTHER)
    for lines in (1, 0):
        assert resume_all(cp) == {}
        errors = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
        assert len(errors) == lines
        if errors:
            words = errors[0]
        caplog.clear()
    assert header(runs) == before
    assert "migrate= takes it on" in words
    assert "checkpoint=" not in words
    assert pasted(words, "resume", "", "") == "resume('x')"
    assert runner.do(cp, "resume", "x")["trail"] == ["a", "q"]


def test_recovery_takes_an_older_run_that_shares_a_name(runs: Runs) -> None:
    """One name in common is enough for `aresume_all` and `migrate`."""
    stand(runs, *NAMES, at="b", version=None)
    assert resume_all(migrated(runs, "p", "a", "q"))["x"].status == "finished"


def test_prune_and_another_flow(runs: Runs, runner: Runner) -> None:
    """Where it reads headers, it deletes no run of another flow. A database does, by the name."""
    flow(runs, *NAMES).run({}, run_id="x")
    flow(runs, *OTHER).run({}, run_id="y")
    in_sql = runs.kind == "sqlite"
    assert runner.do(flow(runs, *OTHER), "prune", 0) == (2 if in_sql else 1)
    assert flow(runs, *NAMES).header("y") is None
    assert (flow(runs, *NAMES).header("x") is None) == in_sql


# --- the words of an error of recovery


def test_recovery_logs_the_note_of_a_broken_migrate(
    runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody looks at the exception, so the log says that `migrate` broke, and what is to mend."""

    def broken(state: State, version: int) -> None:
        error = BrokenError()
        error.add_note("secret of the state")
        raise error

    stand(runs, *NAMES, at="b", version=None)
    resume_all(flow(runs, *NAMES, version=1, migrate=broken))
    (words,) = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert "BrokenError" in words
    assert "migrate= was to take the run in" in words
    assert "Mend migrate= and run again" in words
    assert "secret" not in words


# --- ways on


def test_changed_steps_of_a_run_with_an_id(runs: Runs, runner: Runner) -> None:
    """The error names a version with `migrate=`, `checkpoint=` and the very reset."""
    stand(runs, *NAMES, at="c", version=None)
    words = refusal(flow(runs, "p", "b", "c"), runner)
    assert "version= from 1 on and a migrate=" in words
    assert "reset(run_id='x')" in words
    assert runner(migrated(runs, "p", "b", "c"), run_id="x")["trail"] == ["a", "b", "c"]


def test_changed_steps_of_the_run_without_an_id(runs: Runs, runner: Runner) -> None:
    """A script has no releases: its error is as short as before."""
    stand(runs, *NAMES, at="c", version=None, run_id=None)
    with pytest.raises(FlowChangedError, match=r"checkpoint=.*reset\(\)") as info:
        runner(flow(runs, "p", "b", "c"))
    assert "migrate" not in str(info.value)


@pytest.mark.parametrize("names", [("a", "confirm"), ("b", "ask"), OTHER], ids=repr)
def test_paused_run(names: tuple[str, ...], runs: Runs, runner: Runner) -> None:
    """The answer is put in by a patch that names the step, and both pasted calls work."""
    leave_paused(runs)
    cp = flow(runs, *names)
    with pytest.raises(FlowChangedError, match=r"version= from 1 on.*patch\("):
        runner.do(cp, "resume", "x", {"by": "Ann"})
    words = refusal(cp, runner)
    assert "checkpoint=<name or index>." not in words
    line = pasted(words, "patch", "{'by': 'Ann'}", repr(names[-1]))
    eval(f"cp.{line}", {"cp": cp})  # noqa: S307 - the words are those of the library
    state = eval(f"cp.{pasted(words, 'resume', '', '')}", {"cp": cp})  # noqa: S307
    assert state == {"trail": ["a", names[-1]], "by": "Ann"}
    assert header(runs).status == "finished"


def test_run_id_in_the_place_of_the_policy(runs: Runs, runner: Runner) -> None:
    """An id given by position is refused with the name of the argument that takes it."""
    with pytest.raises(InvalidValueError, match=r"load_policy='order-1'.*run_id="):
        runner(flow(runs, *NAMES), {}, "order-1")
