"""The twins of the methods for many runs, for scripts and notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from aiocheckpoint._model.state_type import StateT
from aiocheckpoint._runs.mapping import map_runs
from aiocheckpoint._runs.service import RunService
from aiocheckpoint._runs.sync_streams import SyncStream, taken_by_caller

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from concurrent.futures import Executor

    from aiocheckpoint._concurrency.caller_thread import CallerThread
    from aiocheckpoint._display.live.displays import ProgressWord
    from aiocheckpoint._model.header import Status
    from aiocheckpoint._model.request import LoadPolicy
    from aiocheckpoint._model.run_result import RunResult
    from aiocheckpoint._runs.pairs import Runs
    from aiocheckpoint._runs.streams import Stream
    from aiocheckpoint.events import Event
    from aiocheckpoint.handlers import FilterOptions

__all__ = ["RunTwins"]


class RunTwins(RunService[StateT]):
    """Runs many runs, and streams events, without an event loop of the caller's."""

    def map(
        self,
        runs: Runs[StateT],
        load_policy: LoadPolicy | None = None,
        *,
        limit: int = 100,
        once: bool = False,
        progress: ProgressWord | None = None,
        executor: Executor | Callable[[], Executor] | None = None,
        lost: int = 3,
        states: bool = True,
    ) -> SyncStream[RunResult[StateT]]:
        """Run many runs, `limit` of them at once, and give their results as they end.

        As `amap`, in scripts and notebooks. The runs are on an event loop in a thread of its own.
        Sync steps are in threads, as under `arun`.

        Args:
            runs: As for `amap`. An iterator or generator is asked for its next pair in your own
                thread, while you wait for a result. An async iterable is asked on the loop of the
                runs, so it must not belong to another one.
            load_policy: The loaders to call, as in `run`.
            limit: The most runs at once.
            once: Whether finished runs give their stored state, as in `run`.
            progress: How they show their progress, as in `run`: all of them in one display.
            executor: An executor whose workers run them, or a function that makes one, as in
                `amap`.
            lost: How often a run is sent again behind the loss of a worker.
            states: Whether results have the final states. False leaves them in the store.

        Returns:
            An iterator of one `RunResult` for each run, failures beside successes. Closing it
            cancels the runs, see `SyncStream`.

        Raises:
            InvalidTypeError, InvalidValueError: An argument is invalid. Raised by the iterator if
                it is an item of an iterable.
            UnpicklableFlowError: `executor` is given, and the flow cannot be pickled.
            NoThreadError: By the iterator: no thread can be started.
            DrainingError: By the iterator, as by the stream of `amap`.
        """

        def make(caller: CallerThread) -> Stream[RunResult[Any]]:
            pairs = taken_by_caller(runs, caller)
            return map_runs(
                *(self, self._core, pairs, load_policy),
                limit=limit,
                once=once,
                progress=progress,
                executor=executor,
                lost=lost,
                states=states,
                method="map",
            )

        return SyncStream(make)

    def stream(
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
    ) -> SyncStream[Event]:
        """Run the steps as `arun` does, and give the events of the run as they happen.

        As `astream`, in scripts and notebooks. The run is on an event loop in a thread of its own.
        It waits while it is 16 events ahead. Closing the iterator cancels the run, see
        `SyncStream`.

        The arguments have the same meaning as for `run`.

        Returns:
            An iterator of `aiocheckpoint.events`.

        Raises:
            InvalidTypeError, InvalidValueError: An argument is invalid.
            NoThreadError: By the iterator: no thread can be started.
            BaseException: By the iterator, behind the last event: the exceptions of `arun`.
        """
        stream = self.astream(
            state,
            load_policy,
            checkpoint,
            run_id=run_id,
            until=until,
            wait=wait,
            once=once,
            update=update,
            answers=answers,
        )
        return SyncStream(lambda _: stream)

    def resume_all(
        self,
        *,
        limit: int = 100,
        status: Status | Collection[Status] | None = None,
        progress: ProgressWord | None = None,
        **chosen: Unpack[FilterOptions],
    ) -> SyncStream[RunResult[StateT]]:
        """Resume the unfinished runs that are due and that no process owns, as `aresume_all` does.

        For scripts and notebooks. The runs are on an event loop in a thread of its own. **Failed
        and cancelled runs are passed over until they are due**, and patched ones wait for `resume`,
        as there.

        Args:
            limit: The most runs at once.
            status: The status of the runs to take, or several, whether due or not.
            progress: How they show their progress, as in `map`.
            chosen: `step=`, `error=`, `ids=`, `since=`, `before=`, `tries=` and `stale=`, see
                `aiocheckpoint.handlers.FilterOptions`. They are taken whether due or not, too.

        Returns:
            An iterator of one `RunResult` for each run as it ends. Closing it cancels the runs,
            see `SyncStream`.

        Raises:
            InvalidTypeError, InvalidValueError, StorageError, DrainingError: As `aresume_all`.
            NoThreadError: By the iterator: no thread can be started.
        """
        stream = self.aresume_all(limit=limit, status=status, progress=progress, **chosen)
        return SyncStream(lambda _: stream)

    def work(
        self,
        *,
        limit: int = 100,
        until_empty: bool = False,
        status: Status | Collection[Status] | None = None,
        progress: ProgressWord | None = None,
        **chosen: Unpack[FilterOptions],
    ) -> SyncStream[RunResult[StateT]]:
        """Work off the runs of the flow until it is drained, as `awork` does.

        For scripts that are workers. The runs are on an event loop in a thread of its own. The loop
        over the results ends without an error when `drain` is called, as by the handler of a
        signal.

        Args:
            limit: The most runs at once.
            until_empty: Whether to end when nothing is queued or due, and no run is left by a dead
                owner.
            status: Only runs of this status, or of several, as in `runs`.
            progress: How they show their progress, as in `map`.
            chosen: `step=`, `error=`, `ids=`, `since=`, `before=`, `tries=` and `stale=`, see
                `aiocheckpoint.handlers.FilterOptions`.

        Returns:
            An iterator of one `RunResult` for each run as it ends. Closing it cancels the runs,
            see `SyncStream`.

        Raises:
            InvalidTypeError, InvalidValueError, FlowDefinitionError, StorageError: As `awork`.
            NoThreadError: By the iterator: no thread can be started.
        """
        stream = self.awork(
            limit=limit, until_empty=until_empty, status=status, progress=progress, **chosen
        )
        return SyncStream(lambda _: stream)
