"""Running many runs on a loop: stopped by signals behind their steps, and shown as they end."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.outcomes import Outcome
from aiocheckpoint._cli.problems import CommandProblem
from aiocheckpoint._cli.reports import Report
from aiocheckpoint._cli.signals import Stoppable
from aiocheckpoint._cli.waits import MOST_AT_ONCE
from aiocheckpoint._model.failure_texts import CANCELLATIONS
from aiocheckpoint.errors import DrainingError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from aiocheckpoint import CheckpointFlow, RunResult, Stream
    from aiocheckpoint._cli.context import Context

__all__ = ["Many"]


class Many:
    """Many runs of a command.

    The first signal drains the flow, and a second one cancels the runs.

    Args:
        context: The command. Of its arguments, `limit` is the most runs at once, and with
            `fail_fast` the first failure drains the flow.
        flow: The flow of the runs.

    Attributes:
        report: The report of the runs that have ended.
        stoppable: The work, as signals stop it.
    """

    def __init__(self, context: Context, flow: CheckpointFlow[Any]) -> None:
        self.report = Report(context.output)
        self.stoppable = Stoppable(flow, context.output.words)
        self._flow, self._output = flow, context.output
        self._limit: int = getattr(context.arguments, "limit", MOST_AT_ONCE)
        self._fails_fast: bool = getattr(context.arguments, "fail_fast", False)

    def work(
        self,
        runs: Callable[[], Awaitable[None]],
        *,
        of_one: bool = False,
        is_worker: bool = False,
    ) -> int:
        """Run the runs, report them, and give the exit code.

        Args:
            runs: Runs them.
            of_one: Whether the exit code is that of the only run.
            is_worker: Whether a drain by a signal is the good end of the work.
        """

        async def work() -> None:
            async with self._flow:
                await runs()

        try:
            with self._output.alone():
                self.stoppable.run(work)
        except CANCELLATIONS:
            self.report.end(f"{self.report.sum} The runs in progress were cancelled.")
            return self.stoppable.exit_code or ExitCode.INTERRUPTED
        except SystemExit:
            self.report.end()
            problem = "a step has called sys.exit, which ends this command. Its run has failed."
            raise CommandProblem(problem) from None
        self.report.end()
        if is_worker and len(self.stoppable.received) == 1:
            return ExitCode.DONE
        return self.stoppable.exit_code or self.report.code(of_one=of_one)

    async def results(self, make: Callable[[], Stream[RunResult[Any]]]) -> None:
        """Report the results of a stream as they come. A drain ends it.

        Args:
            make: Makes the stream, now that the flow is open.
        """
        stream = make()
        try:
            async with aclosing(stream):
                async for result in stream:
                    self._add(Outcome.of_result(result))
        except DrainingError:
            if not (self.stoppable.received or self.report.failed):
                raise

    async def each(
        self,
        run_ids: Sequence[str | None],
        call: Callable[[CheckpointFlow[Any], str | None], Awaitable[Outcome]],
    ) -> None:
        """Call a function for each run, so many at once as `--limit` says, and report them."""
        waiting, most = iter(run_ids), min(len(run_ids), self._limit)
        # Not in a TaskGroup: the error of a closed pipe is to come out as it is.
        await asyncio.gather(*(self._take(waiting, call) for _ in range(most)))

    async def _take(
        self,
        waiting: Iterator[str | None],
        call: Callable[[CheckpointFlow[Any], str | None], Awaitable[Outcome]],
    ) -> None:
        for run_id in waiting:
            try:
                outcome = await call(self._flow, run_id)
            except Exception as error:  # noqa: BLE001 - steps raise anything
                outcome = Outcome.of_error(run_id, error)
            self._add(outcome)
            if self.stoppable.is_draining:
                return

    def _add(self, outcome: Outcome) -> None:
        self.report.add(outcome)
        if self._fails_fast and self.report.failed:
            self.stoppable.drain()
