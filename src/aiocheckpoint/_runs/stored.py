"""What can be done with the stored runs of a flow, beside running them."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast, get_args

from aiocheckpoint._concurrency.backends import AsyncBackend, run_blocking
from aiocheckpoint._engine.locking import hold_lock
from aiocheckpoint._model.checks import checked_limit
from aiocheckpoint._model.header import Header, Status
from aiocheckpoint._model.plan import find_step
from aiocheckpoint._snapshot.keys import POSITION_KEY
from aiocheckpoint.errors import InvalidTypeError, InvalidValueError
from aiocheckpoint.handlers._identifiers import check_run_id
from aiocheckpoint.handlers._query import Query
from aiocheckpoint.handlers._registry import moves_snapshots

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import timedelta

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._model.step_names import StepNames
    from aiocheckpoint._model.steps import Steps
    from aiocheckpoint.handlers import StateHandler
    from aiocheckpoint.handlers._run_store import RunStore

__all__ = ["StoredRuns"]


class StoredRuns:
    """The stored runs of a flow; the base of `CheckpointFlow`."""

    handler: Any
    _run_store: Callable[[str | None, Backend], RunStore]
    _steps: Steps

    async def aread(self, run_id: str | None = None) -> dict[str, Any]:
        """Read the state of a run, under way or not.

        Returns:
            The state, with the index of the step at which the next run starts under the key
            `checkpoint_index`; an empty dict where nothing is stored.

        Raises:
            InvalidTypeError, InvalidValueError: `run_id` cannot be meant.
            StorageError, CorruptSnapshotError, UntrustedSnapshotError,
            IncompatibleSnapshotError: As in `run`.
        """
        return await self._read(await AsyncBackend.make(), run_id)

    def read(self, run_id: str | None = None) -> dict[str, Any]:
        """Do as `aread`, in scripts and notebooks."""
        return run_blocking(lambda backend: self._read(backend, run_id))

    async def aruns(
        self,
        status: Status | Collection[Status] | None = None,
        *,
        limit: int | None = None,
        after: Header | None = None,
    ) -> list[Header]:
        """List the headers of the stored runs, the one that began last first, reading no state.

        A run whose snapshot is damaged, or not signed as it must be, is left out, and the log
        warns of it.

        Args:
            status: Those of the runs wanted: "running" (under way, or killed on the way),
                "stopped", "paused", "failed", "cancelled", "finished", or several of them; all by
                default.
            limit: The most that are listed; all by default.
            after: The last header of the page before, for the next page.

        Returns:
            The headers. Those of the handler "sqlite" tell in `owner` which process a run is
            under way in.

        Raises:
            InvalidTypeError, InvalidValueError: An argument cannot be meant, or the handler is
                one of the user's own, which keeps one state.
            StorageError: The place cannot be read.
        """
        query = _listing(status, limit, after)
        return await (await AsyncBackend.make()).run(self._many().runs, query)

    def runs(
        self,
        status: Status | Collection[Status] | None = None,
        *,
        limit: int | None = None,
        after: Header | None = None,
    ) -> list[Header]:
        """Do as `aruns`, in scripts and notebooks."""
        query = _listing(status, limit, after)
        return self._many().runs(query)

    async def aheader(self, run_id: str | None = None) -> Header | None:
        """Read the header of a run, under way or not: how it stands, how far it is, what broke.

        Returns:
            The header, or None where nothing is stored.

        Raises:
            InvalidTypeError, InvalidValueError: `run_id` cannot be meant.
            StorageError, CorruptSnapshotError, UntrustedSnapshotError,
            IncompatibleSnapshotError: As in `run`.
        """
        backend = await AsyncBackend.make()
        return await self._run_store(check_run_id(run_id), backend).read_header()

    def header(self, run_id: str | None = None) -> Header | None:
        """Do as `aheader`, in scripts and notebooks."""
        return run_blocking(
            lambda backend: self._run_store(check_run_id(run_id), backend).read_header()
        )

    async def apatch(
        self,
        run_id: str | None,
        values: dict[str, Any],
        checkpoint: int | str | None = None,
    ) -> Header:
        """Mend the stored state of a run that is not under way, and where it goes on.

        A step that was done by hand is passed over by the `checkpoint` behind it. What broke the
        run is forgotten; the next run goes on as the same run. One that is paused stays so,
        unless `checkpoint` is given.

        Args:
            run_id: The run, or None for the one without an id.
            values: Are put into the stored state, as by `dict.update`. May be empty.
            checkpoint: Index or name of the step to go on at; the number of steps says that none
                is left, and the run is finished. By default it goes on where it would have.

        Returns:
            The header as it is stored now.

        Raises:
            InvalidTypeError, InvalidValueError: An argument cannot be meant, nothing is stored,
                or the handler is one of the user's own.
            RunInProgressError: The run is under way.
            UnserializableStateError: A value cannot be stored.
            StorageError, CorruptSnapshotError, UntrustedSnapshotError,
            IncompatibleSnapshotError: As in `run`.
        """
        work = self._patching(run_id, values, checkpoint)
        return await (await AsyncBackend.make()).run(work)

    def patch(
        self,
        run_id: str | None,
        values: dict[str, Any],
        checkpoint: int | str | None = None,
    ) -> Header:
        """Do as `apatch`, in scripts and notebooks."""
        return self._patching(run_id, values, checkpoint)()

    async def areset(self, *, run_id: str | None = None) -> None:
        """Delete the checkpoint, damaged or not: the next run starts from the beginning.

        Raises:
            RunInProgressError: A run of this checkpoint is under way.
            StorageError: The checkpoint cannot be deleted.
        """
        await self._reset(await AsyncBackend.make(), run_id)

    def reset(self, *, run_id: str | None = None) -> None:
        """Do as `areset`, in scripts and notebooks."""
        run_blocking(lambda backend: self._reset(backend, run_id))

    async def adelete(self, run_id: str) -> bool:
        """Delete what is stored of a run, damaged or not, and tell whether there was something.

        Raises:
            InvalidTypeError, InvalidValueError: `run_id` cannot be meant, or the handler is one
                of the user's own.
            RunInProgressError: The run is under way.
            StorageError: It cannot be deleted.
        """
        return await (await AsyncBackend.make()).run(self._deleting(run_id))

    def delete(self, run_id: str) -> bool:
        """Do as `adelete`, in scripts and notebooks."""
        return self._deleting(run_id)()

    async def aprune(
        self,
        older_than: float | timedelta,
        status: Status | Collection[Status] = "finished",
    ) -> int:
        """Delete runs that ended long ago; none that is under way.

        Args:
            older_than: Their newest snapshot was written longer ago than this, in seconds.
            status: Those of the runs to delete, as in `aruns`.

        Returns:
            How many were deleted.

        Raises:
            InvalidTypeError, InvalidValueError: An argument cannot be meant, or the handler is
                one of the user's own.
            StorageError: The place cannot be read or written.
        """
        query = _pruning(older_than, status)
        return await (await AsyncBackend.make()).run(self._many().prune, query)

    def prune(
        self,
        older_than: float | timedelta,
        status: Status | Collection[Status] = "finished",
    ) -> int:
        """Do as `aprune`, in scripts and notebooks."""
        return self._many().prune(_pruning(older_than, status))

    def _many(self) -> StateHandler:
        """The handler, if it has many runs."""
        if moves_snapshots(self.handler):
            return cast("StateHandler", self.handler)
        kind = type(self.handler).__qualname__
        raise InvalidValueError(
            f"{kind} keeps one state, of one run; use the handler 'local' or 'sqlite' for flows "
            "of many runs, or read() and write() of this one."
        )

    async def _read(self, backend: Backend, run_id: str | None) -> dict[str, Any]:
        if moves_snapshots(self.handler):
            state: dict[str, Any] = await backend.run(self.handler.read, check_run_id(run_id))
            return state
        run_store = self._run_store(check_run_id(run_id), backend)
        return {} if await run_store.read_header() is None else await run_store.state()

    async def _reset(self, backend: Backend, run_id: str | None) -> None:
        run_store = self._run_store(check_run_id(run_id), backend)
        await hold_lock(run_store, backend, run_store.remove)

    def _patching(
        self, run_id: str | None, values: dict[str, Any], checkpoint: int | str | None
    ) -> Callable[[], Header]:
        if not isinstance(values, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidTypeError(
                f"what a state is patched with is a dict, not a {type(values).__name__}."
            )
        names = self._steps.names
        position = None if checkpoint is None else _position(names.all, checkpoint)
        handler = self._many()
        return partial(_patch, handler, check_run_id(run_id), values, names, position)

    def _deleting(self, run_id: str) -> Callable[[], bool]:
        if run_id is None:  # pyright: ignore[reportUnnecessaryComparison]
            raise InvalidTypeError(
                "a run is deleted by its run_id; reset() forgets the one of none."
            )
        return partial(_delete, self._many(), check_run_id(run_id))


def _patch(
    handler: StateHandler,
    run_id: str | None,
    values: dict[str, Any],
    names: StepNames,
    position: int | None,
) -> Header:
    with handler.locked(run_id) as lock, handler.stored(run_id) as found:
        if found is None:
            raise InvalidValueError(
                f"nothing is stored in {handler.locate(run_id)}, so there is nothing to patch. "
                "runs() lists what there is."
            )
        state = {**found.state(), **values}
        state.pop(POSITION_KEY, None)  # a bare pickle may lack it
        header = _moved(found.header, names, position)
        patched = handler.patched(header, run_id, header.position)
        pause = header.pause if header.status == "paused" else None
        header = replace(patched, status=header.status, pause=pause)
        emit = partial(handler.codec.write, header, state, None)
        return handler.replace(run_id, emit, lock=lock)[0]


def _moved(header: Header, names: StepNames, position: int | None) -> Header:
    """The header with another position; None for the one that it has."""
    if position is None:
        stays = header.finished or header.status == "paused"
        return header if stays else replace(header, status="stopped")
    finished = position == len(names.all)
    return replace(
        header,
        steps=names.listed,
        excerpt=names.excerpt(position, finished=finished),
        position=0 if finished else position,
        status="finished" if finished else "stopped",
    )


def _position(names: tuple[str, ...], checkpoint: int | str) -> int:
    """The index that `checkpoint` names; the number of steps for the end."""
    at_the_end = not isinstance(checkpoint, (bool, str)) and checkpoint == len(names)
    return len(names) if at_the_end else find_step(names, checkpoint, "checkpoint")


def _delete(handler: StateHandler, run_id: str | None) -> bool:
    with handler.locked(run_id) as lock:
        file = handler.open(run_id)
        if file is None:
            return False
        file.close()
        handler.remove(run_id, lock=lock)
        return True


def _pruning(older_than: Any, status: Status | Collection[Status]) -> Query:  # noqa: ANN401
    seconds = _age(older_than)
    if not 0 <= seconds < float("inf"):
        raise InvalidValueError(f"older_than={older_than!r}: an age in seconds is from 0 on.")
    return Query(_checked_statuses(status), written_before=time.time() - seconds)


def _age(older_than: object) -> float:
    if isinstance(older_than, (int, float)) and not isinstance(older_than, bool):
        return older_than
    # Whoever has a timedelta has imported the module, and nobody else needs to.
    from datetime import timedelta  # noqa: PLC0415

    if isinstance(older_than, timedelta):
        return older_than.total_seconds()
    kind = type(older_than).__name__
    raise InvalidTypeError(f"older_than is a number of seconds or a timedelta, not a {kind}.")


def _listing(status: object, limit: object, after: object) -> Query:
    most = None if limit is None else checked_limit(limit)
    return Query(_checked_statuses(status), most, _checked_after(after))


def _checked_statuses(status: Any) -> frozenset[Status] | None:  # noqa: ANN401
    if status is None:
        return None
    if not isinstance(status, (str, list, tuple, set, frozenset)):
        raise InvalidTypeError(
            f"status= is a status or several of them, not a {type(status).__name__}."
        )
    several = cast("list[Status]", [status] if isinstance(status, str) else list(status))
    if not several or any(one not in get_args(Status) for one in several):
        known = ", ".join(repr(one) for one in get_args(Status))
        raise InvalidValueError(f"status={status!r} names none; they are {known}.")
    return frozenset(several)


def _checked_after(after: Any) -> Header | None:  # noqa: ANN401
    if after is None or isinstance(after, Header):
        return after
    raise InvalidTypeError(
        f"after= is the last header of the page before, not a {type(after).__name__}."
    )
