"""Under any actions of two processes a run in a database has one owner, and loses nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from database_machine import KeepingDatabaseMachine, QueuedDatabaseMachine
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from simulated_processes import Body

if TYPE_CHECKING:
    from collections.abc import Iterator

HEALTH = [HealthCheck.too_slow, HealthCheck.data_too_large]
LONG = [pytest.mark.torture, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def body() -> Iterator[Body]:
    """Give a real process that can be stopped."""
    made = Body()
    yield made
    made.end()


@pytest.mark.parametrize("machine", [QueuedDatabaseMachine, KeepingDatabaseMachine])
@pytest.mark.parametrize(("examples", "steps"), [(20, 40), pytest.param(600, 80, marks=LONG)])
def test_anything_in_any_order(
    machine: type[QueuedDatabaseMachine], examples: int, steps: int, body: Body
) -> None:
    """Queue, start, fail, kill, take over, patch, end, recover, delete, ... in any order."""
    run_state_machine_as_test(
        cast("type[QueuedDatabaseMachine]", lambda: machine(body)),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=HEALTH,
        ),
    )
