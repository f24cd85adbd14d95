"""The header says who changed a stored run by hand, or why, until the run goes on."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from queued_runs import make_run, put_header, stored
from rolling_deploys import OLD, installed
from support import Runner

from aiocheckpoint import CheckpointFlow, InvalidTypeError, RunTerminatedError
from aiocheckpoint.events import RunSubmitted

if TYPE_CHECKING:
    from pathlib import Path

    from run_factories import Runs

HOSTILE = "Ann \x1b[31m\r\n\x00 \u202e 'quoted' \\"


def change(runner: Runner, cp: CheckpointFlow, how: str, **reason: Any) -> None:  # noqa: ANN401
    """Change run "x" by hand."""
    match how:
        case "patch":
            runner.do(cp, "patch", {"by": "hand"}, run_id="x", **reason)
        case "patch to a":
            runner.do(cp, "patch", {}, "a", run_id="x", **reason)
        case _:
            runner.do(cp, how, "x", **reason)


@pytest.mark.parametrize("how", ["patch", "patch to a", "requeue", "terminate"])
@pytest.mark.parametrize("status", ["failed", "queued"])
def test_is_stored_until_the_run_goes_on(status: str, how: str, runs: Runs) -> None:
    """A change by hand stores its reason as it is. The next snapshot of the run has none."""
    cp, runner = make_run(runs, status), Runner("run")
    change(runner, cp, how, reason=HOSTILE)
    header = stored(cp)[0]
    assert header.actor == HOSTILE
    assert header.termination == (HOSTILE if how == "terminate" else None)
    assert [one.actor for one in cp.runs()] == [HOSTILE]
    runner.do(cp, "run", None, checkpoint="b", run_id="x", until="b")
    assert (stored(cp)[0].next_step, stored(cp)[0].actor) == ("c", None)


@pytest.mark.parametrize("how", ["patch", "requeue", "terminate"])
def test_a_change_without_a_reason_has_no_actor(how: str, database: Runs, runner: Runner) -> None:
    """An older actor is not taken for that of a later change."""
    cp = make_run(database, "failed")
    put_header(cp.handler, "x", actor="Ann")
    change(runner, cp, how)
    assert stored(cp)[0].actor is None


def test_a_run_that_fails_again_has_none(database: Runs, runner: Runner) -> None:
    """The failure of a run that went on in its step is nobody's doing."""
    cp = make_run(database, "failed")
    change(runner, cp, "requeue", reason="mended")
    database.faults["step b"] = ValueError()
    with pytest.raises(ValueError, match="broke in its part"):
        runner.do(cp, "resume", "x")
    header = stored(cp)[0]
    assert (header.status, header.actor) == ("failed", None)


@pytest.mark.parametrize("how", ["patch", "requeue", "terminate"])
@pytest.mark.parametrize("reason", [5, b"Ann"], ids=repr)
def test_what_is_no_text(reason: object, how: str, database: Runs, runner: Runner) -> None:
    """It is refused by name, and the run is as it was."""
    cp = make_run(database, "failed")
    before = stored(cp)
    with pytest.raises(InvalidTypeError, match="reason= is a string"):
        change(runner, cp, how, reason=reason)
    assert stored(cp) == before


@pytest.mark.parametrize("how", ["requeue", "terminate"])
def test_log(how: str, database: Runs, runner: Runner, caplog: pytest.LogCaptureFixture) -> None:
    """A requeue is logged with its reason, and events have it. No control character is logged."""
    cp = make_run(database, "failed")
    database.events.clear()
    caplog.set_level(logging.INFO)
    change(runner, cp, how, reason=HOSTILE)
    text = "".join(record.getMessage() for record in caplog.records)
    assert text.isprintable()
    if how == "requeue":
        assert text.endswith(r": Ann \x1b[31m\r\n\x00 \u202e 'quoted' " + "\\")
        assert [one.reason for one in database.events if isinstance(one, RunSubmitted)] == [HOSTILE]


def test_log_of_a_terminated_run(
    database: Runs, runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that ends by a request is logged with the reason in one line."""
    cp = database.flow("a")
    cp.add_step(name="ends")(lambda state: cp.terminate("x", HOSTILE))
    database.add(cp, "b")
    caplog.set_level(logging.WARNING)
    with pytest.raises(RunTerminatedError):
        runner.do(cp, "run", {}, run_id="x")
    header = stored(cp)[0]
    assert (header.status, header.actor) == ("terminated", HOSTILE)
    text = "".join(record.getMessage() for record in caplog.records)
    assert r"\x1b[31m\r\n\x00" in text
    assert text.isprintable()


_READ = """
import sys
from aiocheckpoint import CheckpointFlow
cp = CheckpointFlow(sys.argv[1], handler="local", name="runs")
for name in "abcd":
    cp.add_step(name=name)(lambda state: None)
header = cp.header()
print(header.library, header.status, cp.run()["n"])
"""


def test_release_0_5_passes_over_it(tmp_path: Path) -> None:
    """A process of 0.5 reads such a header, with expected times too, and goes on with the run."""
    cp: CheckpointFlow = CheckpointFlow(tmp_path / "runs.pkl", name="runs")
    for name in "abcd":
        cp.add_step(name=name)(lambda state: time.sleep(0.03))
    cp.run({"n": 0})
    cp.run({"n": 1}, until="b")
    header = cp.header()
    assert header is not None
    assert set(header.expected) == set("abcd")
    assert cp.patch({"n": 2}, reason=HOSTILE).actor == HOSTILE
    environment = {**os.environ, "PYTHONPATH": installed(tmp_path)[OLD]}
    command = [sys.executable, "-c", _READ, str(tmp_path / "runs.pkl")]
    said = subprocess.check_output(command, env=environment, text=True)
    assert said.split()[1:] == ["stopped", "2"]
