"""The base class of the stores: states as dicts, and the run stores of the engine."""

from __future__ import annotations

import functools
import os
import time
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aiocheckpoint._concurrency.async_reading import read_off_loop
from aiocheckpoint._concurrency.threads import call_store
from aiocheckpoint._logging import RunPlace, log_skipped
from aiocheckpoint._model.given_state import call_site
from aiocheckpoint._model.header import Header
from aiocheckpoint._snapshot.keys import DATA_KEY, POSITION_KEY, position_of
from aiocheckpoint._tracebacks import front_door
from aiocheckpoint.errors import InvalidTypeError, LostValuesWarning, UnpicklableFlowError
from aiocheckpoint.handlers._snapshot_run_store import SnapshotRunStore
from aiocheckpoint.handlers._store_threads import THREADS, threads_of
from aiocheckpoint.handlers._urls import redact_url
from aiocheckpoint.handlers._whole_store import WholeStorePort

if TYPE_CHECKING:
    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._model.given_state import CallSite
    from aiocheckpoint._snapshot.signing import Secrets
    from aiocheckpoint.handlers._reader import StoreReader
    from aiocheckpoint.handlers._run_store import RunStore

__all__ = ["StateHandler"]


class StateHandler(WholeStorePort):
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
        is_local: Whether the store is files of this machine, whose handlers share four threads. By
            default False: each handler object has four threads of its own for its blocking methods
            under `arun`, so that a store that hangs holds up no other.
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
            if (value := self._shown_option(name)) != default
        )
        return f"{type(self).__name__}({path}flow={self.flow!r}{options})"

    def _shown_option(self, name: str) -> object:
        return getattr(self, name)

    def check_sendable(self) -> None:
        """Check that another process can use the store by a pickle of this handler.

        Raises:
            UnpicklableFlowError: It cannot: the store is memory, or its secret would be pickled.
        """
        if not self.outlives_process:
            raise UnpicklableFlowError(
                f"its {type(self).__name__} keeps the snapshots in the memory of this process. "
                "Give the flow a path or a URL, such as 'runs/' or 'sqlite:///runs.db'."
            )
        if self.codec.signer is not None:
            self.codec.signer.check_sendable()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the place and the options, and no threads."""
        self.check_sendable()
        return {name: value for name, value in vars(self).items() if name not in THREADS}

    @front_door
    def read(self, run_id: str | None = None, *, partial: bool = False) -> dict[str, Any]:
        """Read the state of a run, for instance to edit it and write it back.

        Args:
            run_id: The run, or None.
            partial: Whether to leave out the values that cannot be loaded. A `LostValuesWarning`
                names their keys and the reasons.

        Returns:
            The state, or an empty dict where nothing is stored. The key `checkpoint_index` holds
            the index of the step at which the next run starts. A state that `write` was given
            without that key has none. With `keep_data=True`, the key `checkpoint_data` holds the
            stored `data`.

        Raises:
            StorageError, CorruptSnapshotError: As in `stored`.
            UntrustedSnapshotError: As in `stored`, or the state names a global missing in `allow=`.
            IncompatibleSnapshotError: The state cannot be loaded by this program.
        """
        return self.read_for(call_site() if partial else None, run_id)

    def read_for(self, caller: CallSite | None, run_id: str | None) -> dict[str, Any]:
        """Do as `read`, in any thread.

        Args:
            caller: The line at which a `LostValuesWarning` is shown. None to leave nothing out.
            run_id: The run, or None.
        """
        with self.stored(run_id) as stored:
            if stored is None:
                return {}
            if stored.skipped is not None:
                log_skipped(stored.skipped, RunPlace(self.flow, run_id))
            state = stored.state(partial=caller is not None)
            if stored.lost and caller is not None:
                lost = "; ".join(f"{path}: {why}" for path, why in stored.lost)
                warning = LostValuesWarning(f"{stored.location} was read without {lost}.")
                # Without a registry, so that it is shown each time.
                warnings.warn_explicit(
                    warning, LostValuesWarning, caller.filename, caller.line, caller.module
                )
            return state

    @front_door
    def write(self, state: dict[str, Any], run_id: str | None = None) -> None:
        """Store a state by hand, under the run's lock.

        Args:
            state: The state. Its key `checkpoint_index` is the index of the step at which the next
                run starts. Without that key it is the first. A dict under `checkpoint_data` is the
                `data` of a flow with `keep_data=True`.
            run_id: The run, or None.

        Raises:
            InvalidTypeError: `state` is no dict, its `checkpoint_index` no index, or its
                `checkpoint_data` no dict.
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
            write_to = functools.partial(
                self.codec.write, header, content, None, with_position=POSITION_KEY in state
            )
            self.write_progress(run_id, None, lock=lock)  # It is of the state before.
            self.replace(run_id, write_to, lock=lock)

    @front_door
    async def aread(self, run_id: str | None = None, *, partial: bool = False) -> dict[str, Any]:
        """Do as `read`, without blocking the event loop."""
        caller = call_site() if partial else None
        return await read_off_loop(threads_of(self), self.read_for, caller, run_id)

    @front_door
    async def awrite(self, state: dict[str, Any], run_id: str | None = None) -> None:
        """Do as `write`, without blocking the event loop. A running write is waited for."""
        # Not through aiofiles: its wait would end at a cancellation while the thread still writes.
        await call_store(threads_of(self), self.write, state, run_id)

    def reader(self, secret: Secrets | None = None) -> StoreReader:
        """Make the reader of the store for displays, which changes nothing of it.

        Args:
            secret: The secret or secrets that signatures are checked with. None to check none.

        Raises:
            InvalidTypeError, InvalidValueError: A secret is invalid.
        """
        from aiocheckpoint.handlers._reader import StoreReader  # noqa: PLC0415 - programs lack it

        return StoreReader(self, secret)

    def run_store(self, run_id: str | None, backend: Backend) -> RunStore:
        """Make the run store of a run, which the engine uses."""
        return SnapshotRunStore(self, run_id, backend)

    def patched(self, header: Header | None, run_id: str | None, position: int) -> Header:
        """Make the header of a state stored by hand: the same run, without its failure or pause.

        Args:
            header: The present header, or None.
            run_id: The run, or None.
            position: Index of the step at which the next run starts.
        """
        now = time.time()
        if header is None:
            header = replace(Header.without_names(self.flow, run_id, position), started_at=now)
        # A run that broke in its first step has not finished because its state was edited.
        unfinished = position or not header.finished
        return replace(
            header.ended("stopped", at=now, stopped_by="patch")
            if unfinished
            else header.ended("finished", at=now),
            flow=header.flow or self.flow,
            run_id=run_id,
            position=position,
            pause=None,
            signed_by=None,
        )
