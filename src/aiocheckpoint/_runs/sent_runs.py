"""Whole runs that are sent to workers: what travels there, is run there, and travels back.

`execute_run` is called in the worker. It raises nothing, so that an exception of the executor is
never one of the run.
"""

from __future__ import annotations

import asyncio
import pickle
import secrets
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from aiocheckpoint._concurrency import forks
from aiocheckpoint._engine.sent_states import packed_state, unpacked_state
from aiocheckpoint._runs.results import drop_states
from aiocheckpoint._snapshot.pickling.sent_errors import SentError, packed_error
from aiocheckpoint.errors import RunTerminatedError

if TYPE_CHECKING:
    from aiocheckpoint._engine.outcomes import RunOutcome
    from aiocheckpoint._model.header import Status
    from aiocheckpoint._model.request import LoadPolicy, Request
    from aiocheckpoint._runs.core import FlowCore

__all__ = ["RunAnswer", "SentFlow", "SentRun", "execute_run"]

_MOST_FLOWS = 8
"""The flows that a worker keeps for further runs. Workers of a cluster serve many programs."""


class SentFlow:
    """A flow on its way to workers, with each of its runs. A worker loads it once.

    Args:
        core: The core of the flow. In its own process it is the flow.
        pickled: The flow, pickled. None for a worker that is a thread of this process.
    """

    __slots__ = ("key", "pickled")

    def __init__(self, core: FlowCore, pickled: bytes | None) -> None:
        self.key: str = secrets.token_hex(8)
        self.pickled: bytes | None = pickled
        _FLOWS.put(self.key, core)

    def core(self) -> FlowCore:
        """Give the core of the flow in this process.

        Raises:
            Exception: It cannot be loaded here.
        """
        return _FLOWS.get(self)

    def forget(self) -> None:
        """Keep the core no longer for runs in this process: all have ended."""
        _FLOWS.drop(self.key)


class _Flows:
    """The flows that this process has sent or loaded, by the key of each."""

    def __init__(self) -> None:
        self._process, self._lock = forks.process, threading.Lock()
        self._cores: dict[str, FlowCore] = {}

    def put(self, key: str, core: FlowCore) -> None:
        self._leave_those_of_parent()
        with self._lock:
            self._put(key, core)

    def get(self, sent: SentFlow) -> FlowCore:
        self._leave_those_of_parent()
        with self._lock:
            core = self._cores.get(sent.key)
            if core is None:
                if sent.pickled is None:
                    raise AssertionError(sent.key)
                core = pickle.loads(sent.pickled)._core  # noqa: S301, SLF001 - from the flow's own program
                self._put(sent.key, core)
            return cast("FlowCore", core)

    def drop(self, key: str) -> None:
        with self._lock:
            self._cores.pop(key, None)

    def _put(self, key: str, core: FlowCore) -> None:
        self._cores[key] = core
        if len(self._cores) > _MOST_FLOWS:
            del self._cores[next(iter(self._cores))]

    def _leave_those_of_parent(self) -> None:
        if self._process is not forks.process:
            self._process, self._lock = forks.process, threading.Lock()
            self._cores = {}


_FLOWS = _Flows()


class SentRun:
    """A run on its way to a worker. One object, since engines look into tuples.

    Args:
        flow: The flow.
        run_id: The run.
        state: Its state, pickled.
        load_policy: The loaders to call.
        least_number: The number from which on a finished run is this one, and is not run again.
        wait: Seconds to wait for the owner of an earlier try.
        returns_state: Whether the final state travels back.

    Attributes:
        tries: How often it was sent before. An engine that knows calls by their arguments does not
            take it for one of those.
    """

    __slots__ = (
        "flow",
        "least_number",
        "load_policy",
        "returns_state",
        "run_id",
        "state",
        "tries",
        "wait",
    )

    def __init__(
        self,
        flow: SentFlow,
        run_id: str,
        state: bytes,
        *,
        load_policy: LoadPolicy | None,
        wait: float,
        returns_state: bool,
        least_number: int = 1,
    ) -> None:
        self.flow, self.run_id, self.state = flow, run_id, state
        self.load_policy: LoadPolicy | None = load_policy
        self.least_number: int = least_number
        self.wait, self.returns_state = wait, returns_state
        self.tries = 0


class RunAnswer(NamedTuple):
    """How a run has ended. Plain values, which any executor gives back.

    Attributes:
        status: The status of the run. None where an exception other than a termination ended it.
        pause_number: The number of the pause of a paused run.
        state: The final state, pickled, where it was asked for.
        error: The exception, or None.
    """

    status: Status | None
    pause_number: int = 0
    state: bytes | None = None
    error: SentError | None = None


def execute_run(sent: SentRun) -> RunAnswer:
    """Run a run, in a worker, and give back how it ended."""
    try:
        core = sent.flow.core()
        modules = core.settings.modules
        outcome = _run(core, sent, unpacked_state(sent.state, modules))
        state = packed_state(outcome.state, modules) if sent.returns_state else None
        return RunAnswer(outcome.status, outcome.pause_number, state)
    except BaseException as error:  # noqa: BLE001 - it is the result of the run
        drop_states(error)
        status: Status | None = "terminated" if isinstance(error, RunTerminatedError) else None
        return RunAnswer(status, error=packed_error(error))


def _run(core: FlowCore, sent: SentRun, state: dict[str, Any]) -> RunOutcome:
    request = core.request(state, sent.load_policy, once=True, run_id=sent.run_id)
    request.least_number = sent.least_number
    request.remembers, request.unattended = False, True
    if core.registry.steps.limited is None:
        # Sync steps are in the worker's own thread, as engines expect of what they call.
        return core.run_blocking(request, sent.run_id, sent.wait)
    return asyncio.run(_run_async(core, request, sent))


async def _run_async(core: FlowCore, request: Request, sent: SentRun) -> RunOutcome:
    return await core.run_async(await core.async_backend(), request, sent.run_id, sent.wait)
