"""Under any actions of two processes a run in a database has one owner, and loses nothing."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from runs_machine import KeepingRunsMachine, RunsMachine

HEALTH = [HealthCheck.too_slow, HealthCheck.data_too_large]
LONG = [pytest.mark.torture, pytest.mark.timeout(3600)]


@pytest.mark.parametrize("machine", [RunsMachine, KeepingRunsMachine])
@pytest.mark.parametrize(("examples", "steps"), [(30, 40), pytest.param(600, 80, marks=LONG)])
def test_anything_in_any_order(machine: type[RunsMachine], examples: int, steps: int) -> None:
    """Start, fail, cancel, kill, sleep, take over, resume, patch, delete, prune, in any order."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=HEALTH,
        ),
    )
