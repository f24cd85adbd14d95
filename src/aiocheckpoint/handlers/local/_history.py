"""The older snapshots of a run: hard links in a hidden directory beside its file.

Each snapshot is linked there by number and sequence before it takes its place, so that nothing is
written twice, and the newest one is among them under a second name.
"""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers._retention import Keep, to_prune

if TYPE_CHECKING:
    from collections.abc import Generator

    from aiocheckpoint._model.header import Header

__all__ = ["RetainedSnapshots"]


_MODE = 0o700


class RetainedSnapshots:
    """The snapshots that are kept of one run.

    Args:
        target: The run's file, no symbolic link.
        keep: How many are kept.
    """

    def __init__(self, target: str, keep: Keep) -> None:
        directory, name = os.path.split(target)
        self.directory = os.path.join(directory, f".{name}.kept")
        self._target = target
        self._keep: Keep = keep

    def names(self) -> list[tuple[int, int]]:
        """Number of the run and sequence of each, newest first."""
        found: list[tuple[int, int]] = []
        with suppress(FileNotFoundError, NotADirectoryError):
            for name in os.listdir(self.directory):
                number, _, sequence = name.partition("-")
                if number.isdecimal() and sequence.isdecimal():
                    found.append((int(number), int(sequence)))
        return sorted(found, key=lambda one: one[1], reverse=True)

    def path(self, number: int, sequence: int) -> str:
        """Where one is."""
        return f"{self.directory}{os.sep}{number}-{sequence}"

    @contextmanager
    def adding(self, temporary: str, header: Header) -> Generator[None, None, None]:
        """Link the snapshot in `temporary`, and take that back unless the `with` block places it.

        Args:
            temporary: The file.
            header: Its header.

        Raises:
            StorageError: The file system cannot link files.
        """
        path = self.path(header.number, header.sequence)
        try:
            self._link(temporary, path)
        except OSError as error:
            raise _no_link(self._target, error) from error
        try:
            yield
        except BaseException:
            with suppress(OSError):
                if not self._is_newest(path):
                    os.unlink(path)
            raise

    def prune(self, header: Header, amends: Header | None) -> None:
        """Delete what need not be kept now that a snapshot is in its place.

        Args:
            header: That of the newest snapshot.
            amends: That of the one which it tells more of, and whose place it takes.
        """
        amended = [] if amends is None else [(amends.number, amends.sequence)]
        gone = amended
        if isinstance(self._keep, int) or not header.durations:
            # "all" lists them at the first snapshot of a run alone: it may have many.
            names = [one for one in self.names() if one not in amended]
            gone = amended + to_prune(names, header, self._keep)
        for number, sequence in gone:
            with suppress(OSError):
                os.unlink(self.path(number, sequence))

    def clear(self) -> None:
        """Delete all of them."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self.directory)

    def _is_newest(self, path: str) -> bool:
        return os.path.exists(self._target) and os.path.samefile(path, self._target)

    def _link(self, temporary: str, path: str) -> None:
        try:
            os.link(temporary, path)
        except FileNotFoundError:
            os.mkdir(self.directory, _MODE)
            os.link(temporary, path)
        except FileExistsError:  # of a writer that was killed before its snapshot took its place
            os.unlink(path)
            os.link(temporary, path)


def _no_link(target: str, error: OSError) -> StorageError:
    if error.errno in {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV}:
        return StorageError(
            target,
            f"the file system of {target} cannot link files, as keep= needs it. Use another place, "
            "or leave keep= out.",
            errno=error.errno,
        )
    return StorageError.of(target, "keeping a snapshot of", error)
