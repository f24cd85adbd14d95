"""Under any actions of two processes a run in PostgreSQL has one owner, and loses nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from simulated_postgres import KeepingServerMachine, QueuedServerMachine

if TYPE_CHECKING:
    from postgres_server import PostgresServer

HEALTH = [HealthCheck.too_slow, HealthCheck.data_too_large]
LONG = [pytest.mark.torture, pytest.mark.timeout(3600)]


@pytest.mark.parametrize("machine", [QueuedServerMachine, KeepingServerMachine])
@pytest.mark.parametrize(("examples", "steps"), [(5, 30), pytest.param(400, 80, marks=LONG)])
def test_anything_in_any_order(
    machine: type[QueuedServerMachine], examples: int, steps: int, postgres: PostgresServer
) -> None:
    """Queue, start, fail, kill, take over, patch, end, recover, delete, ... in any order."""
    run_state_machine_as_test(
        cast("type[QueuedServerMachine]", lambda: machine(postgres)),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=HEALTH,
        ),
    )
