"""The public methods that plan a run, and read and change the stored runs of a flow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from aiocheckpoint._concurrency.backends import run_blocking
from aiocheckpoint._model.state_type import StateT
from aiocheckpoint._runs.flow_methods import FlowMethods
from aiocheckpoint._runs.queries import pruning_query
from aiocheckpoint._runs.single_run import (
    make_delete,
    make_patch,
    read_header,
    read_state,
    reset_run,
)

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import timedelta

    from aiocheckpoint._model.header import Header, Status
    from aiocheckpoint._model.plan import Plan
    from aiocheckpoint._model.request import LoadPolicy

__all__ = ["StoredRuns"]


class StoredRuns(FlowMethods[StateT]):
    """Plans the next run, and reads, patches and deletes the stored runs of a flow."""

    def plan(
        self,
        state: StateT | None = None,
        load_policy: LoadPolicy | None = None,
        checkpoint: int | str | None = None,
        *,
        run_id: str | None = None,
        until: int | str | None = None,
    ) -> Plan:
        """Plan what `run` with these arguments would do, and do nothing of it.

        Returns:
            The plan. Print it to read it in words. If the run would be refused, `refused` is the
            error that it would raise: a flow without steps, changed steps, a run of a newer
            version or of another flow, a conflict of states under `conflict="raise"`, a checkpoint
            that is damaged, not trusted or cannot be read.

        Raises:
            InvalidTypeError, InvalidValueError: An argument is invalid.
            NoThreadError: No thread can be started to read the checkpoint.
        """
        request = self._core.request(state, load_policy, checkpoint, until)
        return run_blocking(lambda backend: self._core.plan(backend, request, run_id))

    async def aplan(
        self,
        state: StateT | None = None,
        load_policy: LoadPolicy | None = None,
        checkpoint: int | str | None = None,
        *,
        run_id: str | None = None,
        until: int | str | None = None,
    ) -> Plan:
        """Plan a run, as `plan` does, without blocking the event loop."""
        request = self._core.request(state, load_policy, checkpoint, until)
        return await self._core.plan(await self._core.async_backend(), request, run_id)

    async def aread(self, run_id: str | None = None, *, partial: bool = False) -> StateT:
        """Read the state of a run, even while it is running.

        Args:
            run_id: The run, or None.
            partial: Whether to leave out the values that cannot be loaded. A `LostValuesWarning`
                names their keys and the reasons.

        Returns:
            The state, with the index of the step at which the next run starts under the key
            `checkpoint_index`. A state that `handler.write` was given without that key has none.
            An empty dict where nothing is stored.

        Raises:
            InvalidTypeError, InvalidValueError: `run_id` is no id. Or `partial=True` is given for
                a user's own handler class.
            StorageError, CorruptSnapshotError, UntrustedSnapshotError,
            IncompatibleSnapshotError: See `CheckpointFlow.run`.
        """
        backend = await self._core.reading_backend()
        return cast("StateT", await read_state(self._core, backend, run_id, partial=partial))

    def read(self, run_id: str | None = None, *, partial: bool = False) -> StateT:
        """Read the state of a run, as `aread` does, in scripts and notebooks."""
        state = run_blocking(
            lambda backend: read_state(self._core, backend, run_id, partial=partial)
        )
        return cast("StateT", state)

    def check_point(self) -> StateT:
        """Read the state, as `read` does: the name that gumly has for it."""
        return self.read()

    async def aheader(self, run_id: str | None = None) -> Header | None:
        """Read the header of a run: its status, position and failure, even while it is running.

        Returns:
            The header, or None where nothing is stored.

        Raises:
            InvalidTypeError, InvalidValueError: `run_id` is no id.
            StorageError, CorruptSnapshotError, UntrustedSnapshotError,
            IncompatibleSnapshotError: See `CheckpointFlow.run`.
        """
        return await read_header(self._core, await self._core.reading_backend(), run_id)

    def header(self, run_id: str | None = None) -> Header | None:
        """Read the header of a run, as `aheader` does, in scripts and notebooks."""
        return run_blocking(lambda backend: read_header(self._core, backend, run_id))

    async def apatch(
        self,
        values: dict[str, Any],
        checkpoint: int | str | None = None,
        *,
        run_id: str | None = None,
        unset: Collection[str] = (),
        reason: str | None = None,
    ) -> Header:
        """Change the stored state of a run that is not running, and where it resumes.

        To skip a step whose work was done by hand, pass the `checkpoint` behind it. The record of
        a failure is deleted, and the run is stopped by "patch": it waits for `resume`, `run` or
        `requeue`. A queued, paused, terminated or finished run stays so unless `checkpoint` is
        given.

        Args:
            values: Values to put into the stored state, as by `dict.update`. May be empty.
            checkpoint: Index or name of the step to resume at. The number of steps means that
                none is left, and that the run is finished. By default the position stays.
            run_id: The run. By default the one without an id.
            unset: Keys to take out of the stored state, in a list, tuple or set.
            reason: Who does so, or why, for `Header.actor`. Plain text, without secrets. It stays
                in the header until the run goes on.

        Returns:
            The header as it is stored now.

        Raises:
            InvalidTypeError, InvalidValueError: An argument is invalid, nothing is stored, the
                state has no key that `unset` names, or the handler is a user's own class.
            RunInProgressError: The run is running.
            FlowVersionError: `checkpoint` is given, and a newer version of the flow has stored the
                run.
            UnserializableStateError: A value cannot be stored.
            StorageError, CorruptSnapshotError, UntrustedSnapshotError,
            IncompatibleSnapshotError: See `CheckpointFlow.run`.
        """
        patch = make_patch(self._core, run_id, values, checkpoint, unset=unset, reason=reason)
        return await (await self._core.async_backend()).run(patch)

    def patch(
        self,
        values: dict[str, Any],
        checkpoint: int | str | None = None,
        *,
        run_id: str | None = None,
        unset: Collection[str] = (),
        reason: str | None = None,
    ) -> Header:
        """Change the stored state of a run, as `apatch` does, in scripts and notebooks."""
        return make_patch(self._core, run_id, values, checkpoint, unset=unset, reason=reason)()

    async def areset(self, *, run_id: str | None = None) -> None:
        """Delete the checkpoint, damaged or not, so that the next run starts from the beginning.

        Raises:
            RunInProgressError: A run of this checkpoint is running.
            StorageError: The checkpoint cannot be deleted.
        """
        await reset_run(self._core, await self._core.async_backend(), run_id)

    def reset(self, *, run_id: str | None = None) -> None:
        """Delete the checkpoint, as `areset` does, in scripts and notebooks."""
        run_blocking(lambda backend: reset_run(self._core, backend, run_id))

    async def adelete(self, run_id: str) -> bool:
        """Delete a stored run, damaged or not.

        The next run under this id is its first: number and pauses count from 1 again. An old answer
        to pause 1 would then fit the new pause, so give each new piece of work an id of its own.

        Returns:
            Whether there was something to delete.

        Raises:
            InvalidTypeError, InvalidValueError: `run_id` is no id, or the handler is a user's own
                class.
            RunInProgressError: The run is running.
            StorageError: The run cannot be deleted.
        """
        delete = make_delete(self._core, run_id)
        return await (await self._core.async_backend()).run(delete)

    def delete(self, run_id: str) -> bool:
        """Delete a stored run, as `adelete` does, in scripts and notebooks."""
        return make_delete(self._core, run_id)()

    async def aprune(
        self,
        older_than: float | timedelta,
        status: Status | Collection[Status] = "finished",
    ) -> int:
        """Delete runs that ended long ago. Running ones are left alone.

        In a directory, runs that share no step name with the flow are another flow's, and are left
        alone too. A database deletes all runs of the flow's name: give each flow that shares one a
        `name=` of its own.

        Args:
            older_than: The least age of a run's newest snapshot, in seconds or as a timedelta.
            status: The status of the runs to delete, or several, as in `aruns`.

        Returns:
            How many were deleted.

        Raises:
            InvalidTypeError, InvalidValueError: An argument is invalid, or the handler is a
                user's own class.
            StorageError: The place cannot be read or written.
        """
        query = pruning_query(older_than, status, self._core.registry.steps.names)
        backend = await self._core.async_backend()
        return await backend.run(self._core.snapshot_handler().prune, query)

    def prune(
        self,
        older_than: float | timedelta,
        status: Status | Collection[Status] = "finished",
    ) -> int:
        """Delete runs that ended long ago, as `aprune` does, in scripts and notebooks."""
        query = pruning_query(older_than, status, self._core.registry.steps.names)
        return self._core.snapshot_handler().prune(query)
