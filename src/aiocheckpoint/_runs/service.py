"""The public methods that resume and terminate runs, and run many of a flow at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack, cast

from aiocheckpoint._concurrency.backends import run_blocking
from aiocheckpoint._model.checks import checked_wait
from aiocheckpoint._model.state_type import StateT
from aiocheckpoint._runs.displaying import display_run
from aiocheckpoint._runs.flow_methods import FlowMethods
from aiocheckpoint._runs.mapping import map_runs
from aiocheckpoint._runs.resuming import resume_runs
from aiocheckpoint._runs.streams import Stream, run_events
from aiocheckpoint._runs.terminating import TerminateCall
from aiocheckpoint._runs.working import work_runs
from aiocheckpoint.handlers._identifiers import checked_run_id

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from concurrent.futures import Executor

    from aiocheckpoint._display.live.displays import ProgressWord
    from aiocheckpoint._model.header import Header, Status
    from aiocheckpoint._model.request import LoadPolicy
    from aiocheckpoint._model.run_result import RunResult
    from aiocheckpoint._runs.pairs import Runs
    from aiocheckpoint.events import Event, Hook
    from aiocheckpoint.handlers import FilterOptions

__all__ = ["RunService"]


class RunService(FlowMethods[StateT]):
    """Resumes and terminates runs, runs many of a flow at once, and streams their events."""

    def resume(
        self,
        run_id: str | None,
        update: dict[str, Any] | None = None,
        answers: int | None = None,
        *,
        wait: float = 0.0,
        progress: ProgressWord | None = None,
    ) -> StateT:
        """Resume a stored run, and begin none, in scripts and notebooks.

        An unfinished run goes on as by `run(run_id=run_id)`, with the load policy of the flow. A
        finished run is not run again, whatever became of its steps, as long as one name is the
        same.

        Args:
            run_id: The run, or None for the one without an id.
            update: Values for a paused run, as in `run`.
            answers: The number of the pause that is answered, as in `run`.
            wait: Seconds to wait for another run of this checkpoint to end, or for the pause. With
                `update` or `answers` it is also waited for a run that is not stored yet, so that a
                mistyped id takes the whole time.
            progress: How it shows its progress, as in `run`.

        Returns:
            The final state, of a finished run the stored one. If a step paused the run, it is the
            state on entry to that step.

        Raises:
            RunNotFoundError: No run of this id is stored. An answer waits for one with `wait=`.
            PauseConflictError: `update` or `answers` is given, and the run does not wait for it.
            BaseException: All that `run` raises.
        """
        request = self._core.request(None, update=update, answers=answers, resumes=True)
        with display_run(self._core, progress, run_id) as shown, shown as listener:
            outcome = self._core.run_blocking(request, run_id, wait, listener=listener)
        return cast("StateT", outcome.state)

    async def aresume(
        self,
        run_id: str | None,
        update: dict[str, Any] | None = None,
        answers: int | None = None,
        *,
        wait: float = 0.0,
        progress: ProgressWord | None = None,
    ) -> StateT:
        """Resume a stored run, and begin none, as `resume` does, in services."""
        backend = await self._core.async_backend()
        request = self._core.request(None, update=update, answers=answers, resumes=True)
        with display_run(self._core, progress, run_id) as shown, shown as listener:
            outcome = await self._core.run_async(backend, request, run_id, wait, listener=listener)
        return cast("StateT", outcome.state)

    def terminate(
        self, run_id: str | None, reason: str = "", *, wait: float = 0.0
    ) -> Header | None:
        """End a run for good, as `aterminate` does, in scripts and notebooks."""
        call = TerminateCall(self._core, run_id, reason, wait)
        return run_blocking(call.carry_out)

    async def aterminate(
        self, run_id: str | None, reason: str = "", *, wait: float = 0.0
    ) -> Header | None:
        """End a run for good, also while it is in progress in any process.

        A run that nobody carries is stored as terminated, by its header alone. One in progress is
        asked to end, durably, and this call returns. Its process looks once a second, and the
        process of this call needs no look. A coroutine of its step is cancelled, and a wait between
        two attempts ends. A sync function is never broken off: the run ends behind it, and a step
        that has ended well is stored first. Its caller gets a `RunTerminatedError`. If its process
        is killed meanwhile, the next claim ends it before any step.

        The stored state stays. `arun` of a terminated run raises `RunTerminatedError`,
        `aresume_all` and `awork` leave it alone, and `arun(checkpoint=...)` goes on with it. A run
        that has finished before the request reached it stays finished.

        Args:
            run_id: The run, or None for the one without an id.
            reason: Who does so, or why, for the error, `Header.termination` and `Header.actor`.
                Plain text, without secrets.
            wait: Seconds to wait for the end of a run in progress. By default it is not waited for.

        Returns:
            The header of the run that has ended for good: terminated, now or before, or finished
            meanwhile. None where it is still in progress.

        Raises:
            InvalidTypeError: An argument is of the wrong type.
            RunStatusError: The run has finished.
            InvalidValueError: `wait` is negative, or the handler is a user's own class. Or the run
                is in progress in another process, and the handler keeps no requests.
            RunNotFoundError: No run of this id is stored.
            StorageError, CorruptSnapshotError, UntrustedSnapshotError,
            IncompatibleSnapshotError: See `CheckpointFlow.run`.
        """
        call = TerminateCall(self._core, run_id, reason, wait)
        return await call.carry_out(await self._core.reading_backend())

    def amap(
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
    ) -> Stream[RunResult[StateT]]:
        """Run many runs, `limit` of them at once, and give their results as they end.

        `async for result in cp.amap(...)` gives them one by one, and never holds more than `limit`
        runs and untaken results together. The next pair is taken from `runs` only when there is
        room. `await cp.amap(...)` gives a list of all. If taking a pair raises, the running runs
        end first. Leaving the loop early cancels them.

        With `executor=`, workers of that executor run them, each whole, by a pickle of the flow and
        of its state. Sync steps are called in the worker's own thread. Hooks that travel with the
        flow are called there, and `watch` hears no events. A display shows how many runs have
        ended, and how, and not their steps. **The loss of a worker is no
        failure of its run**: a process that was killed, or out of memory. The run is sent again,
        waits until the store sees that its owner is gone, and goes on from its last snapshot. If it
        had finished, its stored state is the result, also without `once`. So a run that another
        program is running is waited for, for 60 seconds or three leases. Leaving the loop early
        withdraws what has not begun, and waits for the rest. Futures of Dask do not tell what has
        begun, so there it cancels all and waits for none: a run that has begun goes on in the
        cluster, to its end. A drain sends no more, and waits for the rest. See docs/executors.md.

        Args:
            runs: A dict of states by run id, or an iterable of such pairs, sync or async. Each
                pair is run as by `arun(state, run_id=run_id)`.
            load_policy: The loaders to call, as in `run`.
            limit: The most runs at once.
            once: Whether finished runs give their stored state, as in `run`.
            progress: How they show their progress, as in `run`: all of them in one display.
            executor: An executor of `concurrent.futures`, such as Dask's `client.get_executor()`.
                Or a function that makes one, which is called again when it broke, as a
                `ProcessPoolExecutor` does when a process of it is killed. What it has made is shut
                down at the end. By default the runs are in this process.
            lost: How often a run is sent again behind the loss of a worker. A loss counts if the
                run had begun, or if none had that was lost with it.
            states: Whether results have the final states. False leaves them in the store.

        Returns:
            A stream of one `RunResult` for each run, failures beside successes. Behind more than
            `lost` losses it has a `WorkerLostError`. An exception that cannot be pickled is a
            `RemoteError`, and other errors of the executor are results as they are.

        Raises:
            InvalidTypeError, InvalidValueError: An argument is invalid, or `executor` is given and
                the handler is a user's own class. Raised by the stream if it is an item of an
                iterable.
            UnpicklableFlowError: `executor` is given, and the flow cannot be pickled.
            DrainingError: By the stream: the flow is drained, and the rest of `runs` was not
                taken. A pending wait for the source is cancelled. A pair taken at that moment is
                a result with this error.
        """
        return map_runs(
            *(self, self._core, runs, load_policy),
            limit=limit,
            once=once,
            progress=progress,
            executor=executor,
            lost=lost,
            states=states,
        )

    def astream(
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
    ) -> Stream[Event]:
        """Run the steps as `arun` does, and give the events of the run as they happen.

        The run begins with the loop, `async for event in cp.astream(...)`, and waits while it is
        16 events ahead of it. Leaving the loop early cancels the run as `task.cancel()` does, so
        that it can be resumed. Under `contextlib.aclosing` the run has ended when the block
        ends. The flow's hooks get all events as well.

        The arguments have the same meaning as for `run`.

        Returns:
            A stream of `aiocheckpoint.events`. It is empty if `once=True` finds a finished run.

        Raises:
            InvalidTypeError, InvalidValueError: An argument is invalid.
            StreamConsumedError: By a second loop over the stream.
            BaseException: By the loop, behind the last event: the exceptions of `arun`.
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
            run_id=run_id,
        )
        request.remembers = False
        seconds, name = checked_wait(wait), checked_run_id(run_id)

        async def run(hook: Hook) -> None:
            await core.run_async(await core.async_backend(), request, name, seconds, hook)

        return Stream(run_events(run), of="events")

    def aresume_all(
        self,
        *,
        limit: int = 100,
        status: Status | Collection[Status] | None = None,
        progress: ProgressWord | None = None,
        **chosen: Unpack[FilterOptions],
    ) -> Stream[RunResult[StateT]]:
        """Resume the unfinished runs that are due and that no process owns, in one pass.

        **A run that failed or was cancelled is passed over until it is due**: `backoff=` seconds
        behind its first failure at a step, and later each time, so that a call at each start of a
        service does not try it again and again. **A run that was stopped by a patch or `until=`
        waits** for `resume`, `run` or `arequeue`. Due are runs whose process was killed, runs that
        a drain has stopped, and paused ones whose step gave a `due`. Queued runs are begun by
        `awork` alone. `status=`, or any of `chosen`, takes the chosen runs whether due or not.

        A run that was started `starts=` times at one step, or whose process was killed there 5
        times, is terminated instead: its result is a `RunTerminatedError`. A run whose process was
        killed twice at its step is taken alone: the other runs of this call, and of `awork`, end
        first, and none is taken beside it until it is past that step.

        Runs of a newer version or of another flow are left alone, with an error in the log, once in
        a process, and so are runs that another task or process is running or takes first. An older
        run that shares no step name with the flow counts as another flow's here, also where
        `migrate=` takes such runs on: `aresume(run_id)` takes it on by hand.

        Leaving the loop early cancels the resumed runs. Under `contextlib.aclosing` they have ended
        when the block ends.

        Args:
            limit: The most runs at once.
            status: The status of the runs to take, or several, as in `aruns`. They count as taken
                by hand: none is terminated, and "queued" and paused runs are taken as well.
            progress: How they show their progress, as in `amap`.
            chosen: `step=`, `error=`, `ids=`, `since=`, `before=`, `tries=` and `stale=`, see
                `aiocheckpoint.handlers.FilterOptions`. They count as taken by hand, too. Without
                `status=` they choose among the runs that have begun and not ended for good.

        Returns:
            A stream of one `RunResult` for each run as it ends, failures beside successes. The run
            that is due longest begins first, and of runs that were chosen the newest.

        Raises:
            InvalidTypeError, InvalidValueError: An argument is invalid, or the handler is a user's
                own class, which stores one state. Or `status` has "finished" or "terminated".
            StorageError: By the stream: the place cannot be read.
            DrainingError: By the stream: the flow is drained, and not all runs were resumed.
        """
        return resume_runs(self._core, limit, status, chosen, progress=progress)

    def awork(
        self,
        *,
        limit: int = 100,
        until_empty: bool = False,
        status: Status | Collection[Status] | None = None,
        progress: ProgressWord | None = None,
        **chosen: Unpack[FilterOptions],
    ) -> Stream[RunResult[StateT]]:
        """Work off the runs of the flow until it is drained: queued, due, and left by dead owners.

        It takes what `aresume_all` takes, and queued runs, the one that is due longest first. It
        looks for more when a run has ended, when one was submitted in this process, and else each
        second, so that runs that other processes have queued, stopped or left behind are done too,
        on whatever machine these were. Where a look takes more than a tenth of a second, the next
        one comes after ten times as long. A store that cannot be read meanwhile is an error in the
        log, and looked at again after 2 seconds, later after up to 30. A run whose state cannot be
        stored keeps its last snapshot, and this call tries it again after `backoff=`, as if it had
        failed. Any number of processes work on one store: a run is begun once.

        Loop over it, as in `async for result in cp.awork(): ...`. Awaited, it gives a list of all
        results at its end, which a service should not keep. When the flow is drained, the runs stop
        behind their steps, and the loop ends without an error. Leaving it early cancels the runs.

        Args:
            limit: The most runs at once.
            until_empty: Whether to end when nothing is queued or due, and no run is left by a dead
                owner. What is paused, due later or owned by another process does not keep it.
            status: Only runs of this status, or of several, as in `aruns`.
            progress: How they show their progress, as in `amap`.
            chosen: `step=`, `error=`, `ids=`, `since=`, `before=`, `tries=` and `stale=`, see
                `aiocheckpoint.handlers.FilterOptions`. Of the runs that are due, only the
                chosen ones are taken.

        Returns:
            A stream of one `RunResult` for each run as it ends, failures beside successes.

        Raises:
            InvalidTypeError, InvalidValueError: An argument is invalid, or the handler is a user's
                own class, which stores one state. Or `status` has "finished" or "terminated". Or
                another `awork` of this flow object is in progress.
            FlowDefinitionError: By the stream: the flow has no steps.
            DrainingError: By the stream: the flow was drained before, and `async with` has not
                opened it again.
            StorageError: By the stream: the place cannot be read at first.
        """
        return work_runs(
            self._core, limit, status, chosen, until_empty=until_empty, progress=progress
        )
