"""While a drain waits, the log names the runs and steps that it waits for, ever more rarely."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

import pytest
from blocking_flow import BlockingFlow

from aiocheckpoint._engine import draining
from aiocheckpoint._engine.active_run import ActiveRun
from aiocheckpoint._engine.active_runs import ActiveRuns
from aiocheckpoint._engine.context import StepProgress

if TYPE_CHECKING:
    from run_factories import Runs

    from aiocheckpoint._concurrency.backends import Backend

SOON = 0.02


def waits(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """The records on waits."""
    return [one for one in caplog.records if "drain waits" in one.getMessage()]


async def test_names_run_and_step(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, runs: Runs
) -> None:
    """Each warning has run, step and attempt as attributes, and the seconds in words."""
    monkeypatch.setattr(draining, "_FIRST_WARNING_SECONDS", SOON)
    monkeypatch.setattr(draining, "_LOOK_SECONDS", SOON)
    blocking_flow = BlockingFlow()
    cp = blocking_flow.flow(runs)
    (task,) = await blocking_flow.start(cp, "x")
    drains = [asyncio.create_task(cp.adrain()) for _ in range(2)]
    async with asyncio.timeout(20):
        while len(waits(caplog)) < 2:  # noqa: ASYNC110 - a record is no event
            await asyncio.sleep(SOON)
    blocking_flow.free.set()
    assert await asyncio.gather(*drains) == [[], []]
    await asyncio.gather(task, return_exceptions=True)
    for record in waits(caplog):
        facts = vars(record)
        assert (facts["flow"], facts["run_id"], facts["step"], facts["attempt"]) == (
            *(cp.name, "x", "b", 1),
        )
        assert record.levelno == logging.WARNING
        assert "step 'b'" in record.getMessage()
        assert f"{cp.name}['x']" in record.getMessage()


class Clock:
    """A backend whose waits take no time, and the clock that they set."""

    loop = None

    def __init__(self, seconds: float) -> None:
        self.now, self.seconds = 1_000.0, seconds

    async def wait_at_most(self, pending: Any, seconds: float) -> None:  # noqa: ANN401
        """Let time pass."""
        self.now += seconds


def wait_so_long(
    seconds: float, *runs: ActiveRun, caplog: pytest.LogCaptureFixture, patch: pytest.MonkeyPatch
) -> list[tuple[float, str]]:
    """Drain for so many simulated seconds. Give the records, and when each came."""
    clock, found = Clock(seconds), list[tuple[float, str]]()
    patch.setattr(time, "monotonic", lambda: clock.now)
    patch.setattr(time, "perf_counter", lambda: clock.now + 7)
    for name in ("log_waiting", "log_waiting_more"):
        log = getattr(draining, name)

        def noted(*args: Any, log: Any = log) -> None:  # noqa: ANN401
            caplog.clear()
            log(*args)
            found.append((clock.now - 1_000, caplog.messages[0]))

        patch.setattr(draining, name, noted)
    drain = draining.Drain("orders", lambda: list(runs), give_up=lambda: None)
    backend: Backend = clock  # type: ignore[assignment]
    with pytest.raises(StopIteration) as info:
        drain.wait(backend, seconds).send(None)
    assert info.value.value == [run.run_id for run in runs]
    return found


def run_in_step(run_id: str, step: str | None = "charge") -> ActiveRun:
    """Make an active run that entered a step at the start of the clock."""
    run = ActiveRun(ActiveRuns("orders", 1), run_id)
    if step is not None:
        progress = StepProgress(0, step, 1, 2)
        progress.began = 1_000.0
        run.progress = progress
    return run


def test_intervals_grow(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first warning comes after 5 seconds, and each interval is twice as long."""
    found = wait_so_long(100, run_in_step("x"), caplog=caplog, patch=monkeypatch)
    assert [at for at, _ in found] == [5, 10, 20, 40, 80]
    assert found[1][1] == (
        "The drain waits for step 'charge' of the run orders['x'], which has been going on for 17 s"
    )


def test_many_runs(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten runs are named, and the others counted. A run may be in no step."""
    runs = [run_in_step("0", None), *(run_in_step(f"{n}") for n in range(1, 25))]
    found = wait_so_long(6, *runs, caplog=caplog, patch=monkeypatch)
    assert len(found) == 11
    assert "orders['0'], which is in no step" in found[0][1]
    assert found[-1][1] == "The drain waits for 15 runs more"
