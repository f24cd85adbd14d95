"""The base class of the stores: states as dicts, and the run stores of the engine."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from aiocheckpoint._concurrency.async_reading import read_off_loop
from aiocheckpoint._concurrency.threads import SNAPSHOTS, run_in_thread
from aiocheckpoint._logging import log_skipped
from aiocheckpoint._model.header import Header
from aiocheckpoint._snapshot.keys import DATA_KEY, POSITION_KEY, position_of
from aiocheckpoint.errors import InvalidTypeError
from aiocheckpoint.handlers._identifiers import redact_url
from aiocheckpoint.handlers._port import SnapshotPort
from aiocheckpoint.handlers._run_store import SnapshotRunStore

if TYPE_CHECKING:
    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint.handlers._run_store import RunStore

__all__ = ["StateHandler"]


class StateHandler(SnapshotPort):
    """A store of snapshots by run id.

    Subclasses move bytes. They open the snapshot of a run, replace it whole, delete it, lock it and
    list the runs, each by a blocking method. The meaning of the bytes is the same for every
    store. `aiocheckpoint.testing.check_handler` tests a subclass.

    Args:
        flow: Name of the flow. Signatures are valid for one flow.
        options: `secret=`, `allow=` and `verify=`, see `SnapshotOptions`.

    Attributes:
        flow: The name.
        path: The path or URL given, where the store has one.
        key_ids: Ids of the secrets, the signing one first, as `Header.signed_by` has them.

    Raises:
        InvalidTypeError, InvalidValueError: An option is invalid.
    """

    path: str | os.PathLike[str] | None = None
    _shown_options: tuple[tuple[str, object], ...] = ()
    """Names and defaults of the options that `repr()` shows where they differ. No secrets."""

    def __repr__(self) -> str:
        path = "" if self.path is None else f"{redact_url(os.fspath(self.path))!r}, "
        options = "".join(
            f", {name}={value!r}"
            for name, default in self._shown_options
            if (value := getattr(self, name, default)) != default
        )
        return f"{type(self).__name__}({path}flow={self.flow!r}{options})"

    def read(self, run_id: str | None = None) -> dict[str, Any]:
        """Read the state of a run, for instance to edit it and write it back.

        Returns:
            The state, or an empty dict where nothing is stored. The key `checkpoint_index` holds
            the index of the step at which the next run starts. With `keep_data=True`, the key
            `checkpoint_data` holds the stored `data`.

        Raises:
            StorageError, CorruptSnapshotError: As in `stored`.
            UntrustedSnapshotError: As in `stored`, or the state names a global missing in `allow=`.
            IncompatibleSnapshotError: The state cannot be loaded by this program.
        """
        with self.stored(run_id) as stored:
            if stored is None:
                return {}
            if stored.skipped is not None:
                log_skipped(stored.skipped)
            state = stored.state()
            state[POSITION_KEY] = stored.header.position
            return state

    def write(self, state: dict[str, Any], run_id: str | None = None) -> None:
        """Store a state by hand, under the run's lock.

        Args:
            state: The state. Its key `checkpoint_index`, 0 where it is missing, is the index of
                the step at which the next run starts.
            run_id: The run, or None.

        Raises:
            InvalidTypeError: `state` is no dict, or its `checkpoint_index` no index.
            RunInProgressError: The run is in progress.
            UnserializableStateError: The state cannot be stored.
            StorageError: The store cannot be read or written.
            CorruptSnapshotError, UntrustedSnapshotError, IncompatibleSnapshotError: The stored
                snapshot is not sound, see `stored`. It is not overwritten.
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
        return await read_off_loop(self.read, run_id)

    async def awrite(self, state: dict[str, Any], run_id: str | None = None) -> None:
        """Do as `write`, without blocking the event loop. A running write is waited for."""
        # Not through aiofiles: its wait would end at a cancellation while the thread still writes.
        await run_in_thread(SNAPSHOTS, self.write, state, run_id)

    def run_store(self, run_id: str | None, backend: Backend) -> RunStore:
        """Make the run store of a run, which the engine uses."""
        return SnapshotRunStore(self, run_id, backend)

    def patched(self, header: Header | None, run_id: str | None, position: int) -> Header:
        """Make the header of a state stored by hand: the same run, without its failure.

        Args:
            header: The present header, or None.
            run_id: The run, or None.
            position: Index of the step at which the next run starts.
        """
        now = time.time()
        if header is None:
            header = replace(Header.without_names(self.flow, run_id, position), started_at=now)
        return replace(
            header,
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
