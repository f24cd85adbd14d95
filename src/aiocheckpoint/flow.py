"""The front door: register steps, run them, resume at the step that broke."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Unpack, cast

from aiocheckpoint._engine.context import FlowSettings
from aiocheckpoint._engine.lifespans import Lifespans
from aiocheckpoint._model.checks import checked_flag
from aiocheckpoint._model.loading import checked_word
from aiocheckpoint._model.state_type import StateT
from aiocheckpoint._runs.arguments import (
    checked_around,
    checked_backoff,
    checked_conflict,
    checked_hooks,
    checked_migrate,
    checked_progress,
    checked_starts,
    checked_threads,
    checked_version,
)
from aiocheckpoint._runs.cards_api import FlowCards
from aiocheckpoint._runs.core import FlowCore
from aiocheckpoint._runs.descriptions import describe_flow
from aiocheckpoint._runs.diagram_api import FlowDiagrams
from aiocheckpoint._runs.displaying import display_run
from aiocheckpoint._runs.flow_names import ProgramNames
from aiocheckpoint._runs.lifespan_api import FlowLifespan
from aiocheckpoint._runs.lists_api import RunLists
from aiocheckpoint._runs.queue_api import RunQueue
from aiocheckpoint._runs.registration import StepRegistration
from aiocheckpoint._runs.service import RunService
from aiocheckpoint._runs.stored_api import StoredRuns
from aiocheckpoint._runs.twins import RunTwins
from aiocheckpoint._runs.watch_api import WatchedRuns
from aiocheckpoint._tracebacks import add_front_doors
from aiocheckpoint.handlers._identifiers import checked_name
from aiocheckpoint.handlers._registry import CONSTRUCTORS, HandlerOptions, make_handler

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

    from aiocheckpoint._display.live.displays import ProgressWord
    from aiocheckpoint._model.request import LoadPolicy, LoadWord
    from aiocheckpoint._runs.arguments import Migrate
    from aiocheckpoint.events import Around, Hook

__all__ = ["CheckpointFlow"]


class CheckpointFlow(
    StepRegistration[StateT],
    StoredRuns[StateT],
    RunLists[StateT],
    FlowDiagrams[StateT],
    FlowCards[StateT],
    RunTwins[StateT],
    RunQueue[StateT],
    WatchedRuns[StateT],
    FlowLifespan[StateT],
):
    """An ordered list of steps, and the place where their checkpoints are stored.

    After each step the state, a dict of small variables, is stored. When a step breaks, the next
    `run` or `arun` resumes at that step, with the state as it was before it. When all steps are
    through, the next one starts from the beginning.

    `CheckpointFlow[Order](...)` with a `TypedDict` gives its states that type, for type checkers
    alone. A plain `CheckpointFlow(...)` has states of the type `dict[str, Any]`.

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
        around: Functions `f(part, event)` that give a context manager, sync or async, or None, such
            as a span of a tracing tool. `part` is "run", "attempt" or "snapshot", and `event` the
            `RunStarted`, `StepStarted` or `SnapshotStarted` of its beginning. They are entered in
            order in the task of the run, so that sync functions in threads see the context
            variables too, and left in reverse order however the part ends. `__exit__` is given the
            exception. A true return value does not swallow it. What they raise is logged, and never
            breaks a run.
        keep_data: Whether snapshots hold `data` as well, so that a run resumes without loaders:
            "first only" calls none where `data` was stored. `data` must then be serialisable
            too, and makes each snapshot larger and slower. The snapshot of a finished run does
            not hold it.
        load_policy: The loaders that runs call unless they say otherwise, as in `run`: "first
            only" or "always".
        threads: How many sync steps, loaders and savers of this flow run at once under `arun`, on
            each event loop. The others wait, also where `limit=` of `amap` is larger. Coroutine
            functions need none. Their threads are daemon threads, so that a hung step does not
            keep the process after a drain.
        conflict: What becomes of a given state that the stored run overrules, where that began
            with another one: "warn" ignores it, with a `GivenStateIgnoredWarning`, or for a run
            with an id a log record. "raise" makes a `StateConflictError` of both. Given states
            must then be plain data.
        version: Number of the release of the flow's steps, from 0 on. Runs stored without one have
            version 0, and so has a flow by default. A run that a newer version has stored is
            refused, and skipped by `aresume_all`, so that processes of an old and a new release can
            share a store during a deploy.
        migrate: `migrate(state, version)`, sync or async, takes a stored run of an older version
            on. It changes the state, and may return the index or name of the step to go on at.
            The names of the run's steps are then not compared with those of the flow. Without a
            result, the run goes on at the step at which it stands: that of the same name where the
            steps before it have changed, else that of the same index. A new run that begins with
            the stored state of a finished one of an older version calls it as well, and starts at
            the first step. With `checkpoint=` its result is not used. It is called before the first
            step, and again, on the stored state, if the step breaks or the process is killed before
            the next snapshot. If it raises, the run stays as it was. An older run that shares no
            step name with the flow is taken on by hand, as by `aresume(run_id)`, and not by
            `aresume_all`. Without `migrate`, runs of older versions go on if the names fit.
        starts: How often a run may be started at one step. `aresume_all` and `awork` terminate a
            run that was started so often there without getting past it, when they would start it
            once more. They do so as well with one whose process was killed there 5 times. None
            sets no end to either. Runs started by hand, by `run`, `arun` and `resume`, are never
            terminated for that.
        backoff: Seconds after which `aresume_all` and `awork` take a run again that failed or was
            cancelled. Each further start at the same step doubles them, and each is changed at
            random by up to a quarter. An hour is the most.
        progress: How the calls of the flow show their progress, unless they say otherwise.
            "auto" is a card in a notebook, a bar on a terminal, and nothing elsewhere. "card" is
            the card alone. "bar" stands on the terminal of stderr, if rich is installed (the extra
            "cli"). Else it is plain lines, as "lines" are: one for each step. "none" shows nothing.
            By default a call in a notebook gets a card when it takes longer than half a second, and
            nothing is shown elsewhere. A run inside a step of a shown run is not shown.
        options: For handlers made here, the options of `HandlerOptions`. `fsync=` makes each
            snapshot wait for the disk (default True). `keep=` is the number of snapshots of each
            run (default 1). `secret=` signs them. `allow=` lists the globals that they may name.
            `verify=` loads each one back before it counts. `lock="lease"`, for "local", works by
            renewed lock files where the file system has no locks. `lease=`, for it and for
            "sqlite", is the number of seconds after which a suspended owner loses its runs
            (default 30).

    Attributes:
        handler: The state handler. For a path, a `LocalStateHandler`.
        name: The name.
        state_handler_constructors: Handlers by name or scheme, each a class that is called with
            `state_path`. Has "local" at first. Register your own here. Looked up before all others.

    Raises:
        UnknownHandlerError: No handler has the name given, or the scheme of `state_path`.
        MissingExtraError: The handler needs a package that is not installed.
        InvalidTypeError: `handler`, `state_path`, `name`, a hook or an option is of the wrong
            type, or `migrate` does not take a state and a version, or a function of `around` does
            not take a part and an event.
        InvalidValueError: An option is invalid, or does not belong to the handler, or
            `handler` is an object that signs for a flow of another name. Or `migrate` is given
            without a `version` from 1 on.
        StorageError: `state_path` is relative, and the working directory was deleted. Or its disk
            does not answer the read that tells a database from other files.
    """

    state_handler_constructors: ClassVar[dict[str, Callable[..., Any]]] = CONSTRUCTORS

    def __init__(
        self,
        state_path: str | os.PathLike[str],
        handler: Any = "local",  # noqa: ANN401 - any class or object with read and write
        *,
        name: str | None = None,
        hooks: Iterable[Hook] = (),
        around: Iterable[Around] = (),
        keep_data: bool = False,
        load_policy: LoadWord = "first only",
        threads: int = 40,
        conflict: Literal["warn", "raise"] = "warn",
        version: int | None = None,
        migrate: Migrate[StateT] | None = None,
        starts: int | None = 10,
        backoff: float = 10.0,
        progress: ProgressWord | None = None,
        **options: Unpack[HandlerOptions],
    ) -> None:
        self.name: str = checked_name(state_path, name)
        self.handler: Any = make_handler(
            state_path, handler, self.name, options, self.state_handler_constructors
        )
        settings = FlowSettings(
            flow=self.name,
            hooks=checked_hooks(hooks),
            around=checked_around(around),
            keep_data=checked_flag("keep_data", keep_data),
            load_policy=checked_word(load_policy),
            lifespans=Lifespans(self.name, checked_threads(threads)),
            names=ProgramNames(),
            conflict=checked_conflict(conflict, self.handler),
            version=checked_version(version, self.handler),
            migrate=checked_migrate(migrate, version),
            starts=checked_starts(starts),
            backoff=checked_backoff(backoff),
        )
        word = checked_progress(progress)
        super().__init__(FlowCore(state_path, self.handler, settings, word))

    def __repr__(self) -> str:
        """The name, place and steps."""
        if "_core" not in self.__dict__:  # A subclass may print itself before `super().__init__`.
            return object.__repr__(self)
        return describe_flow(self._core, type(self).__name__)

    def run(
        self,
        state: StateT | None = None,
        load_policy: LoadPolicy | None = None,
        checkpoint: int | str | None = None,
        *,
        run_id: str | None = None,
        until: int | str | None = None,
        wait: float = 0.0,
        once: bool = False,
        update: dict[str, Any] | None = None,
        answers: int | None = None,
        data: dict[str, Any] | None = None,
        progress: ProgressWord | None = None,
    ) -> StateT:
        """Run the steps from the checkpoint on, in scripts and notebooks.

        Sync functions are called in the caller's own thread. Coroutines run on one event loop
        that exists as long as the run. Inside a running loop, as in a notebook, it runs in a
        thread of its own. A sync step may return an awaitable, but no event loop is running while
        the step itself executes. Create futures and tasks in an `async def` step.

        Args:
            state: The initial state, changed in place. By default the stored one, or an empty
                dict. An unfinished run goes on with its stored state instead. This is passed
                over in silence where the given state equals the one that the run began with, or
                is the very dict that the last broken run of this process began with. Otherwise
                a `GivenStateIgnoredWarning` names your line, or for a run with an id the log
                warns. `CheckpointFlow(..., conflict="raise")` makes errors of both. A run
                without an id that did no step yet begins anew with the given state. One with an
                id keeps its stored state, number and idempotency keys, in a conflict as well.
                `checkpoint=0` begins such a run anew with the given state.
            load_policy: The loaders to call: "first only" that of the first executed step,
                "always" all, or a list of one bool for each step of the flow. The two words call
                in addition each loader whose step lacks one of its `needs=`. By default the
                policy of the flow.
            checkpoint: Index or name of the step to start at, instead of the stored position. The
                state is that on entry to the step where `keep=` has kept it.
            run_id: The run, for flows of many. Each has its own checkpoint.
            until: Index or name of the step to stop after. The next run resumes behind it.
            wait: Seconds to wait for another run of this checkpoint to end, or for the pause.
            once: Whether a finished run is not run again, and gives its stored final state, so
                that a repeated request does the work once. It does so whatever became of the
                steps, as long as one name is the same, and takes no lock. Calls of one process
                that wait for an unfinished run share it: each has its result or its pause, and
                its exception if they gave an equal state. An unfinished run resumes from its
                stored state, even at its first step. A given state is compared as above, also with
                the one that a finished run began with. A state written with `handler.write()` does
                not count as finished.
            update: Values for a paused run. They are put into its stored state, as by
                `dict.update`, durably, and the paused step runs again. `wait=` waits for the pause.
                An answer waits for up to a second if another one is being stored.
            answers: The number of the pause that is answered, as in `Header.pause_number`. An
                answer to another pause is not stored. By default it is for the present pause at
                the call, or else the next one.
            data: The dict that is `data` for the steps of this run, changed in place. It can be
                looked at afterwards, also when a step broke, and be given to the next run. By
                default an empty dict. Under `keep_data=True` a resumed run puts the stored values
                into it, in the place of those under the same keys.
            progress: How it shows its progress, as for `CheckpointFlow`. By default as that says.

        Returns:
            The final state. It is the given dict itself if the run started from it. If a step
            paused the run, it is the state on entry to that step, and `header` has the status
            "paused".

        Raises:
            RunInProgressError: Another run of this checkpoint is running.
            StateConflictError: Under `conflict="raise"`, the stored run began with another state.
            FlowDefinitionError: The flow has no steps.
            FlowVersionError: A newer version of the flow has stored the run.
            FlowChangedError: The steps before the checkpoint have other names than the steps that
                wrote it. A run with an id that was killed, drained or paused also keeps the step
                at which it stands. And one that has no step name in common with the flow is
                another flow's, also where it has finished.
            LeaseLostError: This process was suspended or cut off so long that another one may
                have resumed the run.
            InvalidTypeError: An argument, or the result of a loader, is of the wrong type.
            PauseConflictError: `update=` or `answers=` is given, and the pause was answered, has
                not come, or the run has ended. A kind of `InvalidValueError`.
            InvalidValueError: `load_policy`, `checkpoint`, `until`, `run_id` or `wait` is
                invalid. Or `once=True` is given with `checkpoint=`, or for a handler that stores
                dicts alone. Or `update=` or `answers=` is given with `state` or `checkpoint=`. Or
                a loader does not bring a key that `needs=` names. Or `data` is the state itself. Or
                another run in progress has one of the two dicts. Or `migrate` names no step.
            NoThreadError: A step, or `run` in a running loop, needs a thread, and none can be
                started.
            DrainingError: A drain has stopped the run behind a step, or kept it from beginning.
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
        request = core.request(
            state,
            load_policy,
            checkpoint,
            until,
            once=once,
            update=update,
            answers=answers,
            data=data,
            run_id=run_id,
        )
        with display_run(core, progress, run_id) as shown, shown as listener:
            outcome = core.run_blocking(request, run_id, wait, listener=listener)
        return cast("StateT", outcome.state)

    async def arun(
        self,
        state: StateT | None = None,
        load_policy: LoadPolicy | None = None,
        checkpoint: int | str | None = None,
        *,
        run_id: str | None = None,
        until: int | str | None = None,
        wait: float = 0.0,
        once: bool = False,
        update: dict[str, Any] | None = None,
        answers: int | None = None,
        data: dict[str, Any] | None = None,
        progress: ProgressWord | None = None,
    ) -> StateT:
        """Run the steps from the checkpoint on, in services.

        Takes the arguments of `run`, and has its result and errors. Coroutines are awaited on the
        running event loop. Sync functions are called in a worker thread. Snapshots are written in
        another thread, so that the loop is never stalled. Context variables behave as if all
        functions were awaited in the caller's task: what a sync function sets in its thread is set
        for the next ones and for the caller. The tokens of its `ContextVar.set` belong to the
        context of that one call.

        When the task is cancelled, a running sync function and a snapshot in progress end first.
        Then the one cancellation is raised, and the next run resumes. A step is stored as done if
        it and its saver have returned by then. After the last step, the run is finished. A
        `StopIteration` is raised as the cause of a `RuntimeError`, since no coroutine can raise
        one (PEP 479).
        """
        core = self._core
        # First, since thousands of runs may wait here, and the garbage collector visits requests.
        backend = await core.async_backend()
        request = core.request(
            state,
            load_policy,
            checkpoint,
            until,
            once=once,
            update=update,
            answers=answers,
            data=data,
            run_id=run_id,
        )
        with display_run(core, progress, run_id) as shown, shown as listener:
            outcome = await core.run_async(backend, request, run_id, wait, listener=listener)
        return cast("StateT", outcome.state)


add_front_doors(
    *(
        StepRegistration,
        StoredRuns,
        FlowCards,
        FlowDiagrams,
        RunService,
        RunTwins,
        RunQueue,
        WatchedRuns,
        FlowLifespan,
    ),
    CheckpointFlow,
)
