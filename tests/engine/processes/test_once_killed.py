"""A request that is repeated after its process was killed in the first step."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from killed_workers import LOCATIONS

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import json, os, signal, sys
from aiocheckpoint import CheckpointFlow, current_step

cp = CheckpointFlow(sys.argv[1])

@cp.add_step()
def pay(state):
    step = current_step()
    print(json.dumps([step.number, step.idempotency_key]), flush=True)
    if sys.argv[2] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)

cp.run({}, run_id="order", once=True)
"""


def request(place: str, end: str) -> list[Any]:
    """Let a process serve the request, or be killed at it, and give the step's id and key."""
    command = [sys.executable, "-c", PROGRAM, place, end]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == (-signal.SIGKILL if end == "kill" else 0)
    reported: list[Any] = json.loads(done.stdout or "[]")
    return reported


@pytest.mark.skipif(os.name != "posix", reason="POSIX only")
@pytest.mark.parametrize("kind", LOCATIONS)
def test_request_killed_in_the_first_step(kind: str, tmp_path: Path) -> None:
    """The repeated request is the same run with the same idempotency key, and finishes once."""
    place = LOCATIONS[kind].format(tmp_path)
    first = request(place, "kill")
    assert first[0] == 1
    assert request(place, "kill") == first
    assert request(place, "end") == first
    assert request(place, "end") == []
