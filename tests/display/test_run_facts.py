"""The words that name a run, say where and why it stands, and when it is due."""

from __future__ import annotations

import re
from typing import Any

import pytest

from aiocheckpoint._display.run_facts import (
    due_words,
    place_of_run,
    reason_of,
    standing_at,
    standing_at_step,
    why,
)
from aiocheckpoint._model.header import Failure
from aiocheckpoint.look import RunView

FAILURE = Failure(
    step="charge",
    part="step",
    type="builtins.OSError",
    message="",
    traceback="",
    at=1.0,
    seconds=1.0,
)


def run_of(status: str = "failed", **facts: object) -> RunView:
    """A run with these facts."""
    return RunView(flow="f", run_id="x", location="/f", status=status, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"status": "failed"}, "due now"),
        ({"status": "failed", "due": 7e9}, r"due in \d+ d"),
        ({"status": "failed", "due": 7e9, "owner": "process 7"}, ""),
        ({"status": "cancelled", "due": 1.0}, "due now"),
        ({"status": "queued"}, "due now"),
        ({"status": "running"}, "due now"),
        ({"status": "running", "owner": "process 7"}, ""),
        ({"status": "stopped", "stopped_by": "requeue"}, "due now"),
        ({"status": "stopped", "stopped_by": "until"}, ""),
        ({"status": "paused"}, ""),
        ({"status": "paused", "due": 7e9}, r"due in \d+ d"),
        ({"status": "finished"}, ""),
        ({"status": "terminated"}, ""),
        ({"status": "damaged"}, ""),
    ],
    ids=str,
)
def test_due(facts: dict[str, Any], words: str) -> None:
    """A run is due by its status, when no living process has it."""
    assert re.fullmatch(words, due_words(run_of(**facts)))


def test_place() -> None:
    """A place is named in three forms, and a step of an unknown number too."""
    run = run_of(status="failed", step="char\nge", position=2, step_count=4)
    assert place_of_run(run) == "3/4 char\\nge"
    assert standing_at(run_of(step="charge", position=2, step_count=4)) == "at 3 of 4, charge"
    words = standing_at_step(run_of(step="charge", position=2, step_count=None))
    assert words == "at step 3 of ?, 'charge'"
    nowhere = run_of(status="finished")
    assert (place_of_run(nowhere), standing_at(nowhere), standing_at_step(nowhere)) == ("", "", "")


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"status": "failed", "failure": FAILURE}, "OSError"),
        ({"status": "cancelled", "failure": FAILURE}, "OSError"),
        ({"status": "paused", "failure": FAILURE, "pause": "over"}, "over"),
        ({"status": "running", "failure": FAILURE, "owner": "process 7"}, "process 7"),
        ({"status": "running", "stale": True}, "no process runs it"),
        ({"status": "stopped", "stopped_by": "until"}, "by until"),
        ({"status": "terminated", "terminated_by": "Ann", "termination": "old"}, "by Ann: old"),
        ({"status": "terminated", "termination": "old"}, "old"),
        ({"status": "finished"}, ""),
    ],
    ids=str,
)
def test_why(facts: dict[str, Any], words: str) -> None:
    """A failed run stands by its failure, and any other by the reason of its status."""
    assert why(run_of(**facts)) == words


def test_reason_of_a_failed_run() -> None:
    """The failure of a run is no reason where a column of its own has it."""
    assert reason_of(run_of(status="failed", failure=FAILURE)) == ""
