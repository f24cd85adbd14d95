"""Whatever happens to a flow, in whatever order: what was acknowledged is there, and no more."""

from __future__ import annotations

import pytest
from flow_machine import FlowMachine
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

HEALTH = [HealthCheck.too_slow, HealthCheck.data_too_large]


@pytest.mark.parametrize(
    ("examples", "steps"),
    [(25, 25), pytest.param(1500, 60, marks=[pytest.mark.torture, pytest.mark.timeout(3600)])],
)
def test_anything_in_any_order(examples: int, steps: int) -> None:
    """Started, failed, cancelled, crashed, resumed, patched, damaged, rotated, changed, reset."""
    run_state_machine_as_test(
        FlowMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=HEALTH,
        ),
    )
