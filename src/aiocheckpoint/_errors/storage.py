"""The errors of stored snapshots, and of the places where they are stored."""

from __future__ import annotations

from typing import Any, Self

from aiocheckpoint._errors.root import CheckpointError

__all__ = [
    "CorruptSnapshotError",
    "ForeignFileError",
    "NotDurableError",
    "StorageError",
    "StoreUnreachableError",
    "UntrustedSnapshotError",
    "defect_of",
]


class CorruptSnapshotError(CheckpointError):
    """The stored snapshot is damaged, is none, or is of another flow or run. Nothing was executed.

    Attributes:
        path: Where it is.
        reason: Its defect.
        of_unknown_origin: Whether nothing in it shows that this library wrote it. `reset` then
            leaves it alone.
    """

    of_unknown_origin: bool = False  # Pickles of 0.5 have none.

    def __init__(
        self, path: str, reason: str, *, remedy: str | None = None, of_unknown_origin: bool = False
    ) -> None:
        if of_unknown_origin:
            remedy = (
                "Nothing in it shows that this library wrote it, so nothing overwrites or deletes "
                "it, reset() included. Give the checkpoint another path, or move the file away."
            )
        remedy = remedy or (
            "Restore the file from a copy, or delete it and start anew: with reset(), of a run "
            "with an id with reset(run_id=...)."
        )
        super().__init__(f"{_unsound(path, reason)} {remedy}")
        self.path = path
        self.reason = reason
        self.of_unknown_origin = of_unknown_origin


def defect_of(error: CheckpointError) -> str:
    """Text of an error, without the remedies of a damage where an older snapshot remedies it."""
    if isinstance(error, CorruptSnapshotError):
        return _unsound(error.path, error.reason)
    return str(error)


def _unsound(path: str, reason: str) -> str:
    return f"{path} is not a sound snapshot of this run: {reason}."


class ForeignFileError(CorruptSnapshotError):
    """The file at the checkpoint's path is somebody else's: a whole pickle, but no snapshot.

    It was neither loaded nor changed, and `reset` does not delete it.

    Attributes:
        path: Where it is.
        reason: What it is.
        of_unknown_origin: False.
    """

    def __init__(self, path: str, reason: str, *, remedy: str = "") -> None:
        super().__init__(
            path,
            reason,
            remedy=(
                "It was neither loaded nor changed, and reset() does not delete it. Give the "
                f"checkpoint another path. {remedy}"
            ).rstrip(),
        )


class UntrustedSnapshotError(CheckpointError):
    """The origin of the stored snapshot is not trusted. Nothing of it was executed.

    Under `secret=` it is raised for a snapshot that is not signed, signed with another secret, or
    signed for another flow or run. Under `allow=` for a snapshot with a global that is not listed,
    or one that changes an object it did not make.

    Attributes:
        path: Where it is.
        reason: Its defect.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"the snapshot in {path} is not trusted, and nothing of it was loaded: {reason}. If "
            f"you know where it comes from, aiocheckpoint.adopt({path!r}, flow=..., secret=...) "
            "signs it as it is for the flow of that name, aiocheckpoint.adopt_all all runs of a "
            "store, and allow=(...) lists what it may name; else start anew with reset(), which "
            "deletes it if it is a checkpoint."
        )
        self.path = path
        self.reason = reason


class StorageError(CheckpointError, OSError):
    """The location of the checkpoint cannot be read or written. The stored snapshot is unchanged.

    Attributes:
        path: The path concerned.
        errno: The system's error number, or None. `EBADMSG` for a database of another program.
        damaged: Whether what is stored there was found damaged, such as the pages of a database.
    """

    damaged: bool = False  # Of errors that an earlier release has pickled.

    def __init__(
        self, path: str, problem: str, *, errno: int | None = None, damaged: bool = False
    ) -> None:
        super().__init__(problem)
        self.path = path
        self.errno = errno
        self.damaged = damaged

    @classmethod
    def of(cls, path: str, doing: str, error: OSError) -> Self:
        """Translate a system error met while `doing` something (a gerund) at `path`."""
        remedy = "Make the path usable (does it exist, is it writable, is there space?)"
        if doing == "reading":
            remedy = "Make the path readable (does it exist, may this user read it?)"
        problem = f"{doing} {path} failed: {error.strerror or error}. {remedy} and run again."
        return cls(path, problem, errno=error.errno)

    def _facts(self) -> dict[str, Any]:
        return {**super()._facts(), "errno": self.errno, "damaged": self.damaged}


class NotDurableError(StorageError):
    """The new snapshot is in place, but may not outlive a power cut.

    Raised when the directory could not be flushed after the rename.
    """


class StoreUnreachableError(StorageError):
    """The store was out of reach until `patience=` was over. Nothing is known to be written.

    The network or the server was down, the server was starting, read-only, or had no connection
    free, or transactions of others kept it from answering. A run that ends with this error has lost
    no stored step. A step that was done and not stored is executed again. Nobody can tell whether
    the last request was carried out, as its answer may have been lost.

    Attributes:
        path: The store, without a password.
        problem: The last problem, as the store or the network gave it.
        seconds: How long it was tried. 0.0 for a single try.
        remedy: What to look for where a setting of the store keeps it from answering, or "".
        errno: None.
        damaged: False.
        is_of_statement: Whether the store has answered, and kept one statement alone from its end,
            as where another transaction holds a row. The connection can go on.
    """

    is_of_statement: bool = False

    def __init__(self, path: str, problem: str, *, seconds: float = 0.0, remedy: str = "") -> None:
        tried = f" for {seconds:.3g} s" if seconds else ""
        super().__init__(
            path,
            f"{path} was out of reach{tried}: {problem.rstrip('.')}. {remedy}{' ' * bool(remedy)}"
            "Nothing is known to be written in this time. When it is in reach, run again, or call "
            "aresume_all().",
        )
        self.problem = problem
        self.seconds = seconds
        self.remedy = remedy
