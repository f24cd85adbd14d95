"""The front door: register steps, run them, go on where they broke."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from aiocheckpoint._concurrency.backends import (
    AsyncBackend,
    Backend,
    run_blocking,
)
from aiocheckpoint._concurrency.executors import ExceptionEnvelope
from aiocheckpoint._engine.context import FlowSettings
from aiocheckpoint._engine.drain import Drain
from aiocheckpoint._engine.locking import hold_lock
from aiocheckpoint._engine.runner import Run, RunOutcome, plan_run
from aiocheckpoint._logging import log_skipped
from aiocheckpoint._model.checks import checked_flag, checked_timeout, checked_wait
from aiocheckpoint._model.steps import Load, Save, Step, StepFunction, Steps, make_step
from aiocheckpoint._runs.arguments import checked_hooks, checked_name
from aiocheckpoint._runs.service import ServedRuns
from aiocheckpoint.errors import FlowDefinitionError
from aiocheckpoint.handlers._identifiers import check_run_id
from aiocheckpoint.handlers._registry import HandlerOptions, make_handler, run_store_maker

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

    from aiocheckpoint._model.plan import Plan
    from aiocheckpoint._model.request import LoadPolicy, Request
    from aiocheckpoint._model.retry import Retry
    from aiocheckpoint.events import Hook

__all__ = ["CheckpointFlow"]

_Function = TypeVar("_Function", bound=StepFunction)


class CheckpointFlow(ServedRuns):
    """An ordered list of steps, and the place where their checkpoints live.

    After each step the state, a dict of small variables, is stored. When a step breaks, the next
    `run` or `arun` goes on at that step, with the state as it was before it; when all steps are
    through, the next one starts from the beginning.

    A step that ended between its saver and its snapshot when the process was killed runs again:
    steps run at least once, and exactly once as long as nothing breaks.

    Args:
        state_path: Where the checkpoint lives; for the handler "local" a file such as
            "checkpoint.pkl", in a directory that is made if missing, or for many runs a directory
            such as "runs/"; for "sqlite" a file such as "runs.db", or "sqlite:///runs.db", whose
            scheme names the handler.
        handler: "local" or "sqlite"; a class that is called with `state_path`; or an object. A
            class or object of your own has `read()` and `write(state)`, each sync or async, of a
            plain dict: the state, with the index of the next step under "checkpoint_index".
            `read` gives an empty dict where nothing is stored. It is given copies to keep.
        name: Name of the flow, for logs, snapshots and their signatures; by default the file name
            of `state_path` without its ending. Give each flow a name of its own where several
            share a directory or database.
        hooks: Callables, sync or async, that are told every `aiocheckpoint.events` event.
        keep_data: Whether snapshots hold `data` as well, so that a run resumes without loaders:
            under "first only" none is called where `data` was stored. It must then be
            serialisable too, and each snapshot takes as long as its size asks for; the one of a
            finished run does not hold it.
        options: For handlers made here, those of `HandlerOptions`: `fsync=` whether each snapshot
            waits for the disk (default True); `keep=` how many there are of each run (default
            1); `secret=` signs them; `allow=` lists what they may name; `verify=` loads each
            back before it counts; `lease=`, for "sqlite", after how many seconds a suspended
            owner of runs is gone (default 30).

    Attributes:
        handler: The state handler; for a path, a `LocalStateHandler`.
        name: The name.

    Raises:
        UnknownHandlerError: No handler has the name given, or the scheme of `state_path`.
        MissingExtraError: The handler needs something that is not installed.
        InvalidTypeError: `handler`, `state_path`, `name`, a hook or an option is of the wrong
            type.
        InvalidValueError: An option cannot be meant, or does not belong to the handler; or
            `handler` is an object that signs for a flow of another name.
    """

    def __init__(
        self,
        state_path: str | os.PathLike[str],
        handler: Any = "local",  # noqa: ANN401 - any class or object with read and write
        *,
        name: str | None = None,
        hooks: Iterable[Hook] = (),
        keep_data: bool = False,
        **options: Unpack[HandlerOptions],
    ) -> None:
        self.name: str = checked_name(state_path, name)
        self.handler: Any = make_handler(state_path, handler, self.name, options)
        self._run_store = run_store_maker(self.handler, state_path)
        self._settings = FlowSettings(
            flow=self.name,
            hooks=checked_hooks(hooks),
            keep_data=checked_flag("keep_data", keep_data),
            drain=Drain(self.name),
        )
        self._steps: Steps = Steps(())
        self._indexes: dict[str, int] = {}
        self._unapplied: list[object] = []

    def add_step(
        self,
        load: Load | None = None,
        save: Save | None = None,
        *,
        name: str | None = None,
        thread: bool = True,
        replace: bool = False,
        retry: int | Retry | None = None,
        timeout: float | None = None,
    ) -> Callable[[_Function], _Function]:
        """Make a decorator that registers a function as the next step and returns it unchanged.

        The step is called with `(state, data)`, or with `(state)` if it takes no more or if its
        second parameter has a default and another name than `data`. It changes both dicts in
        place; what it returns is not kept.

        Args:
            load: `load(state)` returns a dict that is merged into `data` before the step.
            save: `save(state, data)`, or `save(state)`, is called after the step and before the
                snapshot.
            name: The step's name, by default the function's.
            thread: Whether `arun` calls sync functions of this step in a worker thread, where
                they never stall the event loop. False keeps them on the loop, for functions
                that are quick or need it. `run` calls them in the caller's thread either way.
            replace: Whether a step of the same name gives its place to this one, as when a
                notebook's cell is executed again.
            retry: How often the step is tried in all when it, its loader or its saver raises an
                `Exception`, or a `Retry` that tells what is tried again, how often and how soon.
                Each attempt begins with both dicts as they were on entry to the step; what was
                changed inside the values of `data` stays so, unless the loader or
                `keep_data=True` brings them anew. Needs the extra "retry".
            timeout: The most seconds that the step, its loader and its saver may each take in one
                attempt; a `StepTimeoutError` otherwise. All of them must be coroutine functions:
                nothing can stop a sync one in its thread.

        Returns:
            The decorator.

        Raises:
            InvalidTypeError, InvalidValueError: `retry` or `timeout` cannot be meant.
            MissingExtraError: `retry` is given, and the package `stamina` is not installed.
            FlowDefinitionError: By the decorator: a function is no function, is a generator
                function or takes other arguments, or cannot keep a `timeout`; or the name is
                taken already.
        """
        policy = None if retry is None else _policy(retry)
        seconds = None if timeout is None else checked_timeout(timeout)
        if load is not None:
            self._unapplied.append(load)

        def register(function: _Function) -> _Function:
            step = make_step(
                *(function, load, save), name=name, thread=thread, retry=policy, timeout=seconds
            )
            if load in self._unapplied:
                self._unapplied.remove(load)
            self._put(step, replace=replace)
            return function

        return register

    def run(
        self,
        state: dict[str, Any] | None = None,
        load_policy: LoadPolicy = "first only",
        checkpoint: int | str | None = None,
        *,
        run_id: str | None = None,
        until: int | str | None = None,
        wait: float = 0.0,
        once: bool = False,
        update: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Run the steps from the checkpoint on, in scripts and notebooks.

        Sync functions are called in the caller's own thread. Coroutines run on one event loop
        that lives as long as the run; where the thread is inside a running loop already, as in a
        notebook, it lives in a thread of its own. There is no running loop while a sync function
        makes an awaitable, so one that needs it, such as a future, belongs in an `async def`.

        Args:
            state: The initial state, changed in place. Ignored, with a warning in the log, where
                an unfinished run has one; by default the stored one, or an empty dict.
            load_policy: Which loaders are called: "first only" that of the first executed step;
                "always" all; or a list of one bool for each step of the flow.
            checkpoint: Index or name of the step to start at, instead of where the checkpoint is;
                with the state as it was on entry to it, where `keep=` has kept that.
            run_id: Which run, for flows of many; each has its own checkpoint.
            until: Index or name of the step to stop after; the next run goes on from there.
            wait: Seconds to wait for another run of this checkpoint to end.
            once: Whether a run that finished is not run again: its stored final state is
                returned, so that a request that is tried again does the work once. One that did
                not finish goes on with its stored state, though it be in its first step. A state
                that was only stored by hand is none of a finished run.
            update: Goes on with a run that a step paused: is put into its stored state, as by
                `dict.update`, durably before the step runs again.

        Returns:
            The final state; where the run started from the given dict, that very dict. The same
            where a step paused the run: `header` then tells so, and the state is that on entry to
            the step.

        Raises:
            RunInProgressError: Another run of this checkpoint is under way.
            FlowDefinitionError: The flow has no steps.
            FlowChangedError: The steps before the checkpoint are not those that wrote it; under
                `once=True`, the steps are not those of the run that finished.
            LeaseLostError: This process was suspended, or cut off, for so long that another one
                may have gone on with the run.
            InvalidTypeError: An argument, or what a loader returned, is of the wrong type.
            InvalidValueError: `load_policy`, `checkpoint`, `until`, `run_id` or `wait` cannot be
                meant; or `once=True` with `checkpoint=`, or a handler that keeps dicts alone; or
                `update=` for a run that is not paused, or with `state` or `checkpoint=`.
            DrainingError: The flow is being drained: the run was stopped behind a step, or did
                not begin.
            StepTimeoutError: A part of a step took longer than its `timeout=`.
            UnserializableStateError: The state holds what cannot be stored.
            StorageError: The checkpoint cannot be read or written.
            CorruptSnapshotError: The checkpoint is damaged, and so is all that `keep=` kept.
            UntrustedSnapshotError: The checkpoint is not signed as `secret=` demands, or names
                what `allow=` does not list.
            IncompatibleSnapshotError: This program cannot load the checkpoint.
            BaseException: Whatever a step, loader or saver raised, the same object, with a note
                that tells where it was and how to go on.
        """
        request = self._request(state, load_policy, checkpoint, until, once=once, update=update)
        try:
            return run_blocking(lambda backend: self._run(backend, request, run_id, wait)).state
        except ExceptionEnvelope as carrier:
            error = carrier.error
        raise error

    async def arun(
        self,
        state: dict[str, Any] | None = None,
        load_policy: LoadPolicy = "first only",
        checkpoint: int | str | None = None,
        *,
        run_id: str | None = None,
        until: int | str | None = None,
        wait: float = 0.0,
        once: bool = False,
        update: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Run the steps from the checkpoint on, in services.

        Does as `run`, with the same arguments, result and errors, on the running event loop.
        Coroutines are awaited on it. Sync functions are called in a worker thread, with the
        caller's context variables, and files are written in another, so that the loop is never
        stalled.

        When the task is cancelled, a sync function under way and a snapshot under way end first;
        then the one cancellation goes on, and the next run resumes. A `StopIteration` comes out
        as the cause of a `RuntimeError`, since no coroutine can raise one (PEP 479).
        """
        # First, since thousands of runs may wait here: the garbage collector visits no request.
        backend = await AsyncBackend.make()
        request = self._request(state, load_policy, checkpoint, until, once=once, update=update)
        return (await self._resume_through(backend, request, run_id, wait)).state

    async def _resume(
        self, request: Request, run_id: str | None, wait: float = 0.0, hook: Hook | None = None
    ) -> RunOutcome:
        return await self._resume_through(await AsyncBackend.make(), request, run_id, wait, hook)

    async def _resume_through(
        self,
        backend: AsyncBackend,
        request: Request,
        run_id: str | None,
        wait: float,
        hook: Hook | None = None,
    ) -> RunOutcome:
        try:
            return await self._run(backend, request, run_id, wait, hook)
        except ExceptionEnvelope as carrier:
            error = carrier.error
        if not isinstance(error, StopIteration):
            raise error
        raise RuntimeError("a step raised StopIteration") from error

    def plan(
        self,
        state: dict[str, Any] | None = None,
        load_policy: LoadPolicy = "first only",
        checkpoint: int | str | None = None,
        *,
        run_id: str | None = None,
        until: int | str | None = None,
    ) -> Plan:
        """Tell what `run` with these arguments would do, and do nothing of it.

        Returns:
            The plan; print it to read it in words.

        Raises:
            FlowDefinitionError, FlowChangedError, InvalidTypeError, InvalidValueError,
            StorageError, CorruptSnapshotError, UntrustedSnapshotError,
            IncompatibleSnapshotError: As in `run`.
        """
        request = self._request(state, load_policy, checkpoint, until)
        return run_blocking(lambda backend: self._plan(backend, request, run_id))

    async def aplan(
        self,
        state: dict[str, Any] | None = None,
        load_policy: LoadPolicy = "first only",
        checkpoint: int | str | None = None,
        *,
        run_id: str | None = None,
        until: int | str | None = None,
    ) -> Plan:
        """Do as `plan`, without blocking the event loop."""
        request = self._request(state, load_policy, checkpoint, until)
        return await self._plan(await AsyncBackend.make(), request, run_id)

    async def _run(
        self,
        backend: Backend,
        request: Request,
        run_id: str | None,
        wait: float,
        hook: Hook | None = None,
    ) -> RunOutcome:
        run_store = self._run_store(check_run_id(run_id), backend)
        settings = self._settings if hook is None else self._settings.with_hook(hook)
        run = Run(
            settings,
            run_id,
            request,
            steps=self._ready_steps(),
            run_store=run_store,
            backend=backend,
        )
        seconds, drain = checked_wait(wait), self._settings.drain
        first_write = drain.enter(run_id)
        try:
            run.offer()
            return await hold_lock(
                run_store, backend, run.carry_out, wait=seconds, check=drain.check
            )
        finally:
            drain.leave(first_write)

    async def _plan(self, backend: Backend, request: Request, run_id: str | None) -> Plan:
        run_store = self._run_store(check_run_id(run_id), backend)
        plan, _ = await plan_run(self._ready_steps(), request, run_store)
        if run_store.skipped is not None:
            log_skipped(run_store.skipped)
        return plan

    def _put(self, step: Step, *, replace: bool) -> None:
        index = self._indexes.setdefault(step.name, len(self._steps))
        if index == len(self._steps):
            self._steps = Steps((*self._steps, step))
        elif replace:
            self._steps = Steps((*self._steps[:index], step, *self._steps[index + 1 :]))
        else:
            raise FlowDefinitionError(
                f"there is a step {step.name!r} already. Give this one another name with "
                f"@cp.add_step(name=...), or put it in the other's place with "
                "@cp.add_step(replace=True).",
                step=step.name,
            )

    def _ready_steps(self) -> Steps:
        if self._unapplied:
            name = getattr(self._unapplied[0], "__name__", type(self._unapplied[0]).__name__)
            raise FlowDefinitionError(
                f"add_step was given {name!r} as a loader, and then no function to be the step. "
                f"If {name!r} is a step, write @cp.add_step() with its parentheses.",
                step=name,
            )
        return self._steps


def _policy(retry: Retry | int) -> Retry:
    # Most flows try nothing again; those that do have this at hand before they run.
    from aiocheckpoint._model.retry import checked_retry  # noqa: PLC0415

    return checked_retry(retry)
