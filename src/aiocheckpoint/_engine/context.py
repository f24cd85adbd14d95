"""The objects that one run hands from step to step: settings, context, progress."""

from __future__ import annotations

import time
from copy import copy
from dataclasses import dataclass, field, fields, replace
from threading import RLock
from typing import TYPE_CHECKING, Any, Literal, Protocol

from aiocheckpoint._concurrency.executor_pools import ExecutorPools
from aiocheckpoint._concurrency.loop_signal import LoopSignal
from aiocheckpoint._engine.cursors import CursorKeeper
from aiocheckpoint._engine.failures import StepFailure
from aiocheckpoint._engine.listeners import Listeners
from aiocheckpoint._engine.progress_reports import ProgressReports
from aiocheckpoint._engine.recovered_runs import RecoveredRuns
from aiocheckpoint._engine.step_transactions import take_connection
from aiocheckpoint._model.current_step import StepInProgress
from aiocheckpoint._snapshot.keys import pop_reserved_keys
from aiocheckpoint._snapshot.pickling.names import NO_MODULES

if TYPE_CHECKING:
    from asyncio import CancelledError

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._concurrency.callables import UserFunction
    from aiocheckpoint._engine.active_run import ActiveRun
    from aiocheckpoint._engine.active_runs import ActiveRuns
    from aiocheckpoint._engine.dispatch import EventDispatcher
    from aiocheckpoint._engine.ended_steps import EndedStep
    from aiocheckpoint._engine.lifespans import Lifespans
    from aiocheckpoint._engine.migration import Migration
    from aiocheckpoint._engine.step_transactions import AttemptTransaction
    from aiocheckpoint._model.current_step import Progress, StepConnection
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.plan import Plan
    from aiocheckpoint._model.request import LoadWord, Request
    from aiocheckpoint._model.steps import Steps
    from aiocheckpoint._snapshot.pickling.names import StepModules
    from aiocheckpoint.events import Around, Hook
    from aiocheckpoint.handlers._run_store import RunStore

__all__ = ["DrainedError", "FlowNames", "FlowSettings", "RunContext", "StepProgress"]


_OF_OBJECT = frozenset({"new_plans", "modules", "recovered", "work_wanted", "listeners"})
"""The settings that belong to one flow object in one process."""


class FlowNames(Protocol):
    """Finds the names under which the program has a flow."""

    def variable(self, module: str, settings: FlowSettings, steps: Steps) -> str | None:
        """Find the variable of a module that is the flow. None where there is none."""

    def target(self, settings: FlowSettings, steps: Steps) -> str | None:
        """Find the target by which other processes find the flow. None where none is certain."""


@dataclass(kw_only=True)
class FlowSettings:
    """The settings that all runs of a flow share.

    Args:
        flow: Name of the flow.
        hooks: Callables that are called with the events.
        keep_data: Whether `data` is stored with the state.
        load_policy: The policy of runs that say none.
        lifespans: Has the active runs of the flow, and whether they are to stop.
        names: Finds the names of the flow, for notes.
        around: Functions that give context managers for the parts of a run.
        conflict: "warn" or "raise": what becomes of a given state that the stored run overrules.
        version: The version of the flow, 0 where it has none.
        migrate: The function that takes runs of older versions on, or None.
        starts: How often recovery starts a run at one step before it terminates it, or None.
        backoff: Seconds after which a run that failed once at its step is due again.

    Attributes:
        new_plans: The runner's cache of plans of new runs, each with the steps of its flow. The
            key is whether a state is given, and the load policy.
        modules: The modules in which the steps are defined.
        recovered: The runs in progress that recovery has taken.
        work_wanted: Is notified when a run was queued, or made due, in this process.
        listeners: The listeners of the events of all runs in this process.
        pools: The executors of its steps.
    """

    flow: str
    hooks: tuple[Hook, ...]
    keep_data: bool
    load_policy: LoadWord
    lifespans: Lifespans
    names: FlowNames
    around: tuple[Around, ...] = ()
    conflict: Literal["warn", "raise"] = "warn"
    version: int = 0
    migrate: UserFunction | None = None
    starts: int | None = 10
    backoff: float = 10.0
    new_plans: dict[tuple[bool, str], tuple[Steps, Plan]] = field(default_factory=dict)
    modules: StepModules = NO_MODULES
    recovered: RecoveredRuns = field(default_factory=RecoveredRuns)
    work_wanted: LoopSignal = field(default_factory=LoopSignal)
    listeners: Listeners = field(default_factory=Listeners)
    pools: ExecutorPools = field(default_factory=ExecutorPools)

    @property
    def active_runs(self) -> ActiveRuns:
        """The active runs of the flow in its present lifespan."""
        return self.lifespans.active_runs

    def __getstate__(self) -> dict[str, Any]:
        """Pickle what the user has set. The rest is of this flow object and process alone."""
        return {name: value for name, value in vars(self).items() if name not in _OF_OBJECT}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for one in fields(self):
            if one.name in _OF_OBJECT and callable(one.default_factory):
                setattr(self, one.name, one.default_factory())

    def apart(self) -> FlowSettings:
        """The same settings for another flow object, which shares no run with this one."""
        apart = object.__new__(type(self))
        apart.__setstate__({**self.__getstate__(), "lifespans": copy(self.lifespans)})
        return apart

    def with_hook(self, hook: Hook) -> FlowSettings:
        """The same settings with one hook more."""
        return replace(self, hooks=(*self.hooks, hook))


class RunContext:
    """The parts and the current header of one run.

    Args:
        settings: The settings that all runs of the flow share.
        active_run: The run among the active ones.
        run_id: The run's id, or None.
        steps: The steps, which do not change during the run.
        run_store: The store of the run's snapshots. Its lock is held.
        backend: Does the blocking work.
        dispatcher: Emits the events.
        request: The caller's request.
        header: The header of the newest snapshot, as this run knows it.
        data: The dict that loaders fill and steps use.

    Attributes:
        migration: Changes the stored state, where an older version of the flow has stored it.
        cursors: Keeps the cursors of its steps.
        transaction: The transaction of the attempt in progress, once the step has asked for its
            connection. Else None.
    """

    __slots__ = (
        "active_run",
        "backend",
        "cursors",
        "data",
        "dispatcher",
        "header",
        "migration",
        "request",
        "run_id",
        "run_store",
        "settings",
        "steps",
        "transaction",
    )

    def __init__(
        self,
        *,
        settings: FlowSettings,
        active_run: ActiveRun,
        run_id: str | None,
        steps: Steps,
        run_store: RunStore,
        backend: Backend,
        dispatcher: EventDispatcher,
        request: Request,
        header: Header,
        data: dict[str, Any],
    ) -> None:
        self.settings, self.run_id, self.steps = settings, run_id, steps
        self.active_run: ActiveRun = active_run
        self.run_store, self.backend, self.dispatcher = run_store, backend, dispatcher
        self.request, self.header, self.data = request, header, data
        self.migration: Migration | None = None
        self.cursors: CursorKeeper = CursorKeeper(run_store)
        active_run.cursors = self.cursors
        self.transaction: AttemptTransaction | None = None

    def holds_older(self, stored: Header | None) -> bool:
        """Whether the stored snapshot is still the one of the older version, before `migrate`."""
        if self.migration is None or stored is None:
            return False
        return stored.version < self.settings.version

    async def restore(self, state: dict[str, Any], data: dict[str, Any] | None = None) -> None:
        """Restore both dicts as they were on entry to the step of the stored snapshot.

        Args:
            state: The dict to fill with the stored state.
            data: The content of `data` on entry, used where snapshots hold none. By default
                `data` stays as it is there.

        Raises:
            CheckpointError: The stored state cannot be loaded. Both dicts are unchanged.
        """
        self.put_back(await self.entry_state(), state, data)

    async def entry_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Load the state and `data` as they were on entry to the step of the stored snapshot.

        Raises:
            CheckpointError: The stored state cannot be loaded.
        """
        stored = await self.run_store.state()
        reserved = pop_reserved_keys(stored)
        if self.migration is not None and self.holds_older(self.run_store.header):
            await self.migration.change(stored, len(self.steps))
        return stored, reserved

    def put_back(
        self,
        entry: tuple[dict[str, Any], dict[str, Any]],
        state: dict[str, Any],
        data: dict[str, Any] | None = None,
    ) -> None:
        """Fill both dicts as `restore` does, with what `entry_state` has loaded."""
        stored, reserved = entry
        content = reserved if self.header.holds_data else data
        for target, entries in ((state, stored), (self.data, content)):
            if entries is not None:
                target.clear()
                target.update(entries)


_MAKING = RLock()
"""Held while a step's first report makes what takes them. A signal handler may come in between."""


class StepProgress:
    """The step, attempt and part that a run is in.

    Args:
        index: Index of the step.
        step: Its name.
        of: The number of steps.
        attempt: Number of the attempt at the step, from 1.
        context: The run, for a step that is called. None for another one.

    Attributes:
        loads: Whether each attempt calls the loader.
        part: "limiter", "load", "step", "save" or "snapshot".
        began: Start of the attempt, by `time.perf_counter`.
        seconds: How long each part took that has returned.
        result_ignored: Whether the step returned a value that is not kept.
        ended: The step, where its saver is called alone in the next attempt.
        cancellation: A cancellation that came before the step was done, and is raised behind it.
        current: The step for `current_step()`.
        reports: Takes what the step says of its progress. None where it has said nothing.
        data: The content of `data` on entry to the step, where its store has transactions.
        lost_at: When the first transaction of the step was lost, by `time.monotonic`. Or None.
        losses: The number of its transactions that were lost.
    """

    __slots__ = (
        "_context",
        "attempt",
        "began",
        "cancellation",
        "current",
        "data",
        "ended",
        "index",
        "loads",
        "losses",
        "lost_at",
        "of",
        "part",
        "reports",
        "result_ignored",
        "seconds",
        "step",
    )

    def __init__(
        self,
        index: int,
        step: str,
        of: int,
        attempt: int,
        context: RunContext | None = None,
    ) -> None:
        self.index, self.step, self.of, self.attempt = index, step, of, attempt
        self.loads = False
        self.part = "load"
        self.began = time.perf_counter()
        self.seconds: dict[str, float] = {}
        self.result_ignored = False
        self.ended: EndedStep | None = None
        self.cancellation: CancelledError | None = None
        self.current = StepInProgress()
        self.reports: ProgressReports | None = None
        self.lost_at: float | None = None
        self.losses: int = 0
        self._context = context
        if context is not None:
            self.current.reporting = self
            if context.run_store.transactions is not None:
                self.data: dict[str, Any] = dict(context.data)

    def make_reports(self) -> ProgressReports:
        """Make what takes the progress of the step, once, in any thread. Few steps say any."""
        if self._context is None:
            raise AssertionError(self.step)
        with _MAKING:
            if self.reports is None:
                self.reports = ProgressReports(self._context.dispatcher, self)
            return self.reports

    def connection(self) -> StepConnection:
        """Give the connection of the attempt to the part that is called. Few steps ask for it."""
        if self._context is None:
            raise AssertionError(self.step)
        connection: StepConnection = take_connection(self._context, self)
        return connection

    def close(self) -> None:
        """Note the end of the step, for tasks and threads as well that it has started."""
        self.current.end()
        if self.reports is not None:
            self.reports.close()

    @property
    def latest(self) -> Progress | None:
        """What the attempt has said last of its progress, or None."""
        return None if self.reports is None else self.reports.latest

    @property
    def event_fields(self) -> dict[str, Any]:
        """The fields that all events of the step have."""
        return {"step": self.step, "index": self.index, "of": self.of}

    def keep_cancellation_of_caller(self, run: ActiveRun) -> None:
        """Let the cancellation of a termination be no cancellation: the step is done."""
        if not run.take_back_interruption():
            self.cancellation = None

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
