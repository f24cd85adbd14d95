"""The front door: register steps, run them, resume at the step that broke."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, Unpack

from aiocheckpoint._concurrency.backends import run_blocking
from aiocheckpoint._engine.active_runs import ActiveRuns
from aiocheckpoint._engine.context import FlowSettings
from aiocheckpoint._model.checks import checked_flag, checked_timeout
from aiocheckpoint._model.retry import checked_retry
from aiocheckpoint._model.steps import Load, Save, StepFunction, make_step
from aiocheckpoint._runs.arguments import checked_hooks, checked_threads
from aiocheckpoint._runs.core import FlowCore
from aiocheckpoint._runs.descriptions import describe_flow
from aiocheckpoint._runs.service import RunService
from aiocheckpoint._runs.stored_api import StoredRuns
from aiocheckpoint.handlers._identifiers import checked_name
from aiocheckpoint.handlers._registry import CONSTRUCTORS, HandlerOptions, make_handler

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

    from aiocheckpoint._model.plan import Plan
    from aiocheckpoint._model.request import LoadPolicy
    from aiocheckpoint._model.retry import Retry
    from aiocheckpoint.events import Hook

__all__ = ["CheckpointFlow"]

_Function = TypeVar("_Function", bound=StepFunction)


class CheckpointFlow(StoredRuns, RunService):
    """An ordered list of steps, and the place where their checkpoints are stored.

    After each step the state, a dict of small variables, is stored. When a step breaks, the next
    `run` or `arun` resumes at that step, with the state as it was before it. When all steps are
    through, the next one starts from the beginning.

    A process may be killed after a step and its saver, and before their snapshot is stored. That
    step runs again. Steps run at least once, and exactly once as long as nothing breaks.

    Args:
        state_path: The path of the checkpoint. For the handler "local" a file such as
            "checkpoint.pkl", or for many runs a directory such as "runs/". Missing directories
            are made. For "sqlite" a file such as "runs.db", or "sqlite:///runs.db", whose
            scheme names the handler.
        handler: "local" or "sqlite", or a class that is called with `state_path`, or an object. A
            class or object of your own has `read()` and `write(state)`, each sync or async, of a
            plain dict: the state, with the index of the next step under "checkpoint_index".
            `read` gives an empty dict where nothing is stored. `write` is given a copy.
        name: Name of the flow, for logs, snapshots and their signatures. By default the file name
            of `state_path` without its ending. Give each flow a name of its own where several
            share a directory or database.
        hooks: Callables, sync or async, that are called with every `aiocheckpoint.events` event.
        keep_data: Whether snapshots hold `data` as well, so that a run resumes without loaders:
            "first only" calls none where `data` was stored. `data` must then be serialisable
            too, and makes each snapshot larger and slower. The snapshot of a finished run does
            not hold it.
        threads: How many sync steps, loaders and savers of this flow run at once under `arun`, on
            each event loop. Their threads are daemon threads, so that a hung step does not keep
            the process after a drain.
        options: For handlers made here, the options of `HandlerOptions`. `fsync=` makes each
            snapshot wait for the disk (default True). `keep=` is the number of snapshots of each
            run (default 1). `secret=` signs them. `allow=` lists the globals that they may name.
            `verify=` loads each one back before it counts. `lease=`, for "sqlite", is the number
            of seconds after which a suspended owner loses its runs (default 30).

    Attributes:
        handler: The state handler. For a path, a `LocalStateHandler`.
        name: The name.
        state_handler_constructors: Handlers registered by the program, by name or scheme, each a
            class that is called with `state_path`. Looked up before all others.

    Raises:
        UnknownHandlerError: No handler has the name given, or the scheme of `state_path`.
        MissingExtraError: The handler needs a package that is not installed.
        InvalidTypeError: `handler`, `state_path`, `name`, a hook or an option is of the wrong
            type.
        InvalidValueError: An option is invalid, or does not belong to the handler, or
            `handler` is an object that signs for a flow of another name.
        StorageError: `state_path` is relative, and the working directory was deleted.
    """

    state_handler_constructors: ClassVar[dict[str, Callable[..., Any]]] = CONSTRUCTORS

    def __init__(
        self,
        state_path: str | os.PathLike[str],
        handler: Any = "local",  # noqa: ANN401 - any class or object with read and write
        *,
        name: str | None = None,
        hooks: Iterable[Hook] = (),
        keep_data: bool = False,
        threads: int = 40,
        **options: Unpack[HandlerOptions],
    ) -> None:
        self.name: str = checked_name(state_path, name)
        self.handler: Any = make_handler(
            state_path, handler, self.name, options, self.state_handler_constructors
        )
        settings = FlowSettings(
            flow=self.name,
            hooks=checked_hooks(hooks),
            keep_data=checked_flag("keep_data", keep_data),
            threads=checked_threads(threads),
            active_runs=ActiveRuns(self.name),
        )
        super().__init__(FlowCore(state_path, self.handler, settings))

    def __repr__(self) -> str:
        """The name, place and steps."""
        if "_core" not in self.__dict__:  # A subclass may print itself before `super().__init__`.
            return object.__repr__(self)
        return describe_flow(self._core, type(self).__name__)

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

        The step is called with `(state, data)`, or with `(state)` if it takes one argument. A
        second parameter with a default counts only under the name `data`. The step changes both
        dicts in place. Its return value is not kept.

        Args:
            load: `load(state)` returns a dict that is merged into `data` before the step.
            save: `save(state, data)`, or `save(state)`, is called after the step and before the
                snapshot.
            name: The step's name, by default the function's.
            thread: Whether `arun` calls sync functions of this step in a worker thread, where
                they never stall the event loop. False keeps them on the loop, for functions
                that are quick or need it. `run` calls them in the caller's thread either way.
            replace: Whether this step replaces a step of the same name, as when a notebook's cell
                is executed again.
            retry: How often the step is tried in all when it, its loader or its saver raises an
                `Exception`. Or a `Retry`, for which exceptions, how often and after which pauses.
                Each attempt begins with both dicts as they were on entry to the step. Changes
                inside the values of `data` remain, unless the loader or `keep_data=True` fills
                `data` again. Needs the extra "retry".
            timeout: The most seconds that the step, its loader and its saver may each take in one
                attempt. A longer one raises `StepTimeoutError`. All of them must be coroutine
                functions, because nothing can stop a sync function in its thread.

        Returns:
            The decorator.

        Raises:
            InvalidTypeError, InvalidValueError: `retry` or `timeout` is invalid.
            MissingExtraError: `retry` is given, and the package `stamina` is not installed.
            FlowDefinitionError: By the decorator: a function is no function, is a generator
                function or takes other arguments, or cannot keep a `timeout`, or the name is
                taken already.
        """
        policy = None if retry is None else checked_retry(retry)
        seconds = None if timeout is None else checked_timeout(timeout)
        registry = self._core.registry
        if load is not None:
            registry.open_decorator(load)

        def register(function: _Function) -> _Function:
            step = make_step(
                function, load, save, name=name, thread=thread, retry=policy, timeout=seconds
            )
            registry.close_decorator(load)
            registry.put(step, replace=replace)
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
        that exists as long as the run. Inside a running loop, as in a notebook, it runs in a
        thread of its own. A sync step may return an awaitable, but no event loop is running while
        the step itself executes. Create futures and tasks in an `async def` step.

        Args:
            state: The initial state, changed in place. By default the stored one, or an empty
                dict. Ignored, with a warning in the log, if an unfinished run has a state.
            load_policy: The loaders to call: "first only" that of the first executed step,
                "always" all, or a list of one bool for each step of the flow.
            checkpoint: Index or name of the step to start at, instead of the stored position. The
                state is that on entry to the step where `keep=` has kept it.
            run_id: The run, for flows of many. Each has its own checkpoint.
            until: Index or name of the step to stop after. The next run resumes behind it.
            wait: Seconds to wait for another run of this checkpoint to end.
            once: Whether a finished run is not run again, and gives its stored final state, so
                that a repeated request does the work once. An unfinished run resumes from its
                stored state, even at its first step. A state written with `handler.write()` does
                not count as finished.
            update: Values for a paused run. They are put into its stored state, as by
                `dict.update`, durably, and the paused step runs again.

        Returns:
            The final state. It is the given dict itself if the run started from it. If a step
            paused the run, it is the state on entry to that step, and `header` has the status
            "paused".

        Raises:
            RunInProgressError: Another run of this checkpoint is running.
            FlowDefinitionError: The flow has no steps.
            FlowChangedError: The steps before the checkpoint have other names than the steps that
                wrote it. Under `once=True`, the flow has other steps than the finished run.
            LeaseLostError: This process was suspended or cut off so long that another one may
                have resumed the run.
            InvalidTypeError: An argument, or the result of a loader, is of the wrong type.
            InvalidValueError: `load_policy`, `checkpoint`, `until`, `run_id` or `wait` is
                invalid. Or `once=True` is given with `checkpoint=`, or for a handler that stores
                dicts alone. Or `update=` is given for a run that is not paused, or with `state`
                or `checkpoint=`.
            DrainingError: The flow is being drained: the run was stopped behind a step, or did
                not begin.
            StepTimeoutError: A part of a step took longer than its `timeout=`.
            UnserializableStateError: The state holds a value that cannot be stored.
            StorageError: The checkpoint cannot be read or written.
            CorruptSnapshotError: The checkpoint is damaged, and so are all that `keep=` kept.
            UntrustedSnapshotError: The checkpoint is not signed as `secret=` demands, or names
                a global that `allow=` does not list.
            IncompatibleSnapshotError: This program cannot load the checkpoint.
            BaseException: The exception of a step, loader or saver, the same object, with a note
                on where it was raised and how to resume.
        """
        core = self._core
        request = core.request(state, load_policy, checkpoint, until, once=once, update=update)
        return core.run_blocking(request, run_id, wait).state

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

        Takes the arguments of `run`, and has its result and errors. Coroutines are awaited on the
        running event loop. Sync functions are called in a worker thread, with the caller's
        context variables. Snapshots are written in another thread, so that the loop is never
        stalled.

        When the task is cancelled, a running sync function and a snapshot in progress end first.
        Then the one cancellation is raised, and the next run resumes. A `StopIteration` is raised
        as the cause of a `RuntimeError`, since no coroutine can raise one (PEP 479).
        """
        core = self._core
        # First, since thousands of runs may wait here, and the garbage collector visits requests.
        backend = await core.async_backend()
        request = core.request(state, load_policy, checkpoint, until, once=once, update=update)
        return (await core.run_async(backend, request, run_id, wait)).state

    def plan(
        self,
        state: dict[str, Any] | None = None,
        load_policy: LoadPolicy = "first only",
        checkpoint: int | str | None = None,
        *,
        run_id: str | None = None,
        until: int | str | None = None,
    ) -> Plan:
        """Plan what `run` with these arguments would do, and do nothing of it.

        Returns:
            The plan. Print it to read it in words.

        Raises:
            FlowDefinitionError, FlowChangedError, InvalidTypeError, InvalidValueError,
            StorageError, CorruptSnapshotError, UntrustedSnapshotError,
            IncompatibleSnapshotError: See `run`.
        """
        request = self._core.request(state, load_policy, checkpoint, until)
        return run_blocking(lambda backend: self._core.plan(backend, request, run_id))

    async def aplan(
        self,
        state: dict[str, Any] | None = None,
        load_policy: LoadPolicy = "first only",
        checkpoint: int | str | None = None,
        *,
        run_id: str | None = None,
        until: int | str | None = None,
    ) -> Plan:
        """Plan a run, as `plan` does, without blocking the event loop."""
        request = self._core.request(state, load_policy, checkpoint, until)
        return await self._core.plan(await self._core.async_backend(), request, run_id)
