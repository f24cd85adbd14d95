"""The objects that one run hands from step to step: settings, context, progress."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from aiocheckpoint._engine.failures import StepFailure
from aiocheckpoint._snapshot.keys import pop_reserved_keys

if TYPE_CHECKING:
    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._engine.active_runs import ActiveRuns
    from aiocheckpoint._engine.dispatch import EventDispatcher
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.plan import Plan
    from aiocheckpoint._model.steps import Steps
    from aiocheckpoint.events import Hook
    from aiocheckpoint.handlers._run_store import RunStore

__all__ = ["DrainedError", "FlowSettings", "RunContext", "StepProgress"]


@dataclass(kw_only=True)
class FlowSettings:
    """The settings that all runs of a flow share.

    Args:
        flow: Name of the flow.
        hooks: Callables that are called with the events.
        keep_data: Whether `data` is stored with the state.
        threads: How many sync functions of the flow run at once on one event loop.
        active_runs: The active runs of the flow, and whether they are to stop.

    Attributes:
        new_plans: The runner's cache of plans of new runs, each with the steps of its flow. The
            key is whether a state is given, and the load policy.
    """

    flow: str
    hooks: tuple[Hook, ...]
    keep_data: bool
    threads: int
    active_runs: ActiveRuns
    new_plans: dict[tuple[bool, str], tuple[Steps, Plan]] = field(default_factory=dict)

    def with_hook(self, hook: Hook) -> FlowSettings:
        """The same settings with one hook more."""
        return replace(self, hooks=(*self.hooks, hook))


class RunContext:
    """The parts and the current header of one run.

    Args:
        settings: The settings that all runs of the flow share.
        run_id: The run's id, or None.
        steps: The steps, which do not change during the run.
        run_store: The store of the run's snapshots. Its lock is held.
        backend: Does the blocking work.
        dispatcher: Emits the events.
        header: The header of the newest snapshot, as this run knows it.

    Attributes:
        data: The dict that loaders fill and steps use.
    """

    __slots__ = (
        "backend",
        "data",
        "dispatcher",
        "header",
        "run_id",
        "run_store",
        "settings",
        "steps",
    )

    def __init__(
        self,
        *,
        settings: FlowSettings,
        run_id: str | None,
        steps: Steps,
        run_store: RunStore,
        backend: Backend,
        dispatcher: EventDispatcher,
        header: Header,
    ) -> None:
        self.settings, self.run_id, self.steps = settings, run_id, steps
        self.run_store, self.backend, self.dispatcher = run_store, backend, dispatcher
        self.header = header
        self.data: dict[str, Any] = {}

    async def restore(self, state: dict[str, Any], data: dict[str, Any]) -> None:
        """Restore both dicts as they were on entry to the step of the stored snapshot.

        Args:
            state: The dict to fill with the stored state.
            data: The content of `data` on entry, used where snapshots hold none.

        Raises:
            CheckpointError: The stored state cannot be loaded. Both dicts are unchanged.
        """
        stored = await self.run_store.state()
        reserved = pop_reserved_keys(stored)
        content = reserved if self.header.holds_data else data
        for target, entries in ((state, stored), (self.data, content)):
            target.clear()
            target.update(entries)


class StepProgress:
    """The step, attempt and part that a run is in.

    Args:
        index: Index of the step.
        step: Its name.
        loads: Whether each attempt calls the loader.
        of: The number of steps.
        attempt: Number of the attempt at the step, from 1.

    Attributes:
        part: "load", "step", "save" or "snapshot".
        began: Start of the attempt, by `time.perf_counter`.
    """

    __slots__ = ("attempt", "began", "index", "loads", "of", "part", "step")

    def __init__(self, index: int, step: str, *, loads: bool, of: int, attempt: int) -> None:
        self.index, self.step, self.loads = index, step, loads
        self.of, self.attempt = of, attempt
        self.part = "load"
        self.began = time.perf_counter()

    @property
    def event_fields(self) -> dict[str, Any]:
        """The fields that all events of the step have."""
        return {"step": self.step, "index": self.index, "of": self.of}

    def failure(self, error: BaseException, *, last: bool = True) -> StepFailure:
        """Make the failure of the current attempt."""
        seconds = time.perf_counter() - self.began
        return StepFailure(
            error,
            step=self.step,
            part=self.part,
            seconds=seconds,
            attempt=self.attempt,
            last=last,
        )


class DrainedError(Exception):
    """A run makes no further attempt at its step, because its flow is being drained."""
