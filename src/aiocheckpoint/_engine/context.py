"""What one run carries along from step to step."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from aiocheckpoint._engine.failures import StepFailure
from aiocheckpoint._snapshot.keys import pop_reserved_keys

if TYPE_CHECKING:
    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._engine.dispatch import EventDispatcher
    from aiocheckpoint._engine.drain import Drain
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.plan import Plan
    from aiocheckpoint._model.steps import Steps
    from aiocheckpoint.events import Hook
    from aiocheckpoint.handlers._run_store import RunStore

__all__ = ["DrainedError", "FlowSettings", "RunContext", "StepProgress"]


class FlowSettings:
    """What all runs of a flow have in common.

    Args:
        flow: Name of the flow.
        hooks: Are told the events.
        keep_data: Whether `data` is stored with the state.
        drain: Tells whether runs are to stop.

    Attributes:
        new_plans: Plans of new runs, each with the steps that it was made for: the runner's cache,
            by whether a state is given and by load policy.
    """

    def __init__(
        self, *, flow: str, hooks: tuple[Hook, ...], keep_data: bool, drain: Drain
    ) -> None:
        self.flow, self.hooks, self.keep_data, self.drain = flow, hooks, keep_data, drain
        self.new_plans: dict[tuple[bool, str], tuple[Steps, Plan]] = {}

    def with_hook(self, hook: Hook) -> FlowSettings:
        """The same with one hook more."""
        hooks = (*self.hooks, hook)
        keep_data, drain = self.keep_data, self.drain
        settings = FlowSettings(flow=self.flow, hooks=hooks, keep_data=keep_data, drain=drain)
        settings.new_plans = self.new_plans
        return settings


class RunContext:
    """One run on its way through the steps of its flow.

    Args:
        settings: What all runs of the flow have in common.
        run_id: The run's id, or None.
        steps: The steps, fixed for the length of the run.
        run_store: Where the snapshots go; its lock is held.
        backend: How functions are called.
        dispatcher: Tells the events.
        header: That of the newest snapshot, as this run sees it.

    Attributes:
        data: What loaders filled and steps use.
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
        """Make both dicts as they were on entry to the step that the stored snapshot stands at.

        Args:
            state: Gets what is stored.
            data: What `data` held then, for where it is not stored.

        Raises:
            CheckpointError: What is stored cannot be loaded any more; both are as they were.
        """
        stored = await self.run_store.state()
        kept = pop_reserved_keys(stored)
        content = kept if self.header.holds_data else data
        for target, entries in ((state, stored), (self.data, content)):
            target.clear()
            target.update(entries)


class StepProgress:
    """Where in a step a run is.

    Args:
        index: Index of the step.
        step: Its name.
        loads: Whether each attempt calls the loader.
        of: The number of steps.
        attempt: Which attempt at the step it is.

    Attributes:
        part: "load", "step", "save" or "snapshot".
        began: When the attempt began, by `time.perf_counter`.
    """

    __slots__ = ("attempt", "began", "index", "loads", "of", "part", "step")

    def __init__(self, index: int, step: str, *, loads: bool, of: int, attempt: int) -> None:
        self.index, self.step, self.loads = index, step, loads
        self.of, self.attempt = of, attempt
        self.part = "load"
        self.began = time.perf_counter()

    @property
    def where(self) -> dict[str, Any]:
        """What the events of the step have in common."""
        return {"step": self.step, "index": self.index, "of": self.of}

    def failure(self, error: BaseException, *, last: bool = True) -> StepFailure:
        """Put what came out of the step together with where it was."""
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
    """A run goes no further, because its flow is being drained."""
