"""The public methods that queue runs, for workers in this process or another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from aiocheckpoint._concurrency.backends import run_blocking
from aiocheckpoint._model.state_type import StateT
from aiocheckpoint._runs.flow_methods import FlowMethods
from aiocheckpoint._runs.submitting import checked_submit, requeue_run, submit_run, submit_runs

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.run_result import RunResult
    from aiocheckpoint._runs.pairs import Runs

__all__ = ["RunQueue"]


class RunQueue(FlowMethods[StateT]):
    """Queues runs to be worked off, and makes stored ones due again."""

    @overload
    async def asubmit(
        self,
        runs: StateT,
        /,
        *,
        run_id: str,
        due: timedelta | datetime | None = None,
        once: bool = False,
    ) -> Header: ...

    @overload
    async def asubmit(
        self,
        runs: Runs[StateT],
        /,
        *,
        due: timedelta | datetime | None = None,
        once: bool = False,
    ) -> list[RunResult[StateT]]: ...

    async def asubmit(
        self,
        runs: Any,
        /,
        *,
        run_id: str | None = None,
        due: timedelta | datetime | None = None,
        once: bool = False,
    ) -> Header | list[RunResult[StateT]]:
        """Queue a run, or many, for `awork` of this process or another. No step is run here.

        `await cp.asubmit(order, run_id="order-42")` queues one run and gives its header.
        `await cp.asubmit({"order-42": order, ...})` queues many and gives a `RunResult` for each,
        errors beside successes. When the call returns, all that was accepted is stored as durably
        as a snapshot. A cancelled call leaves each run whole or not at all.

        A run of which nothing is stored, or that has finished, is queued as a new run. An
        unfinished one that began with an equal state is left as it is, its `due` too, so that a
        request can be repeated. `arequeue` makes it due now. Also a run in progress is left so. An
        unfinished one is left with a warning in the log where the states differ only in values that
        are no plain data, or cannot be compared, as no digest is stored. A drained flow takes runs
        as well.

        `aresume(run_id, wait=60)` waits for the result, and so does `arun(run_id=run_id,
        once=True, wait=60)`. A plain `arun` of a run that has just finished begins a new one.

        Args:
            runs: The state of the run. Or, without `run_id`, a dict of states by run id, or an
                iterable of such pairs, sync or async. Runs that share a dict, and are not stored
                yet, are refused. An int under the key `checkpoint_index`, as `read` gives it, is
                left out. Anything else under a reserved key is refused.
            run_id: The id of one run.
            due: The time before which workers leave the runs alone: a `timedelta` from now on, or
                a `datetime` with a time zone. By default they are due at once.
            once: Whether finished runs are left as they are, too.

        Returns:
            The header of the run as it is stored now. Of many runs a list of results in the order
            of `runs`, without states. The status of each is "queued", or that of the stored run
            that was left as it is.

        Raises:
            StateConflictError: The stored run is unfinished and began with another state. Under
                `conflict="raise"` also a finished one, for `once=True`.
            RunTerminatedError: The stored run was ended for good.
            FlowChangedError: The stored run is another flow's.
            RunInProgressError: The run neither begins nor ends within 10 s, though a process has
                its lock.
            FlowDefinitionError: The flow has no steps.
            InvalidTypeError, InvalidValueError: An argument is invalid, a reserved key of the
                state holds a value, or the handler is a user's own class, which stores one state.
            UnserializableStateError: The state holds a value that cannot be stored.
            StorageError, CorruptSnapshotError, UntrustedSnapshotError,
            IncompatibleSnapshotError: See `CheckpointFlow.run`.
            Exception: What an iterable raises. The runs before are stored then.
        """
        submitted = checked_submit(runs, run_id, due, once)
        backend = await self._core.async_backend()
        if submitted.run_id is not None:
            return await submit_run(self._core, backend, submitted)
        return await submit_runs(self._core, backend, submitted, "asubmit")

    @overload
    def submit(
        self,
        runs: StateT,
        /,
        *,
        run_id: str,
        due: timedelta | datetime | None = None,
        once: bool = False,
    ) -> Header: ...

    @overload
    def submit(
        self,
        runs: Runs[StateT],
        /,
        *,
        due: timedelta | datetime | None = None,
        once: bool = False,
    ) -> list[RunResult[StateT]]: ...

    def submit(
        self,
        runs: Any,
        /,
        *,
        run_id: str | None = None,
        due: timedelta | datetime | None = None,
        once: bool = False,
    ) -> Header | list[RunResult[StateT]]:
        """Queue a run, or many, as `asubmit` does, in scripts and notebooks.

        An async iterable is for `asubmit` alone.
        """
        core, submitted = self._core, checked_submit(runs, run_id, due, once, blocking=True)
        if submitted.run_id is not None:
            return run_blocking(lambda backend: submit_run(core, backend, submitted))
        return run_blocking(lambda backend: submit_runs(core, backend, submitted, "submit"))

    async def arequeue(self, run_id: str | None, *, reason: str | None = None) -> Header:
        """Make a stopped, failed, cancelled or terminated run due now, and count its starts anew.

        A run that has begun is then stopped, with `stopped_by` "requeue", and goes on at its step.
        One that has not is queued. A queued run is due now, and so is one whose process was
        killed. The header alone is written, and no state is loaded. The record of what the run
        broke on stays until it is past that step.

        Args:
            run_id: The run, or None for the one without an id.
            reason: Who does so, or why, for `Header.actor` and the log. Plain text, without
                secrets. It stays in the header until the run goes on.

        Returns:
            The header as it is stored now.

        Raises:
            RunNotFoundError: No run of this id is stored.
            RunInProgressError: The run is in progress.
            RunStatusError: The run is finished, or waits in a pause.
            InvalidTypeError, InvalidValueError: `run_id` is no id, or the handler is a user's own
                class.
            StorageError, CorruptSnapshotError, UntrustedSnapshotError,
            IncompatibleSnapshotError: See `CheckpointFlow.run`.
        """
        backend = await self._core.async_backend()
        return await requeue_run(self._core, backend, run_id, reason)

    def requeue(self, run_id: str | None, *, reason: str | None = None) -> Header:
        """Make a stored run due now, as `arequeue` does, in scripts and notebooks."""
        return run_blocking(lambda backend: requeue_run(self._core, backend, run_id, reason))
