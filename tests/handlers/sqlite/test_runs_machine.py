"""Whatever two processes do to runs in one database: one owner each, and nothing lost."""

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
    """Begun, broken, cancelled, killed, asleep, taken over, resumed, patched, deleted, pruned."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=HEALTH,
        ),
    )
