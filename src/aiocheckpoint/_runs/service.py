"""What a service does with the runs of a flow: many at once, watched, resumed, drained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint._model.checks import checked_limit, checked_timeout, checked_wait
from aiocheckpoint._model.plan import check_policy
from aiocheckpoint._model.request import LoadPolicy, Request
from aiocheckpoint._runs.arguments import check_request
from aiocheckpoint._runs.stored import StoredRuns
from aiocheckpoint.handlers._identifiers import check_run_id

if TYPE_CHECKING:
    from aiocheckpoint._engine.context import FlowSettings
    from aiocheckpoint._engine.runner import RunOutcome
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.run_result import RunResult
    from aiocheckpoint._runs.results import Runs
    from aiocheckpoint._runs.streams import Stream
    from aiocheckpoint.events import Event, Hook

__all__ = ["ServedRuns"]


class ServedRuns(StoredRuns):
    """The runs of a flow in a service; a base of `CheckpointFlow`."""

    _settings: FlowSettings

    def amap(
        self,
        runs: Runs,
        load_policy: LoadPolicy = "first only",
        *,
        limit: int = 100,
        once: bool = False,
    ) -> Stream[RunResult]:
        """Run many runs, a number of them at once, and give their results as they end.

        `async for result in cp.amap(...)` gives them one by one, and never holds more than `limit`
        runs and untaken results together: the next pair is taken from `runs` only when there is
        room. `await cp.amap(...)` gives a list of all. Where taking a pair raises, the runs
        under way come to their end first. Leaving the loop early cancels them.

        Args:
            runs: A dict of states by run id; or an iterable, sync or async, of pairs of the two.
                Each run is one of `arun(state, run_id=run_id)`.
            load_policy: As in `run`.
            limit: The most that are under way at once.
            once: As in `run`.

        Returns:
            A stream of one `RunResult` for each, failures beside successes.

        Raises:
            InvalidTypeError, InvalidValueError: An argument cannot be meant; from the stream,
                where it is a pair that an iterable gave.
            DrainingError: From the stream: the flow is drained, and what is left of `runs` was
                not taken; a source that was waited for is cancelled. A pair that was taken at
                that moment is a result with this error.
        """
        from aiocheckpoint._runs.results import checked_runs, each, outcome  # noqa: PLC0415
        from aiocheckpoint._runs.streams import Stream, outcomes  # noqa: PLC0415

        at_once = checked_limit(limit)
        check_policy(self._steps, load_policy)
        self._request(None, load_policy, once=once)

        async def run(pair: tuple[str, dict[str, Any]]) -> RunResult:
            run_id, state = pair
            request = self._request(state, load_policy, once=once)
            return await outcome(self._resume, request, run_id)

        drain = self._settings.drain
        return Stream(outcomes(each(checked_runs(runs), drain), run, at_once, drain))

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

        The run begins with the loop, `async for event in cp.astream(...)`, and waits where it is
        16 events ahead of it. Leaving the loop early cancels the run as `task.cancel()` does:
        cleanly, to be resumed; under `contextlib.aclosing` that is done when the block ends. The
        flow's hooks are told all events as well.

        The arguments are those of `run`.

        Returns:
            A stream of `aiocheckpoint.events`. Nothing happens, and it is empty, where `once=True`
            finds that the run finished.

        Raises:
            InvalidTypeError, InvalidValueError: As in `run`.
            StreamConsumedError: By a second loop over the stream.
            BaseException: By the loop, all else that `arun` raises, behind the last event.
        """
        from aiocheckpoint._runs.streams import Stream, events_of  # noqa: PLC0415

        request = self._request(state, load_policy, checkpoint, until, once=once, update=update)
        seconds, name = checked_wait(wait), check_run_id(run_id)
        return Stream(events_of(lambda hook: self._resume(request, name, seconds, hook)))

    def aresume_all(self, *, limit: int = 100) -> Stream[RunResult]:
        """Resume every unfinished run that nobody owns, as a service does when it starts.

        Unfinished are the runs whose process was killed, and those that were cancelled, broke or
        were stopped; not those that are paused. What is under way in this process or another is
        left alone, and so is what another process takes first. Leaving the loop early cancels
        those under way here, which are resumed the next time; under `contextlib.aclosing` that is
        done when the block ends.

        Args:
            limit: The most that are under way at once.

        Returns:
            A stream of one `RunResult` for each, as they end, failures beside successes; see
            `amap`.

        Raises:
            InvalidTypeError, InvalidValueError: As in `aruns`.
            StorageError: From the stream: the place cannot be read.
            DrainingError: From the stream: the flow is drained, and not all were resumed.
        """
        from aiocheckpoint._runs.results import resumed, unfinished  # noqa: PLC0415
        from aiocheckpoint._runs.streams import Stream, outcomes  # noqa: PLC0415

        at_once, handler = checked_limit(limit), self._many()
        request = self._request(None, unfinished_only=True)

        async def resume(header: Header) -> RunResult | None:
            return await resumed(self._resume, request, handler, header.run_id)

        drain = self._settings.drain
        return Stream(outcomes(unfinished(handler, drain), resume, at_once, drain))

    async def adrain(self, timeout: float | None = None) -> list[str | None]:  # noqa: ASYNC109 - it raises nothing
        """Stop all runs of this flow object behind the steps they are in, as before a shutdown.

        No run begins any more. Each that is under way comes to the end of its step, is stored as
        "stopped" and raises `DrainingError` where it was awaited; one that waits for another
        attempt at its step makes none. The next process goes on with them, by `aresume_all` or
        by running them again. What is running in other processes, or by another flow object, is
        left alone. There is no way back: a flow that was drained stays so. A hook of the flow
        that awaited this would wait for its own run; it may start it in a task.

        Args:
            timeout: The most seconds to wait for them; by default until all have stopped.

        Returns:
            The ids of the runs that are still in a step when the time is over; an empty list
            when all have stopped. Those may be cancelled, or end with the process: their
            checkpoints hold the state as it was on entry to the step.

        Raises:
            InvalidTypeError, InvalidValueError: `timeout` cannot be meant.
            DrainingError: It was called before, or by a step of the flow.
        """
        seconds = None if timeout is None else checked_timeout(timeout, least=0.0)
        return await self._settings.drain.drain(seconds)

    async def _resume(
        self, request: Request, run_id: str | None, wait: float = 0.0, hook: Hook | None = None
    ) -> RunOutcome:
        raise NotImplementedError

    def _request(
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
        request = Request(
            state=state,
            load_policy=load_policy,
            checkpoint=checkpoint,
            until=until,
            once=once,
            update=update,
            unfinished_only=unfinished_only,
            keep_data=self._settings.keep_data,
        )
        check_request(request, self.handler)
        return request
