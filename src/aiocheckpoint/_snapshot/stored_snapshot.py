"""A stored snapshot: its header is read, its payload can be checked and loaded."""

from __future__ import annotations

import hashlib
import io
import traceback
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from aiocheckpoint._snapshot.keys import POSITION_KEY
from aiocheckpoint._snapshot.payload import PIECE_BYTES
from aiocheckpoint._snapshot.pickling.listed import RefusedChangeError, RefusedGlobalError
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
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._snapshot.pickling.listed import Allow
    from aiocheckpoint._snapshot.pickling.summary import PickleSummary

__all__ = ["StoredSnapshot", "digest_of", "scan_pickle"]

_LOOKS_UP = frozenset({"aiocheckpoint", "dill", "pickle", "importlib", "_frozen_importlib"})
_LOOKUPS = frozenset({"find_class", "_import_module"})
"""Modules and functions of unpicklers that find names."""


class StoredSnapshot:
    """A stored snapshot with a sound header.

    Args:
        header: The header.
        file: The open snapshot. The caller closes it.
        location: Where it is, for messages.
        payload_length: Length of the payload in bytes.
        payload_digest: SHA-256 of the payload, from the footer.
        allow: The allowlist of globals in the payload, or None for all.
        guarded: Whether an untrusted process may change the file meanwhile. The payload is then
            held in memory from its check to its loading.

    Attributes:
        skipped: The error of the newest snapshot, where this older one replaces it.
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
        guarded: bool,
    ) -> None:
        self.header: Header = header
        self.file: BinaryIO = file
        self.location: str = location
        self.payload_length: int = payload_length
        self.payload_digest: bytes = payload_digest
        self.allow: Allow | None = allow
        self.guarded: bool = guarded
        self.skipped: CheckpointError | None = None

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

    def state(self) -> dict[str, Any]:
        """Check the payload and load it, which runs the code that it names and may name.

        Returns:
            The state with the position under "checkpoint_index".

        Raises:
            CorruptSnapshotError: The payload is damaged. It was not loaded.
            IncompatibleSnapshotError: It holds code of another minor version of Python, or names a
                global that cannot be imported here.
            UntrustedSnapshotError: It names a global that is not on the allowlist.
        """
        self._check_python()
        payload = self.checked_payload()
        try:
            state = load(payload, self.allow)
        except (CheckpointError, MemoryError):
            raise
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
        except Exception as error:
            raise self._not_loaded(error) from error
        if not isinstance(state, dict):
            kind = type(state).__name__
            raise CorruptSnapshotError(self.location, f"it holds a {kind}, not a dict")
        return cast("dict[str, Any]", state)

    def sizes(self) -> dict[str, int]:
        """Bytes of the payload by the state's keys, read from its opcodes.

        Raises:
            CorruptSnapshotError: The payload is no pickle stream.
        """
        return scan_pickle(self.file, self.payload_length, self.location).sizes

    def _check_python(self) -> None:
        written_by = self.header.python
        if self.header.code and written_by.split(".")[:2] != PYTHON_VERSION.split(".")[:2]:
            reason = (
                f"it holds functions or classes by value, written by Python {written_by}, and "
                f"this is {PYTHON_VERSION}; run it there, or keep functions and classes of "
                "__main__ out of the state"
            )
            raise IncompatibleSnapshotError(self.location, reason, written_by=written_by)

    def _not_loaded(self, error: Exception) -> IncompatibleSnapshotError:
        what = f": {error}" if _is_failed_lookup(error) else ""
        return IncompatibleSnapshotError(
            self.location,
            f"loading it raised {type(error).__name__}{what}",
            written_by=self.header.python,
        )


def _is_failed_lookup(error: Exception) -> bool:
    """Whether the unpickler did not find a name. Other errors may quote values of the state."""
    if not isinstance(error, (ImportError, AttributeError)):
        return False
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    modules = {str(frame.f_globals.get("__name__", "")).split(".")[0] for frame in frames}
    # A class of the user may import or look up a value of the state by itself.
    return modules <= _LOOKS_UP and any(frame.f_code.co_name in _LOOKUPS for frame in frames)


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
