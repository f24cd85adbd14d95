"""What a place for snapshots does, and the dicts that every such place offers."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from aiofiles.os import wrap

from aiocheckpoint._header import Header, in_json
from aiocheckpoint._snapshot import (
    POSITION_KEY,
    Stored,
    open_snapshot,
    position_of,
    write_snapshot,
)
from aiocheckpoint._threads import SNAPSHOTS, in_thread
from aiocheckpoint.errors import CorruptSnapshotError, InvalidTypeError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from aiocheckpoint._serializer import Target

__all__ = ["Lock", "StateHandler"]


class Lock(Protocol):
    """An exclusive right to one run's place, which dies with its owner."""

    def acquire(self) -> None:
        """Take it now, or raise RunInProgressError."""

    def release(self) -> None:
        """Give it back; without effect where it is not held."""


class StateHandler(ABC):
    """A place where snapshots live, by run id.

    Subclasses move bytes: they give a run's snapshot as an open file, replace it whole, delete it
    and lock it, each as a blocking function. What the bytes mean is the same for every place.
    """

    @abstractmethod
    def locate(self, run_id: str | None = None) -> str:
        """Say where the snapshot of a run is, for people to read."""

    @abstractmethod
    def lock(self, run_id: str | None = None) -> Lock:
        """Make the lock of a run, not yet taken."""

    @abstractmethod
    def open(self, run_id: str | None = None) -> BinaryIO | None:
        """Open the snapshot of a run for reading, or give None where there is none.

        Raises:
            StorageError: The place cannot be read.
        """

    @abstractmethod
    def replace(self, run_id: str | None, emit: Callable[[Target], Header]) -> tuple[Header, int]:
        """Replace the snapshot of a run by what `emit` writes, whole or not at all.

        Returns:
            What `emit` returned, and the number of bytes written.

        Raises:
            StorageError: The place cannot be written; it holds what it held.
        """

    @abstractmethod
    def remove(self, run_id: str | None = None) -> None:
        """Delete the snapshot of a run, if there is one.

        Raises:
            StorageError: It cannot be deleted.
        """

    @contextmanager
    def stored(self, run_id: str | None = None) -> Generator[Stored | None, None, None]:
        """Open and check the snapshot of a run, for the time of a `with` block.

        Raises:
            StorageError: It cannot be read.
            CorruptSnapshotError: It is damaged, no snapshot, or that of another run.
        """
        file = self.open(run_id)
        if file is None:
            yield None
            return
        with closing(file):
            location = self.locate(run_id)
            found = open_snapshot(file, location)
            if found is not None and found.header.flow and found.header.run_id != in_json(run_id):
                raise CorruptSnapshotError(location, "it is the snapshot of another run")
            yield found

    def header(self, run_id: str | None = None) -> Header | None:
        """Read the header of a run's snapshot, or give None where there is none.

        Raises:
            StorageError, CorruptSnapshotError: As in `stored`.
        """
        with self.stored(run_id) as found:
            return None if found is None else found.header

    def read(self, run_id: str | None = None) -> dict[str, Any]:
        """Read the state of a run, for instance to edit it and write it back.

        Returns:
            The state, with the index of the step at which the next run starts under the key
            `checkpoint_index`; an empty dict where nothing is stored.

        Raises:
            StorageError, CorruptSnapshotError: As in `stored`.
            IncompatibleSnapshotError: The state cannot be loaded by this program.
        """
        with self.stored(run_id) as found:
            if found is None:
                return {}
            state = found.state()
            state[POSITION_KEY] = found.header.position
            return state

    def write(self, state: dict[str, Any], run_id: str | None = None) -> None:
        """Store a state by hand, under the run's lock.

        Args:
            state: The state. Its key `checkpoint_index`, 0 where it is missing, is the index of
                the step at which the next run starts.
            run_id: The run, or None.

        Raises:
            InvalidTypeError: `state` is no dict, or its `checkpoint_index` no index.
            RunInProgressError: The run is under way.
            UnserializableStateError: The state cannot be stored.
            StorageError, CorruptSnapshotError: The place cannot be read or written.
        """
        if not isinstance(state, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidTypeError(f"a state is a dict, not a {type(state).__name__}.")
        position = position_of(state)
        content = {key: value for key, value in state.items() if key != POSITION_KEY}
        lock = self.lock(run_id)
        lock.acquire()
        try:
            header = _patched(self.header(run_id), run_id, position)
            self.replace(run_id, partial(write_snapshot, header, content, None))
        finally:
            lock.release()

    async def aread(self, run_id: str | None = None) -> dict[str, Any]:
        """Do as `read`, without blocking the event loop."""
        return await wrap(self.read)(run_id, executor=SNAPSHOTS.executor)

    async def awrite(self, state: dict[str, Any], run_id: str | None = None) -> None:
        """Do as `write`, without blocking the event loop; a write under way is waited for."""
        await in_thread(SNAPSHOTS, self.write, state, run_id)


def _patched(header: Header | None, run_id: str | None, position: int) -> Header:
    """The header of a state stored by hand: it keeps who the run is, and forgets what broke."""
    if header is None:
        header = Header.of_unnamed("", run_id, position)
    return header.by_this_program(
        position=position,
        status="stopped" if position else "finished",
        failure=None,
        sequence=header.sequence + 1,
        written_at=time.time(),
    )
