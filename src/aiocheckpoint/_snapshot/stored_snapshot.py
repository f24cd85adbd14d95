"""A stored snapshot: its header is read, its payload can be checked and loaded."""

from __future__ import annotations

import hashlib
import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from aiocheckpoint._snapshot.keys import POSITION_KEY
from aiocheckpoint._snapshot.payload import PIECE_BYTES
from aiocheckpoint._snapshot.pickling.diagnosis import path_of
from aiocheckpoint._snapshot.pickling.listed import RefusedChangeError, RefusedGlobalError
from aiocheckpoint._snapshot.pickling.lost_keys import load_what_loads
from aiocheckpoint._snapshot.pickling.names import MissingNameError
from aiocheckpoint._snapshot.pickling.objects import BeyondBoundsError
from aiocheckpoint._snapshot.pickling.opcodes import MalformedError
from aiocheckpoint._snapshot.pickling.serializer import load
from aiocheckpoint._snapshot.pickling.summary import summarize
from aiocheckpoint._snapshot.versions import PYTHON_VERSION
from aiocheckpoint.errors import (
    CheckpointError,
    CorruptSnapshotError,
    IncompatibleSnapshotError,
    UntrustedSnapshotError,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from aiocheckpoint._model.header import Header
    from aiocheckpoint._snapshot.pickling.listed import Allow
    from aiocheckpoint._snapshot.pickling.names import StepModules
    from aiocheckpoint._snapshot.pickling.summary import PickleSummary

__all__ = ["StoredSnapshot", "digest_of", "scan_pickle"]

_REFUSED = (
    *(CheckpointError, MemoryError, RefusedGlobalError, RefusedChangeError),
    *(BeyondBoundsError, MalformedError),
)
"""Errors that concern the whole payload."""


class StoredSnapshot:
    """A stored snapshot with a sound header.

    Args:
        header: The header.
        file: The open snapshot. The caller closes it.
        location: Where it is, for messages.
        payload_length: Length of the payload in bytes.
        payload_digest: SHA-256 of the payload, from the footer.
        allow: The allowlist of globals in the payload, or None for all.
        modules: The modules of the steps, where names are looked for as well.
        guarded: Whether an untrusted process may change the file meanwhile. The payload is then
            held in memory from its check to its loading.

    Attributes:
        skipped: The error of the newest snapshot, where this older one replaces it.
        lost: Pairs of a path and a reason for each value that `state(partial=True)` left out.
    """

    def __init__(
        self,
        header: Header,
        file: BinaryIO,
        location: str,
        *,
        payload_length: int,
        payload_digest: bytes,
        allow: Allow | None,
        modules: StepModules,
        guarded: bool,
    ) -> None:
        self.header: Header = header
        self.file: BinaryIO = file
        self.location: str = location
        self.payload_length: int = payload_length
        self.payload_digest: bytes = payload_digest
        self.allow: Allow | None = allow
        self.modules: StepModules = modules
        self.guarded: bool = guarded
        self.skipped: CheckpointError | None = None
        self.lost: tuple[tuple[str, str], ...] = ()

    def checked_payload(self) -> BinaryIO:
        """Compare the payload with its digest.

        Returns:
            The compared payload, at the beginning of a file.

        Raises:
            CorruptSnapshotError: It is damaged.
        """
        file = self.file
        if self.guarded:
            file.seek(0)
            file = io.BytesIO(file.read(self.payload_length))
        if digest_of(file, self.payload_length) != self.payload_digest:
            reason = f"the payload (bytes 0 to {self.payload_length}) does not match its digest"
            raise CorruptSnapshotError(self.location, reason)
        return file

    def state(self, *, partial: bool = False) -> dict[str, Any]:
        """Check the payload and load it, which runs the code that it names and may name.

        Args:
            partial: Whether to leave out the values that cannot be loaded. `lost` then has them.

        Returns:
            The state with the position under "checkpoint_index".

        Raises:
            CorruptSnapshotError: The payload is damaged. It was not loaded.
            IncompatibleSnapshotError: It holds code of another minor version of Python, or names a
                global that cannot be imported here, or a value of it cannot be loaded.
            UntrustedSnapshotError: It names a global that is not on the allowlist.
        """
        if not partial:
            self._check_python()
        payload = self.checked_payload()
        with self._refusals():
            try:
                if partial and self._holds_foreign_code():
                    return self._rest(payload)
                return self._dict(load(payload, self.allow, modules=self.modules))
            except _REFUSED:
                raise
            except Exception as error:  # noqa: BLE001 - the user's own code
                return self._rest(payload, None if partial else error)

    def _rest(self, payload: BinaryIO, error: Exception | None = None) -> dict[str, Any]:
        """Load the values that can be loaded, and raise an error that names the others.

        Args:
            payload: The payload.
            error: The error of loading all, or None to note the lost values in `lost`.
        """
        code = not self._holds_foreign_code()
        try:
            loaded, lost = load_what_loads(payload, self.allow, self.modules, code=code)
        except _REFUSED:
            raise
        except Exception as second:  # noqa: BLE001 - the user's own code
            cause = error or second
            raise self._not_loaded(cause) from cause
        if error is not None:
            raise self._not_loaded(error, lost) from error
        self.lost = tuple((path_of(key), reason) for key, reason in lost.items())
        return self._dict(loaded)

    def _dict(self, state: object) -> dict[str, Any]:
        if not isinstance(state, dict):
            kind = type(state).__name__
            raise CorruptSnapshotError(self.location, f"it holds a {kind}, not a dict")
        return cast("dict[str, Any]", state)

    @contextmanager
    def _refusals(self) -> Generator[None, None, None]:
        """Translate the refusals of loading under an allowlist."""
        try:
            yield
        except RefusedGlobalError as error:
            reason = f"it names {error}, which allow= does not list"
            raise UntrustedSnapshotError(self.location, reason) from error
        except RefusedChangeError as error:
            reason = f"it changes {error}, and under allow= a snapshot changes nothing but its own"
            raise UntrustedSnapshotError(self.location, reason) from error
        except BeyondBoundsError as error:
            reason = f"{error}, which allow= does not load"
            raise CorruptSnapshotError(self.location, reason) from error
        except MalformedError as error:
            raise _damaged(self.location, error) from error

    def sizes(self) -> dict[str, int]:
        """Bytes of the payload by the state's keys, read from its opcodes.

        Raises:
            CorruptSnapshotError: The payload is no pickle stream.
        """
        return scan_pickle(self.file, self.payload_length, self.location).sizes

    def _holds_foreign_code(self) -> bool:
        return self.header.code and _minor(self.header.python) != _minor(PYTHON_VERSION)

    def _check_python(self) -> None:
        if self._holds_foreign_code():
            written_by = self.header.python
            reason = (
                f"it holds functions or classes by value, written by Python {written_by}, and "
                f"this is {PYTHON_VERSION}; run it there, or keep lambdas and local functions and "
                "classes out of the state"
            )
            raise IncompatibleSnapshotError(self.location, reason, written_by=written_by)

    def _not_loaded(
        self, error: Exception, lost: dict[object, str] | None = None
    ) -> IncompatibleSnapshotError:
        found = tuple((path_of(key), reason) for key, reason in (lost or {}).items())
        what = f": {error}" if isinstance(error, MissingNameError) else ""
        reason = f"loading it raised {type(error).__name__}{what}"
        if found:
            reason = "; ".join(f"{path}: {why}" for path, why in found)
        return IncompatibleSnapshotError(
            self.location, reason, written_by=self.header.python, lost=found
        )


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def digest_of(file: BinaryIO, length: int) -> bytes:
    """SHA-256 of the first bytes of a file."""
    digest = hashlib.sha256()
    file.seek(0)
    while length > 0 and (piece := file.read(min(length, PIECE_BYTES))):
        digest.update(piece)
        length -= len(piece)
    return digest.digest()


def scan_pickle(file: BinaryIO, length: int, location: str) -> PickleSummary:
    """Summarize the pickle stream at the beginning of a file.

    Raises:
        CorruptSnapshotError: There is no whole stream.
    """
    try:
        return summarize(file, length, POSITION_KEY)
    except MalformedError as error:
        raise _damaged(location, error) from error


def _damaged(location: str, error: MalformedError) -> CorruptSnapshotError:
    if error.at == 0:
        reason = "it is neither a snapshot nor a pickle"
    else:
        reason = f"it is cut off, or no snapshot: its pickle breaks off at byte {error.at}"
    return CorruptSnapshotError(location, reason)
