"""The core of a flow: its name, handler, settings and steps, and how one request is run."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, Self, cast

from aiocheckpoint._concurrency.backends import AsyncBackend, run_blocking
from aiocheckpoint._concurrency.executors import ExceptionEnvelope
from aiocheckpoint._concurrency.step_threads import StepThreads
from aiocheckpoint._engine.locking import hold_lock
from aiocheckpoint._engine.runner import Run, plan_run
from aiocheckpoint._logging import log_skipped
from aiocheckpoint._model.checks import checked_wait
from aiocheckpoint._model.request import LoadPolicy, Request
from aiocheckpoint._runs.arguments import check_request
from aiocheckpoint._runs.step_registry import StepRegistry
from aiocheckpoint.errors import InvalidValueError
from aiocheckpoint.handlers._identifiers import checked_run_id
from aiocheckpoint.handlers._registry import moves_snapshots, run_store_maker

if TYPE_CHECKING:
    import os

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._engine.context import FlowSettings
    from aiocheckpoint._engine.runner import RunOutcome
    from aiocheckpoint._model.plan import Plan
    from aiocheckpoint.events import Hook
    from aiocheckpoint.handlers import StateHandler
    from aiocheckpoint.handlers._run_store import RunStore

__all__ = ["FlowCore", "FlowMethods"]


class FlowCore:
    """The part of a flow that the functions of this package take.

    `CheckpointFlow` owns one, and hands it to the classes that its public methods come from.

    Args:
        state_path: The path that the user gave.
        handler: The state handler.
        settings: The settings that all runs of the flow share.

    Attributes:
        registry: The steps registered so far.
        step_threads: The threads of the flow's sync functions under `arun`.
    """

    def __init__(
        self,
        state_path: str | os.PathLike[str],
        handler: Any,  # noqa: ANN401 - any object with read and write
        settings: FlowSettings,
    ) -> None:
        self.state_path = state_path
        self.handler: Any = handler
        self.settings: FlowSettings = settings
        self.registry: StepRegistry = StepRegistry()
        self.step_threads: StepThreads = StepThreads(settings.threads)
        self._make_run_store = run_store_maker(handler, state_path)

    def __copy__(self) -> Self:
        """Copy with steps of its own, so that steps added to the copy are not the original's."""
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        copied.registry = self.registry.copy()
        return copied

    def run_store(self, run_id: str | None, backend: Backend) -> RunStore:
        """Make the store of one run.

        Raises:
            InvalidTypeError, InvalidValueError: `run_id` is no id.
        """
        return self._make_run_store(checked_run_id(run_id), backend)

    def snapshot_handler(self) -> StateHandler:
        """Give the handler if it stores snapshots of many runs.

        Raises:
            InvalidValueError: It is a user's own class, which stores one dict.
        """
        if moves_snapshots(self.handler):
            return cast("StateHandler", self.handler)
        kind = type(self.handler).__qualname__
        raise InvalidValueError(
            f"{kind} keeps one state, of one run. Use the handler 'local' or 'sqlite' for flows "
            "of many runs, or read() and write() of this one."
        )

    def request(
        self,
        state: dict[str, Any] | None,
        load_policy: LoadPolicy = "first only",
        checkpoint: int | str | None = None,
        until: int | str | None = None,
        *,
        once: bool = False,
        update: dict[str, Any] | None = None,
        unfinished_only: bool = False,
    ) -> Request:
        """Make the request of a run from the arguments of `CheckpointFlow.run`.

        Raises:
            InvalidTypeError, InvalidValueError: An argument is invalid by itself.
        """
        request = Request(
            state=state,
            load_policy=load_policy,
            checkpoint=checkpoint,
            until=until,
            once=once,
            update=update,
            unfinished_only=unfinished_only,
            keep_data=self.settings.keep_data,
        )
        check_request(request, self.handler)
        return request

    async def async_backend(self) -> AsyncBackend:
        """Make the backend of one call on the running loop, in its turn among the runs."""
        return await AsyncBackend.make(self.step_threads)

    async def reading_backend(self) -> AsyncBackend:
        """Make the backend of one read on the running loop, without waiting for a turn."""
        return await AsyncBackend.make_for_reading(self.step_threads)

    async def run(
        self,
        backend: Backend,
        request: Request,
        run_id: str | None,
        wait: float = 0.0,
        hook: Hook | None = None,
    ) -> RunOutcome:
        """Run one request under the run's lock, and with one hook more if given."""
        run_store = self.run_store(run_id, backend)
        settings = self.settings if hook is None else self.settings.with_hook(hook)
        run = Run(
            settings,
            run_id,
            request,
            steps=self.registry.complete(),
            run_store=run_store,
            backend=backend,
        )
        seconds, active_runs = checked_wait(wait), self.settings.active_runs
        token = active_runs.enter(run_id)
        try:
            run.prepare()
            return await hold_lock(
                run_store, backend, run.execute, wait=seconds, check=active_runs.check
            )
        finally:
            active_runs.leave(token)

    def run_blocking(self, request: Request, run_id: str | None, wait: float) -> RunOutcome:
        """Run one request in the caller's thread."""
        try:
            return run_blocking(lambda backend: self.run(backend, request, run_id, wait))
        except ExceptionEnvelope as envelope:
            error = envelope.error
        raise error

    async def run_async(
        self,
        backend: AsyncBackend,
        request: Request,
        run_id: str | None,
        wait: float = 0.0,
        hook: Hook | None = None,
    ) -> RunOutcome:
        """Run one request on the running loop."""
        try:
            return await self.run(backend, request, run_id, wait, hook)
        except ExceptionEnvelope as envelope:
            error = envelope.error
        if not isinstance(error, StopIteration):
            raise error
        raise RuntimeError("a step raised StopIteration") from error

    async def drain(self, seconds: float | None) -> list[str | None]:
        """Drain the flow. A sync step that hangs keeps neither its task nor the process."""
        return await self.settings.active_runs.drain(seconds, give_up=self.step_threads.abandon)

    async def plan(self, backend: Backend, request: Request, run_id: str | None) -> Plan:
        """Plan one request and run nothing.

        `plan_run` reads through `Backend.run`, because a run calls it under its lock, and no read
        of a run may continue after the run has ended. So a cancellation of `aplan` waits for the
        read as well.
        """
        run_store = self.run_store(run_id, backend)
        plan, _ = await plan_run(self.registry.complete(), request, run_store)
        if run_store.skipped is not None:
            log_skipped(run_store.skipped)
        return plan


class FlowMethods:
    """Base of the classes from which `CheckpointFlow` inherits its public methods.

    The methods work on the core alone.

    Args:
        core: The core of the flow.
    """

    def __init__(self, core: FlowCore) -> None:
        self._core = core

    def __copy__(self) -> Self:
        """Make a flow of the same place, to which steps can be added apart."""
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        copied._core = copy(self._core)
        return copied
