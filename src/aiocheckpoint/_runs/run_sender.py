"""Whole runs on an executor: each is sent, awaited, and sent again where its worker was lost."""

from __future__ import annotations

import asyncio
import os
import socket
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from aiocheckpoint._concurrency.daemon_threads import DaemonThreads
from aiocheckpoint._concurrency.renewed_executor import may_be_executor
from aiocheckpoint._concurrency.threads import run_in_thread
from aiocheckpoint._concurrency.worker_losses import is_loss
from aiocheckpoint._engine.sent_states import packed_state, unpacked_state
from aiocheckpoint._model.run_result import RunResult
from aiocheckpoint._runs.generations import Generations
from aiocheckpoint._runs.sent_flows import pickled_for_workers
from aiocheckpoint._runs.sent_runs import SentFlow, SentRun, execute_run
from aiocheckpoint._snapshot.pickling.sent_errors import SentTraceback, unpacked_error
from aiocheckpoint.errors import (
    InvalidTypeError,
    InvalidValueError,
    RemoteError,
    RunInProgressError,
    WorkerLostError,
)
from aiocheckpoint.handlers._identifiers import checked_run_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor, Future

    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.request import LoadPolicy
    from aiocheckpoint._model.state_type import Data
    from aiocheckpoint._runs.core import FlowCore
    from aiocheckpoint._runs.flow_methods import FlowMethods
    from aiocheckpoint._runs.generations import Generation
    from aiocheckpoint._runs.sent_runs import RunAnswer

__all__ = ["RunSender"]

_LEAST_WAIT = 60.0
_LEASES_TO_WAIT = 3.0
"""A worker waits so long for the owner of an earlier try, which counts as gone after a lease."""
_IDLE_SECONDS = 5.0
_REMEDY = (
    "It is broken, and takes no calls any more. Give executor= a function that makes one, and it "
    "is made anew."
)


class RunSender:
    """Sends the runs of one call to an executor.

    Args:
        flow: The flow.
        core: Its core.
        executor: The executor, or a function that makes it.
        lost: How often the worker of a run may be lost, and the run be sent again.
        states: Whether final states travel back.

    Attributes:
        load_policy: The loaders to call.
        once: Whether finished runs give their stored state.

    Raises:
        InvalidTypeError, InvalidValueError: The executor is none, `lost` is no number, or the
            handler is a user's own class.
        UnpicklableFlowError: Workers cannot have the flow.
    """

    def __init__(
        self,
        flow: FlowMethods[Any],
        core: FlowCore,
        executor: Executor | Callable[[], Executor],
        *,
        lost: int,
        states: bool,
    ) -> None:
        handler = core.snapshot_handler()
        self.load_policy: LoadPolicy | None = None
        self.once: bool = False
        self._core, self._lost, self._states = core, _checked_lost(lost), states
        self._wait = max(_LEAST_WAIT, _LEASES_TO_WAIT * (getattr(handler, "lease", None) or 0.0))
        _check_executor(executor)
        self._threads = DaemonThreads("aiocheckpoint-sender", 1, idle_seconds=_IDLE_SECONDS)
        self._executors = Generations(executor, partial(run_in_thread, self._threads))
        in_threads = isinstance(executor, ThreadPoolExecutor)
        self._flow = SentFlow(core, None if in_threads else pickled_for_workers(flow))
        self._in_flight: set[str] = set()

    async def result(self, pair: tuple[str, Data]) -> RunResult:
        """Send a run, and give its result. An exception of the executor is one, too."""
        run_id, state = pair
        if run_id in self._in_flight:
            location = self._core.snapshot_handler().locate(run_id)
            error = RunInProgressError(location, pid=os.getpid(), host=socket.gethostname())
            return RunResult(run_id=run_id, state=None, error=error)
        self._in_flight.add(run_id)
        try:
            return await self._result(checked_run_id(run_id) or "", state)
        except Exception as error:  # noqa: BLE001 - executors raise anything
            return RunResult(run_id=run_id, state=None, error=error)
        finally:
            self._in_flight.discard(run_id)

    async def close(self) -> None:
        """Shut down what a function has made, once all runs have ended."""
        try:
            await self._executors.close()
        finally:
            self._flow.forget()
            self._threads.shutdown(wait=False)

    async def _result(self, run_id: str, state: Data) -> RunResult:
        modules = self._core.settings.modules
        sent = SentRun(
            *(self._flow, run_id, packed_state(state, modules)),
            load_policy=self.load_policy,
            wait=self._wait,
            returns_state=self._states,
        )
        del state
        looked = await self._stored_header(run_id)
        if not self.once:
            sent.least_number = _least_number(looked)
        losses = 0  # Of workers that may have been lost by this run.
        while True:
            self._core.settings.active_runs.check()
            try:
                answer = await self._answer(sent, looked)
            except _LostWorkerError as loss:
                looked = loss.found
                sent.tries += 1
                losses += loss.counts
                if loss.is_last or losses > self._lost:
                    remedy = _REMEDY if loss.is_last else ""
                    raise WorkerLostError(run_id, max(losses, 1), remedy=remedy) from loss.__cause__
                continue
            return self._result_of(run_id, answer)

    async def _answer(self, sent: SentRun, before: Header | None) -> RunAnswer:
        """Send a run once.

        Raises:
            _LostWorkerError: Its worker was lost.
            BaseException: The executor raised it.
        """
        generation = await self._executors.last()
        call = object()
        generation.enter(call)
        try:
            future = await self._executors.submit(generation, execute_run, sent)
            answer: RunAnswer = await self._end_of(future, generation)
        except Exception as error:
            self._core.settings.active_runs.check()
            if not is_loss(error):
                raise
            found = await self._stored_header(sent.run_id)
            has_begun = _facts_of_claim(found) != _facts_of_claim(before)
            if not isinstance(error, BrokenExecutor):
                raise _LostWorkerError(found, counts=True) from error
            if not self._executors.renews:
                raise _LostWorkerError(found, counts=has_begun, is_last=True) from error
            await self._executors.drop(generation)
            counts = await generation.settle(call, has_begun=has_begun)
            raise _LostWorkerError(found, counts=counts) from error
        finally:
            generation.leave(call)
        return answer

    async def _end_of(self, future: Future[RunAnswer], generation: Generation) -> RunAnswer:
        """Wait for the end of a call.

        A cancellation withdraws what has not begun, and else waits. A drain only withdraws.
        """
        ended, loop = asyncio.Event(), asyncio.get_running_loop()

        def tell(_: object) -> None:
            with suppress(RuntimeError):  # The loop was closed under the run.
                loop.call_soon_threadsafe(ended.set)

        future.add_done_callback(tell)

        def withdraw() -> None:
            if generation.tells_begin:
                future.cancel()

        with self._core.settings.active_runs.on_drain(withdraw):
            try:
                await ended.wait()
            except asyncio.CancelledError:
                future.cancel()
                await _wait_through(ended)
                raise
        return future.result()

    def _result_of(self, run_id: str, answer: RunAnswer) -> RunResult:
        """Make the result of a run from the answer of its worker."""
        if answer.error is not None:
            error = unpacked_error(answer.error, self._core.settings.modules)
            if error is None:
                error = RemoteError(run_id, answer.error.kind, answer.error.text)
                error.__cause__ = SentTraceback(answer.error.text)
            return RunResult(run_id=run_id, state=None, error=error, status=answer.status)
        state = None
        if answer.state is not None:
            state = unpacked_state(answer.state, self._core.settings.modules)
        return RunResult(
            run_id=run_id,
            state=state,
            error=None,
            status=answer.status,
            pause_number=answer.pause_number,
        )

    async def _stored_header(self, run_id: str) -> Header | None:
        """Read the stored header of a run, without its state."""
        backend = await self._core.reading_backend()
        header: Header | None = await backend.read(self._core.snapshot_handler().header, run_id)
        return header


class _LostWorkerError(Exception):
    """The worker of a run was lost. The cause is the error of the executor.

    Args:
        found: The stored header of the run behind it, or None.
        counts: Whether the loss may be due to the run.
        is_last: Whether the run cannot be sent again.
    """

    def __init__(self, found: Header | None, *, counts: bool, is_last: bool = False) -> None:
        super().__init__()
        self.found, self.counts, self.is_last = found, counts, is_last


async def _wait_through(ended: asyncio.Event) -> None:
    """Wait for an event, whatever cancels the wait meanwhile."""
    while not ended.is_set():
        with suppress(asyncio.CancelledError):
            await ended.wait()


def _least_number(stored: Header | None) -> int:
    """The number from which on a finished run is the one that is sent now, and not an older one."""
    if stored is None:
        return 1
    return stored.number + 1 if stored.finished else max(stored.number, 1)


def _facts_of_claim(header: Header | None) -> object:
    """What changes in the store when a worker takes a run."""
    if header is None:
        return None
    return header.number, header.sequence, header.starts, header.killed, header.status


def _check_executor(executor: object) -> None:
    if not may_be_executor(executor):
        raise InvalidTypeError(
            "executor= is an executor of concurrent.futures, or a function that makes one, not a "
            f"{type(executor).__name__}."
        )


def _checked_lost(lost: object) -> int:
    if isinstance(lost, bool) or not isinstance(lost, int):
        raise InvalidTypeError(f"lost= is a number of workers, not a {type(lost).__name__}.")
    if lost < 0:
        raise InvalidValueError(f"lost={lost!r}: it is a number of workers, at least 0.")
    return lost
