"""The older snapshots of a run: hard links in a hidden directory beside its file.

Each snapshot is linked there by number and sequence before it replaces the run's file. Nothing is
written twice, and the newest snapshot has a second name there.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers._files.failpoints import reach
from aiocheckpoint.handlers._files.rename import NO_LINKS
from aiocheckpoint.handlers._retention import Keep, to_prune

if TYPE_CHECKING:
    from collections.abc import Generator

    from aiocheckpoint._model.header import Header

__all__ = ["RetainedSnapshots"]


_MODE = 0o700


class RetainedSnapshots:
    """The retained snapshots of one run.

    Args:
        target: The run's file, no symbolic link.
        keep: How many snapshots are kept.
    """

    def __init__(self, target: str, keep: Keep) -> None:
        directory, name = os.path.split(target)
        self.directory = os.path.join(directory, f".{name}.kept")
        self._target = target
        self._keep: Keep = keep

    def entries(self) -> list[tuple[int, int]]:
        """Number of the run and sequence of each snapshot, newest first."""
        entries: list[tuple[int, int]] = []
        with suppress(FileNotFoundError, NotADirectoryError):
            for name in os.listdir(self.directory):
                number, _, sequence = name.partition("-")
                if number.isdecimal() and sequence.isdecimal():
                    entries.append((int(number), int(sequence)))
        return sorted(entries, key=lambda entry: entry[1], reverse=True)

    def path(self, number: int, sequence: int) -> str:
        """The path of a retained snapshot."""
        return f"{self.directory}{os.sep}{number}-{sequence}"

    @contextmanager
    def beginning(
        self, temporary: str, header: Header, *, amends: Header | None
    ) -> Generator[None, None, None]:
        """Do as `retaining` for a file that was deleted or emptied: older snapshots go first.

        Raises:
            StorageError: They cannot be deleted, or the file system cannot link files.
        """
        self.clear()
        if self._keep == 1:
            yield
            return
        with self.retaining(temporary, header, amends=amends):
            yield

    @contextmanager
    def retaining(
        self, temporary: str, header: Header, *, amends: Header | None
    ) -> Generator[None, None, None]:
        """Link a snapshot, and after the `with` block has put it in place, prune older ones.

        The link is removed where the block fails before the snapshot is in place.

        Args:
            temporary: The complete file of the snapshot.
            header: The header of the snapshot.
            amends: Header of the snapshot that this one amends and replaces.

        Raises:
            StorageError: The file system cannot link files.
        """
        path = self.path(header.number, header.sequence)
        try:
            self._link(temporary, path)
        except OSError as error:
            raise _no_link(self._target, error) from error
        try:
            reach("kept")
            yield
        except BaseException:
            with suppress(OSError):
                if not self._is_newest(path):
                    os.unlink(path)
            raise
        self._prune(header, amends)

    def _prune(self, header: Header, amends: Header | None) -> None:
        amended = [] if amends is None else [(amends.number, amends.sequence)]
        surplus = amended
        if isinstance(self._keep, int) or not header.durations:
            # Under keep="all" listing is slow, so it is done once a run.
            retained = [entry for entry in self.entries() if entry not in amended]
            surplus = amended + to_prune(retained, header, self._keep)
        for number, sequence in surplus:
            with suppress(OSError):
                os.unlink(self.path(number, sequence))

    def clear(self) -> None:
        """Delete all retained snapshots, and their directory unless it holds other files."""
        if not os.path.isdir(self.directory):
            return
        for number, sequence in self.entries():
            with suppress(FileNotFoundError):
                os.unlink(self.path(number, sequence))
        try:
            os.rmdir(self.directory)
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST}:
                raise

    def _is_newest(self, path: str) -> bool:
        return os.path.exists(self._target) and os.path.samefile(path, self._target)

    def _link(self, temporary: str, path: str) -> None:
        try:
            os.link(temporary, path)
        except FileNotFoundError:
            with suppress(FileExistsError):  # Then the temporary file is missing.
                os.mkdir(self.directory, _MODE)
            os.link(temporary, path)
        except FileExistsError:  # A writer was killed before it replaced the file.
            os.unlink(path)
            os.link(temporary, path)


def _no_link(target: str, error: OSError) -> StorageError:
    if error.errno in NO_LINKS:
        return StorageError(
            target,
            f"the file system of {target} cannot link files, as keep= needs it. Use another path, "
            "or leave keep= out.",
            errno=error.errno,
        )
    return StorageError.of(target, "keeping a snapshot of", error)
