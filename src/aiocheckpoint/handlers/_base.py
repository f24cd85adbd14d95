"""The dicts that every place for snapshots offers."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Any

from aiocheckpoint._concurrency.late_imports import import_in_thread
from aiocheckpoint._concurrency.threads import SNAPSHOTS, run_in_thread
from aiocheckpoint._logging import log_skipped
from aiocheckpoint._model.header import Header
from aiocheckpoint._snapshot.keys import DATA_KEY, POSITION_KEY, position_of
from aiocheckpoint.errors import InvalidTypeError
from aiocheckpoint.handlers._port import SnapshotPort

__all__ = ["StateHandler"]


class StateHandler(SnapshotPort):
    """A place where snapshots live, by run id.

    Subclasses move bytes: they give a run's snapshot as an open file, replace it whole, delete it,
    lock it and list its like, each as a blocking function. What the bytes mean is the same for
    every place.
    `aiocheckpoint.testing.check_handler` tells whether a subclass does all that it must.

    Args:
        flow: Name of the flow; a signature made for one flow is none for another.
        options: `secret=`, `allow=` and `verify=`, see `SnapshotOptions`.

    Attributes:
        flow: The name.
        key_ids: Ids of the secrets, the signing one first, as `Header.signed_by` has them.

    Raises:
        InvalidTypeError, InvalidValueError: An option cannot be meant.
    """

    def read(self, run_id: str | None = None) -> dict[str, Any]:
        """Read the state of a run, for instance to edit it and write it back.

        Returns:
            The state, with the index of the step at which the next run starts under the key
            `checkpoint_index`, and, of a flow with `keep_data=True`, what was in `data` under
            `checkpoint_data`; an empty dict where nothing is stored.

        Raises:
            StorageError, CorruptSnapshotError: As in `stored`.
            UntrustedSnapshotError: As in `stored`, or the state names what `allow=` does not list.
            IncompatibleSnapshotError: The state cannot be loaded by this program.
        """
        with self.stored(run_id) as found:
            if found is None:
                return {}
            if found.skipped is not None:
                log_skipped(found.skipped)
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
            StorageError: The place cannot be read or written.
            CorruptSnapshotError, UntrustedSnapshotError, IncompatibleSnapshotError: What is stored
                is not sound, see `stored`; it is not overwritten.
        """
        if not isinstance(state, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidTypeError(f"a state is a dict, not a {type(state).__name__}.")
        position = position_of(state)
        content = {key: value for key, value in state.items() if key != POSITION_KEY}
        with self.locked(run_id) as lock:
            header = self.patched(self.header(run_id), run_id, position)
            header = replace(header, holds_data=DATA_KEY in content)
            self.replace(run_id, partial(self.codec.write, header, content, None), lock=lock)

    async def aread(self, run_id: str | None = None) -> dict[str, Any]:
        """Do as `read`, without blocking the event loop."""
        # Nothing else needs aiofiles, which takes 2 ms to import.
        read = (await import_in_thread("aiofiles.os")).wrap(self.read)
        state: dict[str, Any] = await read(run_id, executor=SNAPSHOTS)
        return state

    async def awrite(self, state: dict[str, Any], run_id: str | None = None) -> None:
        """Do as `write`, without blocking the event loop; a write under way is waited for."""
        await run_in_thread(SNAPSHOTS, self.write, state, run_id)

    def patched(self, header: Header | None, run_id: str | None, position: int) -> Header:
        """The header of a state stored by hand: it keeps who the run is, and forgets what broke.

        Args:
            header: The header stored so far, or None.
            run_id: The run, or None.
            position: Index of the step at which the next run starts.
        """
        now = time.time()
        if header is None:
            header = replace(Header.without_names(self.flow, run_id, position), started_at=now)
        return header.by_this_program(
            flow=header.flow or self.flow,
            run_id=run_id,
            position=position,
            status="stopped" if position else "finished",
            failure=None,
            pause=None,
            sequence=header.sequence + 1,
            written_at=now,
            signed_by=None,
        )
