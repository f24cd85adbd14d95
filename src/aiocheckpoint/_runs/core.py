"""The core of a flow: its name, handler, settings and steps, and how one request is run."""

from __future__ import annotations

from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Self, cast

from aiocheckpoint._concurrency.backends import AsyncBackend, run_blocking
from aiocheckpoint._concurrency.executors import ExceptionEnvelope
from aiocheckpoint._concurrency.threads import make_store_threads
from aiocheckpoint._engine.answering import run_answer
from aiocheckpoint._engine.conflicts import check_plain, refuse_given
from aiocheckpoint._engine.given_dicts import claim_dicts, release_dicts
from aiocheckpoint._engine.limiters import check_limiters
from aiocheckpoint._engine.locking import Patience, hold_lock
from aiocheckpoint._engine.planning import plan_run
from aiocheckpoint._engine.runner import Run
from aiocheckpoint._engine.stored_results import find_result, share_end, shares
from aiocheckpoint._logging import RunPlace, log_refused, log_skipped
from aiocheckpoint._model.checks import checked_wait
from aiocheckpoint._model.given_state import call_site
from aiocheckpoint._model.plan import Plan
from aiocheckpoint._model.recovery import LeftAloneError
from aiocheckpoint._model.request import LoadPolicy, Request
from aiocheckpoint._runs.arguments import caller_of, check_request
from aiocheckpoint._runs.step_registry import StepRegistry
from aiocheckpoint._snapshot.codec import Codec
from aiocheckpoint.errors import (
    CheckpointError,
    DrainingError,
    FlowChangedError,
    FlowVersionError,
    IncompatibleSnapshotError,
    InvalidTypeError,
    InvalidValueError,
    NoThreadError,
    RunInProgressError,
    UntrustedSnapshotError,
)
from aiocheckpoint.handlers._identifiers import checked_run_id
from aiocheckpoint.handlers._port import SnapshotPort
from aiocheckpoint.handlers._registry import moves_snapshots, run_store_maker
from aiocheckpoint.handlers._store_threads import threads_of

if TYPE_CHECKING:
    import os
    from collections.abc import Coroutine, Mapping

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._concurrency.daemon_threads import DaemonThreads
    from aiocheckpoint._concurrency.step_threads import StepThreads
    from aiocheckpoint._display.live.displays import ProgressWord
    from aiocheckpoint._engine.context import FlowSettings
    from aiocheckpoint._engine.listeners import Listener
    from aiocheckpoint._engine.outcomes import RunOutcome
    from aiocheckpoint._model.followers import Follower
    from aiocheckpoint._model.recovery import Recovery
    from aiocheckpoint.events import Hook
    from aiocheckpoint.handlers import StateHandler
    from aiocheckpoint.handlers._run_store import RunStore

__all__ = ["REFUSALS", "FlowCore"]

_NOT_FAILURES = (LeftAloneError, DrainingError, RunInProgressError)
"""Exceptions of runs that did not fail."""
REFUSALS = (
    FlowChangedError,
    FlowVersionError,
    IncompatibleSnapshotError,
    UntrustedSnapshotError,
)
"""Exceptions of runs that recovery leaves as they are."""


class FlowCore:
    """The part of a flow that the functions of this package take.

    `CheckpointFlow` owns one, and hands it to the classes that its public methods come from.

    Args:
        state_path: The path that the user gave.
        handler: The state handler.
        settings: The settings that all runs of the flow share.
        progress: The word for the displays of calls that give none.

    Attributes:
        registry: The steps registered so far.
        store_threads: The threads of the handler's blocking functions under `arun`.
    """

    def __init__(
        self,
        state_path: str | os.PathLike[str],
        handler: Any,  # noqa: ANN401 - any object with read and write
        settings: FlowSettings,
        progress: ProgressWord | None = None,
    ) -> None:
        self.state_path = state_path
        self.handler: Any = handler
        self.progress: ProgressWord | None = progress
        self.settings: FlowSettings = settings
        self.registry: StepRegistry = StepRegistry()
        self._connect(call_site().module)

    def _connect(self, maker: str) -> None:
        """Connect the parts with each other, and with the handler.

        Args:
            maker: Name of the module that made the flow.
        """
        handler = self.handler
        codec = handler.codec if isinstance(handler, SnapshotPort) else Codec()
        codec.modules.prefer(maker)
        self.settings.modules = codec.modules
        self.registry.note_modules(codec.modules)
        self._make_run_store = run_store_maker(handler, self.state_path, codec)
        self.store_threads: DaemonThreads = (
            threads_of(handler) if moves_snapshots(handler) else make_store_threads()
        )

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the definition and the place."""
        return {
            "state_path": self.state_path,
            "handler": self.handler,
            "progress": self.progress,
            "settings": self.settings,
            "registry": self.registry,
            "maker": self.settings.modules.maker,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        maker = state.pop("maker")
        self.__dict__.update(state)
        self._connect(maker)

    @property
    def step_threads(self) -> StepThreads:
        """The threads of the flow's sync functions under `arun`."""
        return self.settings.active_runs.step_threads

    def __copy__(self) -> Self:
        """Copy with steps of its own, so that steps added to the copy are not the original's."""
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        copied.registry = self.registry.copy()
        return copied

    def apart(self) -> Self:
        """Copy with steps and settings of its own, and with the same handler."""
        copied = copy(self)
        copied.settings = self.settings.apart()
        copied.settings.modules = self.settings.modules
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
        state: Mapping[str, object] | None,
        load_policy: LoadPolicy | None = None,
        checkpoint: int | str | None = None,
        until: int | str | None = None,
        *,
        once: bool = False,
        update: dict[str, Any] | None = None,
        answers: int | None = None,
        data: dict[str, Any] | None = None,
        run_id: str | None = None,
        recovery: Recovery | None = None,
        resumes: bool = False,
    ) -> Request:
        """Make the request of a run from the arguments of `CheckpointFlow.run`.

        Raises:
            InvalidTypeError, InvalidValueError: An argument is invalid by itself.
        """
        request = Request(
            state=cast("dict[str, Any] | None", state),  # `check_request` looks at run time.
            load_policy=self.settings.load_policy if load_policy is None else load_policy,
            checkpoint=checkpoint,
            until=until,
            once=once,
            update=update,
            answers=answers,
            data=data,
            recovery=recovery,
            resumes=resumes,
            keep_data=self.settings.keep_data,
            version=self.settings.version,
            migrates=self.settings.migrate is not None,
            caller=caller_of(state, run_id),
        )
        check_request(request, self.handler)
        return request

    async def async_backend(self) -> AsyncBackend:
        """Make the backend of one call on the running loop, in its turn among the runs."""
        return await AsyncBackend.make(self.step_threads, self.store_threads)

    async def reading_backend(self) -> AsyncBackend:
        """Make the backend of one read on the running loop, without waiting for a turn."""
        return await AsyncBackend.make_for_reading(self.step_threads, self.store_threads)

    async def run(
        self,
        backend: Backend,
        request: Request,
        run_id: str | None,
        wait: float = 0.0,
        hook: Hook | None = None,
        *,
        listener: Listener | Follower | None = None,
    ) -> RunOutcome:
        """Run one request under the run's lock, and with one hook or listener more if given.

        The result of a finished run under `once` or `resume` is read without the lock, also while
        the flow is drained.
        """
        run_id = checked_run_id(run_id)
        settings = self.settings if hook is None else self.settings.with_hook(hook)
        make = partial(self._make_run, settings, run_id, request, backend, listener)
        run = make()
        await check_plain(request, settings, backend)
        seconds = checked_wait(wait)
        try:
            if request.is_answer:
                return await run_answer(
                    make,
                    read=partial(backend.read, self.handler.header, run_id),
                    execute=partial(self._run_locked, seconds=0.0),
                    check=self.settings.active_runs.check,
                    wait=seconds,
                )
            found = await find_result(run.context)
            return await self._run_locked(run, seconds) if found is None else found
        except _NOT_FAILURES:
            raise
        except Exception as error:
            if request.unattended and not run.end_emitted:
                once = request.recovery is not None and isinstance(error, REFUSALS)
                log_refused(settings.flow, run_id, error, once=once)
            raise

    async def _run_locked(self, run: Run, seconds: float) -> RunOutcome:
        """Run a run under its lock, or share the result of the call that has it."""
        context, active_run = run.context, run.context.active_run
        request, run_store, patience = context.request, context.run_store, None
        check_limiters(context)
        if seconds > 0:
            share = partial(share_end, context) if shares(request) else None
            patience = Patience(seconds, active_run.active_runs.check, share)
        active_run.active_runs.enter(active_run)
        try:
            claim_dicts(request, run_store)
            run.prepare()
            return await hold_lock(
                run_store, context.backend, run.execute, patience=patience, end=run.take_end
            )
        finally:
            release_dicts(request, run_store)
            active_run.active_runs.leave(active_run)

    def _make_run(
        self,
        settings: FlowSettings,
        run_id: str | None,
        request: Request,
        backend: Backend,
        listener: Listener | Follower | None,
    ) -> Run:
        return Run(
            settings,
            run_id,
            request,
            steps=self.registry.complete(),
            run_store=self._make_run_store(run_id, backend),
            backend=backend,
            listener=listener,
        )

    def run_blocking(
        self,
        request: Request,
        run_id: str | None,
        wait: float,
        *,
        listener: Listener | Follower | None = None,
    ) -> RunOutcome:
        """Run one request in the caller's thread."""

        def run(backend: Backend) -> Coroutine[Any, Any, RunOutcome]:
            return self.run(backend, request, run_id, wait, listener=listener)

        try:
            return run_blocking(run)
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
        *,
        listener: Listener | Follower | None = None,
    ) -> RunOutcome:
        """Run one request on the running loop."""
        try:
            return await self.run(backend, request, run_id, wait, hook, listener=listener)
        except ExceptionEnvelope as envelope:
            error = envelope.error
        if not isinstance(error, StopIteration):
            raise error
        raise RuntimeError("a step raised StopIteration") from error

    async def plan(self, backend: Backend, request: Request, run_id: str | None) -> Plan:
        """Plan one request and run nothing. A refusal is described, bad arguments raise.

        `plan_run` reads through `Backend.run`, because a run calls it under its lock, and no read
        of a run may continue after the run has ended. So a cancellation of `aplan` waits for the
        read as well.
        """
        run_id = checked_run_id(run_id)
        run_store = self._make_run_store(run_id, backend)
        await check_plain(request, self.settings, backend)
        try:
            plan, _ = await plan_run(self.registry.complete(), request, run_store)
            refuse_given(plan, self.settings, run_id, run_store.location)
        except (InvalidTypeError, InvalidValueError, NoThreadError):
            raise
        except CheckpointError as error:
            return Plan.of_refusal(self.registry.steps, error)
        if run_store.skipped is not None:
            log_skipped(run_store.skipped, RunPlace(self.settings.flow, run_id))
        return plan
