"""Copies of a file's store: a snapshot at a time, while runs go on."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from typing import TYPE_CHECKING

from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers._files.backup_target import check_vacant, nothing_to_copy
from aiocheckpoint.handlers._files.reading import open_regular
from aiocheckpoint.handlers._files.replace import make_directory
from aiocheckpoint.handlers._files.replacement import Replacement
from aiocheckpoint.handlers.local._history import RetainedSnapshots
from aiocheckpoint.handlers.local._paths import RunPaths
from aiocheckpoint.handlers.local._progress_file import path_of_progress

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["back_up"]

_NEITHER_TEXT_NOR_INHERITED = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NEITHER_TEXT_NOR_INHERITED
_MODE, _DIRECTORY_MODE = 0o600, 0o700


def back_up(source: RunPaths, target: RunPaths) -> None:
    """Copy the files of all runs, and their retained snapshots, to another place.

    A file is replaced as a whole when it changes, and stays as it is for a reader that has it
    open. So the copy of each run is one of its snapshots. A directory appears at its path when it
    is complete.

    Args:
        source: The files of the runs.
        target: The place of the copies, where nothing is.

    Raises:
        StorageError: Nothing is stored, something is at a path of the copy, or the disk refuses.
    """
    place = target.directory if target.is_directory else target.path(None)
    try:
        files = _files_of(source)
        make_directory(place)
        if target.is_directory:
            _fill_directory(files, source, target)
        else:
            _make_each(files, source, target)
    except StorageError:
        raise
    except OSError as error:
        raise StorageError.of(place, "copying runs to", error) from error


def _files_of(source: RunPaths) -> list[str]:
    try:
        files = sorted(source.found().paths)
    except FileNotFoundError:
        raise nothing_to_copy(source.directory) from None
    if not files and not source.is_directory:
        raise nothing_to_copy(source.path(None))
    return files


def _fill_directory(files: list[str], source: RunPaths, target: RunPaths) -> None:
    check_vacant(target.directory)
    replacement = Replacement(target.directory)
    try:
        os.mkdir(replacement.temporary, _DIRECTORY_MODE)
        place = RunPaths(replacement.temporary, directory=True)
        for file in files:
            copy = source.counterpart(file, place)
            _copy_retained(file, RetainedSnapshots(copy, "all").directory)
            _copy(file, copy)
            _copy(path_of_progress(file), path_of_progress(copy))
        check_vacant(target.directory)
    except BaseException:
        replacement.discard()
        raise
    replacement.commit()


def _make_each(files: list[str], source: RunPaths, target: RunPaths) -> None:
    copies = {file: source.counterpart(file, target) for file in files}
    for copy in copies.values():
        check_vacant(copy)
    for file, copy in copies.items():
        _put(file, RetainedSnapshots(copy, "all").directory, _copy_retained)
        _put(file, copy, _copy)
        _put(path_of_progress(file), path_of_progress(copy), _copy)


def _put(file: str, copy: str, make: Callable[[str, str], bool]) -> None:
    replacement = Replacement(copy)
    try:
        made = make(file, replacement.temporary)
    except BaseException:
        replacement.discard()
        raise
    if made:
        replacement.commit()


def _copy_retained(file: str, directory: str) -> bool:
    """Copy the retained snapshots of a run, and return whether there are any."""
    retained = RetainedSnapshots(os.path.realpath(file), "all")
    entries = retained.entries()
    if entries:
        os.mkdir(directory, _DIRECTORY_MODE)
    for number, sequence in entries:
        name = retained.path(number, sequence)
        _copy(name, os.path.join(directory, os.path.basename(name)))
    return bool(entries)


def _copy(file: str, copy: str) -> bool:
    """Copy a file, and return whether it was still there."""
    source = open_regular(file)
    if source is None:
        return False
    with closing(source), os.fdopen(os.open(copy, _CREATE, _MODE), "wb") as made:
        shutil.copyfileobj(source, made)
    return True
