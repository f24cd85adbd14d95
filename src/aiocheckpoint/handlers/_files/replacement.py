"""The durable replacement of a user's own file or directory, in steps.

A file is flushed, and renamed over the old one. Of a directory, all files and directories in it
are. It and the old one exchange their names by one call on Linux. Elsewhere the old one is renamed
aside first. A process killed in between leaves no directory at the path. The next writer puts the
old one back.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from typing import TYPE_CHECKING

from aiocheckpoint.errors import NotDurableError, StorageError
from aiocheckpoint.handlers._files.fsync import flush_directory, flush_file
from aiocheckpoint.handlers._files.rename import exchange, rename
from aiocheckpoint.handlers._files.writers import aside_of, clear_dead, temporary_beside

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Replacement"]

_OPEN = (os.O_RDWR if os.name == "nt" else os.O_RDONLY) | getattr(os, "O_CLOEXEC", 0)
_TRIES = 100
_TAKEN = frozenset({errno.ENOTEMPTY, errno.EEXIST})
"""The answers of rename(2) where another writer's directory is in place."""
_CHANGES_KIND = "is {old}, and the new one is {new}: delete the old one first, or use another path"


class Replacement:
    """A file or directory that is about to be replaced.

    Args:
        path: The absolute path.

    Attributes:
        temporary: Where the new one is made.

    Raises:
        StorageError: The path cannot be used. Nothing was made.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._target = os.path.realpath(path)  # A symbolic link stays.
        directory = os.path.dirname(self._target)
        try:
            clear_dead(directory)
            self._kind_of(self._target)
            os.stat(directory)
        except OSError as error:
            raise self._failed(error) from error
        self.temporary: str = temporary_beside(self._target)

    def commit(self) -> None:
        """Put the new file or directory in place, durably.

        Raises:
            StorageError: Nothing was replaced, and the new one is deleted. A `NotDurableError`: the
                new one is in place, but may not outlive a power cut.
        """
        try:
            self._put_in_place()
        except BaseException as error:
            self.discard()
            if isinstance(error, OSError) and not isinstance(error, StorageError):
                raise self._failed(error) from error
            raise
        self._flush_parent()

    def discard(self) -> None:
        """Delete the new file or directory, as far as it was made. The old one stays."""
        _delete(self.temporary)

    def _put_in_place(self) -> None:
        old, new = self._kind_of(self._target), self._kind_of(self.temporary)
        if new is None:
            raise StorageError(
                self._path,
                f"{self._path} was not replaced: nothing was written to the temporary path that "
                "replacing() gave. Write there, not to the path itself.",
            )
        if old is not None and stat.S_IFMT(old) != stat.S_IFMT(new):
            names = {"old": _name_of(old), "new": _name_of(new)}
            raise StorageError(self._path, f"{self._path} {_CHANGES_KIND.format(**names)}.")
        if old is not None:
            os.chmod(self.temporary, stat.S_IMODE(old))
        if stat.S_ISDIR(new):
            for name in _all_in(self.temporary):
                _flush(name)
            self._put_directory(replaces=old is not None)
        else:
            _flush(self.temporary)
            rename(self.temporary, self._target, durable=True)

    def _put_directory(self, *, replaces: bool) -> None:
        """Put the new directory in place. Other writers may come first, again and again."""
        for left in reversed(range(_TRIES)):
            if replaces and exchange(self.temporary, self._target):
                _delete(self.temporary)  # The old one.
                return
            try:
                if replaces:
                    self._put_directory_in_two_steps()
                else:
                    os.rename(self.temporary, self._target)
            except OSError as error:
                is_taken = error.errno in _TAKEN
                if not left or not (is_taken or (replaces and error.errno == errno.ENOENT)):
                    raise
                replaces = is_taken
            else:
                return

    def _put_directory_in_two_steps(self) -> None:
        aside = aside_of(self.temporary)
        os.rename(self._target, aside)
        try:
            os.rename(self.temporary, self._target)
        except BaseException:
            try:
                os.rename(aside, self._target)
            except OSError as error:
                # Another writer has put a newer one in place, and a third may have moved that.
                if error.errno in _TAKEN or os.path.lexists(self._target):
                    _delete(aside)
            raise
        _delete(aside)

    def _flush_parent(self) -> None:
        try:
            flush_directory(os.path.dirname(self._target))
        except OSError as error:
            raise NotDurableError(
                self._path,
                f"{self._path} was replaced, but flushing its directory failed: {error.strerror}. "
                "It is whole, yet a power cut could still bring back the one before.",
                errno=error.errno,
            ) from error

    def _kind_of(self, path: str) -> int | None:
        """The mode of a file or directory. None where there is nothing."""
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:
            return None
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise StorageError(
                self._path,
                f"{path} is neither a file nor a directory, and is not replaced. Choose another "
                "path.",
            )
        return mode

    def _failed(self, error: OSError) -> StorageError:
        return StorageError.of(self._path, "replacing", error)


def _all_in(directory: str) -> Iterator[str]:
    """Yield the files and directories in a directory, from the leaves up, and itself."""
    for folder, _, files in os.walk(directory, topdown=False, onerror=_raise):
        yield from (os.path.join(folder, name) for name in files)
        yield folder


def _flush(path: str) -> None:
    mode = os.lstat(path).st_mode
    if stat.S_ISDIR(mode):
        flush_directory(path)
    elif stat.S_ISREG(mode):
        descriptor = os.open(path, _OPEN)
        try:
            flush_file(descriptor)
        finally:
            os.close(descriptor)


def _delete(path: str) -> None:
    with contextlib.suppress(OSError):
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def _name_of(mode: int) -> str:
    return "a directory" if stat.S_ISDIR(mode) else "a file"


def _raise(error: OSError) -> None:
    raise error
