"""The public methods that run many runs of a flow at once, for services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint._model.checks import checked_timeout, checked_wait
from aiocheckpoint._runs.core import FlowMethods
from aiocheckpoint._runs.mapping import map_runs
from aiocheckpoint._runs.resuming import resume_runs
from aiocheckpoint._runs.streams import Stream, run_events
from aiocheckpoint.handlers._identifiers import checked_run_id

if TYPE_CHECKING:
    from aiocheckpoint._model.request import LoadPolicy
    from aiocheckpoint._model.run_result import RunResult
    from aiocheckpoint._runs.mapping import Runs
    from aiocheckpoint.events import Event, Hook

__all__ = ["RunService"]


class RunService(FlowMethods):
    """Runs many runs of a flow at once, streams their events, resumes and drains them.

    `StoredRuns` is the other class that `CheckpointFlow` inherits from.
    """

    def amap(
        self,
        runs: Runs,
        load_policy: LoadPolicy = "first only",
        *,
        limit: int = 100,
        once: bool = False,
    ) -> Stream[RunResult]:
        """Run many runs, `limit` of them at once, and give their results as they end.

        `async for result in cp.amap(...)` gives them one by one, and never holds more than `limit`
        runs and untaken results together. The next pair is taken from `runs` only when there is
        room. `await cp.amap(...)` gives a list of all. If taking a pair raises, the running runs
        end first. Leaving the loop early cancels them.

        Args:
            runs: A dict of states by run id, or an iterable of such pairs, sync or async. Each
                pair is run as by `arun(state, run_id=run_id)`.
            load_policy: The loaders to call, as in `run`.
            limit: The most runs at once.
            once: Whether finished runs give their stored state, as in `run`.

        Returns:
            A stream of one `RunResult` for each run, failures beside successes.

        Raises:
            InvalidTypeError, InvalidValueError: An argument is invalid. Raised by the stream if
                it is an item of an iterable.
            DrainingError: By the stream: the flow is drained, and the rest of `runs` was not
                taken. A pending wait for the source is cancelled. A pair taken at that moment is
                a result with this error.
        """
        return map_runs(self._core, runs, load_policy, limit=limit, once=once)

    def astream(
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
        request = core.request(state, load_policy, checkpoint, until, once=once, update=update)
        seconds, name = checked_wait(wait), checked_run_id(run_id)

        async def run(hook: Hook) -> None:
            await core.run_async(await core.async_backend(), request, name, seconds, hook)

        return Stream(run_events(run), of="events")

    def aresume_all(self, *, limit: int = 100) -> Stream[RunResult]:
        """Resume every unfinished run that no process owns, as a service does when it starts.

        Killed, cancelled, failed and stopped runs are unfinished. Paused runs are skipped, and so
        are runs that another task or process is running or takes first. Leaving the loop early
        cancels the resumed runs, and the next call resumes them. Under `contextlib.aclosing` they
        have ended when the block ends.

        Args:
            limit: The most runs at once.

        Returns:
            A stream of one `RunResult` for each run as it ends, failures beside successes.

        Raises:
            InvalidTypeError, InvalidValueError: `limit` is invalid, or the handler is a user's
                own class, which stores one state.
            StorageError: By the stream: the place cannot be read.
            DrainingError: By the stream: the flow is drained, and not all runs were resumed.
        """
        return resume_runs(self._core, limit)

    async def adrain(self, timeout: float | None = None) -> list[str | None]:  # noqa: ASYNC109 - it raises nothing
        """Stop all runs of this flow object behind their current steps, as before a shutdown.

        No new run begins. Each running one finishes its step, is stored as "stopped", and raises
        `DrainingError` in its caller. A run that waits between two attempts at a step makes no
        further attempt. Another process resumes them with `aresume_all` or with `arun`. Runs of
        other processes and of other flow objects are left alone. A drained flow stays drained. A
        hook of the flow must not await this call, which would wait for the hook's own run. It
        may start the call in a task.

        Args:
            timeout: The most seconds to wait. By default until all runs have stopped.

        Returns:
            The ids of the runs that are still in a step when the time is over, or an empty list.
            Such runs may be cancelled, or end with the process: their checkpoints hold the state
            as it was on entry to the step.

        Raises:
            InvalidTypeError, InvalidValueError: `timeout` is invalid.
            DrainingError: It was called before, or by a step of the flow.
        """
        seconds = None if timeout is None else checked_timeout(timeout, least=0.0)
        return await self._core.drain(seconds)
