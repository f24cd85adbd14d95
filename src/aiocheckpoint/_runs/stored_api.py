"""The public methods that read, list and change the stored runs of a flow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint._concurrency.backends import run_blocking
from aiocheckpoint._runs.core import FlowMethods
from aiocheckpoint._runs.queries import listing_query, pruning_query
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

__all__ = ["StoredRuns"]


class StoredRuns(FlowMethods):
    """Reads, lists, patches and deletes the stored runs of a flow.

    `CheckpointFlow` inherits from it and from `RunService`, because their signatures and
    docstrings in one class would fill a module of 600 lines. The functions of this package do the
    work.
    """

    async def aread(self, run_id: str | None = None) -> dict[str, Any]:
        """Read the state of a run, even while it is running.

        Returns:
            The state, with the index of the step at which the next run starts under the key
            `checkpoint_index`. An empty dict where nothing is stored.

        Raises:
            InvalidTypeError, InvalidValueError: `run_id` is no id.
            StorageError, CorruptSnapshotError, UntrustedSnapshotError,
            IncompatibleSnapshotError: See `CheckpointFlow.run`.
        """
        return await read_state(self._core, await self._core.reading_backend(), run_id)

    def read(self, run_id: str | None = None) -> dict[str, Any]:
        """Read the state of a run, as `aread` does, in scripts and notebooks."""
        return run_blocking(lambda backend: read_state(self._core, backend, run_id))

    async def aruns(
        self,
        status: Status | Collection[Status] | None = None,
        *,
        limit: int | None = None,
        after: Header | None = None,
    ) -> list[Header]:
        """List the headers of the stored runs, the newest run first, and read no state.

        A run whose snapshot is damaged or badly signed is left out, and the log warns of it.

        Args:
            status: List runs of this status, or of several: "running" (in progress, or killed),
                "stopped", "paused", "failed", "cancelled", "finished". All by default.
            limit: The most headers to list. All by default.
            after: The last header of the page before, for the next page.

        Returns:
            The headers. The handler "sqlite" names in `owner` the process that owns a running one.

        Raises:
            InvalidTypeError, InvalidValueError: An argument is invalid, or the handler is a
                user's own class, which stores one state.
            StorageError: The place cannot be read.
        """
        query = listing_query(status, limit, after)
        backend = await self._core.reading_backend()
        return await backend.read(self._core.snapshot_handler().runs, query)

    def runs(
        self,
        status: Status | Collection[Status] | None = None,
        *,
        limit: int | None = None,
        after: Header | None = None,
    ) -> list[Header]:
        """List the headers of the stored runs, as `aruns` does, in scripts and notebooks."""
        query = listing_query(status, limit, after)
        return self._core.snapshot_handler().runs(query)

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
        run_id: str | None,
        values: dict[str, Any],
        checkpoint: int | str | None = None,
    ) -> Header:
        """Change the stored state of a run that is not running, and where it resumes.

        To skip a step whose work was done by hand, pass the `checkpoint` behind it. The record of
        a failure is deleted, and the next run resumes this one. A paused run stays paused unless
        `checkpoint` is given.

        Args:
            run_id: The run, or None for the one without an id.
            values: Values to put into the stored state, as by `dict.update`. May be empty.
            checkpoint: Index or name of the step to resume at. The number of steps means that
                none is left, and that the run is finished. By default the position stays.

        Returns:
            The header as it is stored now.

        Raises:
            InvalidTypeError, InvalidValueError: An argument is invalid, nothing is stored, or the
                handler is a user's own class.
            RunInProgressError: The run is running.
            UnserializableStateError: A value cannot be stored.
            StorageError, CorruptSnapshotError, UntrustedSnapshotError,
            IncompatibleSnapshotError: See `CheckpointFlow.run`.
        """
        patch = make_patch(self._core, run_id, values, checkpoint)
        return await (await self._core.async_backend()).run(patch)

    def patch(
        self,
        run_id: str | None,
        values: dict[str, Any],
        checkpoint: int | str | None = None,
    ) -> Header:
        """Change the stored state of a run, as `apatch` does, in scripts and notebooks."""
        return make_patch(self._core, run_id, values, checkpoint)()

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
        query = pruning_query(older_than, status)
        backend = await self._core.async_backend()
        return await backend.run(self._core.snapshot_handler().prune, query)

    def prune(
        self,
        older_than: float | timedelta,
        status: Status | Collection[Status] = "finished",
    ) -> int:
        """Delete runs that ended long ago, as `aprune` does, in scripts and notebooks."""
        query = pruning_query(older_than, status)
        return self._core.snapshot_handler().prune(query)
