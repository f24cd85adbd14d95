"""The reader of a bucket for displays: the runs of all flows."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Protocol, Self

from aiocheckpoint.handlers._reader import StoreReader

if TYPE_CHECKING:
    from aiocheckpoint._snapshot.signing import Secrets
    from aiocheckpoint.handlers._found_runs import FoundRun
    from aiocheckpoint.handlers._whole_store import WholeStorePort

__all__ = ["ObjectDisplayReader"]


class StoreOfFlows(Protocol):
    """What the handler of a bucket can do for its reader."""

    def exists(self) -> bool:
        """Whether the prefix was ever written."""
        ...

    def flow_names(self) -> tuple[str, ...]:
        """Names of the flows."""
        ...

    def of_flow(self, flow: str) -> Self:
        """The handler of one flow."""
        ...

    def all_kept(self, run_id: str | None) -> list[tuple[int, int]]:
        """The kept snapshots of a run."""
        ...

    def read_progress(self, run_id: str | None = None) -> bytes | None:
        """The record of the progress of a run."""
        ...

    def open(
        self, run_id: str | None = None, kept: tuple[int, int] | None = None
    ) -> BinaryIO | None:
        """A snapshot of a run."""
        ...


class ObjectDisplayReader(StoreReader):
    """Reads a bucket. Each run is asked for in its own flow.

    Args:
        handler: The handler of the bucket.
        objects: The same.
        secret: As for `StoreReader`.
    """

    def __init__(
        self, handler: WholeStorePort, objects: StoreOfFlows, secret: Secrets | None = None
    ) -> None:
        super().__init__(handler, secret)
        self._objects = objects

    def flow_names(self) -> tuple[str, ...]:
        """Names of the flows that have a run here."""
        return self._objects.flow_names()

    def exists(self) -> bool:
        """Whether the prefix was ever written."""
        return self._objects.exists()

    def numbers_of_kept(self, run: FoundRun) -> list[tuple[int, int]]:
        """List numbers and sequences of the kept snapshots of a run, newest first."""
        return self._objects.of_flow(run.flow).all_kept(run.run_id)

    def progress_bytes(self, run: FoundRun) -> bytes | None:
        """Read the record of the progress of a run."""
        return self._objects.of_flow(run.flow).read_progress(run.run_id)

    def open(self, run: FoundRun) -> BinaryIO | None:
        """Read a snapshot into memory."""
        return self._objects.of_flow(run.flow).open(run.run_id, run.kept)
