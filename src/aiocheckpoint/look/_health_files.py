"""What is wrong with the files of a store, without a look at a run."""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from aiocheckpoint._texts import MOST_EXAMPLES, counted
from aiocheckpoint.handlers._files.leftovers import owner_of
from aiocheckpoint.look._file_systems import file_system_of
from aiocheckpoint.look._findings import FindingView, megabytes, named

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Sequence

    from aiocheckpoint.look._file_systems import FileSystem
    from aiocheckpoint.look._places import StorePlace

__all__ = ["check_database", "check_leftovers", "check_place", "check_rights", "check_wal"]

LARGE_WAL_BYTES = 64 << 20
"""Four times the length to which the library cuts a "-wal"."""
LEFTOVER_SECONDS = 60.0
"""A temporary file that was written to since may be one of a writer who is at it."""
_HOLD = ("holds", "hold")


def check_place(place: StorePlace) -> Iterator[FindingView]:
    """Look at the file system of a store."""
    system = file_system_of(place.path)
    if system is None:
        return
    where = f"{_shown(place.path)} is on {system.kind}, mounted at {_shown(system.mounted_at)}"
    if system.is_volatile or system.ignores_flushes:
        loss, remedy = _loss(system)
        yield FindingView(kind="durability", problem=f"{where}: {loss}.", remedy=remedy)
    if system.is_network:
        harm, remedy = _NETWORK_HARM["database" if place.kind == "database" else "files"]
        yield FindingView(kind="network", problem=f"{where}, a network {harm}.", remedy=remedy)


_NETWORK_HARM = {
    "database": (
        "file system, on which SQLite damages a database that several machines use",
        "Move it to a disk of the machine whose processes use it.",
    ),
    "files": (
        "file system, whose locks may not hold between machines",
        "Give the flow lock='lease', or move the files to a disk of this machine.",
    ),
}


def _loss(system: FileSystem) -> tuple[str, str]:
    """What is lost when, and the remedy."""
    if system.is_container_layer:
        remedy = "Mount a volume there, or move it to one."
        return "the layer of a container, which is lost with the container", remedy
    if system.is_volatile:
        return "memory, which is lost when the machine stops", "Move it to a disk."
    return (
        "flushes do not reach the disk, so that a power cut loses or damages snapshots",
        "Mount it with barriers.",
    )


def check_rights(place: StorePlace) -> Iterator[FindingView]:
    """Look who but the owner may read or change the files."""
    if os.name == "nt" or not _lets_others_through(place.directory):
        return
    files = _files_of(place)
    readable, examples = _having(files, lambda mode: bool(mode & stat.S_IROTH))
    if readable:
        yield FindingView(
            kind="readable",
            problem=f"{counted(readable, 'file', ('is', 'are'))} readable by every user of this "
            f"machine: {named(examples, readable)}.",
            remedy="chmod o-rwx takes the right away.",
            count=readable,
        )
    writable, examples = _having([place.directory, *files], _lets_others_write)
    if writable:
        yield FindingView(
            kind="writable",
            problem=f"Every user of this machine may write to {named(examples, writable)}, and so "
            "run code in the processes that load these states.",
            remedy="chmod o-w takes the right away.",
            count=writable,
        )


def _lets_others_through(directory: str) -> bool:
    """Whether users without rights of their own reach the files of a directory."""
    path = os.path.realpath(directory)
    while True:
        mode = _mode(path)
        if mode is not None and not mode & stat.S_IXOTH:
            return False
        above = os.path.dirname(path)
        if above == path:
            return True
        path = above


def _lets_others_write(mode: int) -> bool:
    is_shared = stat.S_ISDIR(mode) and mode & stat.S_ISVTX  # As /tmp is: others replace no file.
    return bool(mode & stat.S_IWOTH) and not is_shared


def _having(paths: Sequence[str], has: Callable[[int], bool]) -> tuple[int, list[str]]:
    """Count the files whose mode has something, and give the names of the first."""
    count, examples = 0, list[str]()
    for path in paths:
        mode = _mode(path)
        if mode is not None and has(mode):
            count += 1
            if count <= MOST_EXAMPLES:
                examples.append(os.path.basename(path))
    return count, examples


def _mode(path: str) -> int | None:
    try:
        return os.stat(path).st_mode
    except (OSError, ValueError):
        return None


def check_leftovers(place: StorePlace, owned: Container[str]) -> Iterator[FindingView]:
    """Look for temporary files of killed writers.

    Args:
        place: The store.
        owned: Names of the files of runs that have a living owner.
    """
    found = sorted(_temporary_files(place, owned))
    if found:
        yield FindingView(
            kind="leftover",
            problem=f"{counted(len(found), 'temporary file', _HOLD)} parts of states that killed "
            f"writers left: {named(found[:MOST_EXAMPLES], len(found))}.",
            remedy="The next owner of a run deletes those of that run. Delete the others by hand.",
            count=len(found),
        )


def _temporary_files(place: StorePlace, owned: Container[str]) -> Iterator[str]:
    with suppress(OSError):
        for run, names in _leftovers_of(place):
            for name in names:
                path = os.path.join(place.directory, name)
                if name.endswith(".tmp") and run not in owned and _is_old(path):
                    yield name


def _leftovers_of(place: StorePlace) -> Iterator[tuple[str, list[str]]]:
    """The files beside each file of the store."""
    if place.kind != "database":
        yield from place.run_paths.found().leftovers.items()
        return
    own = os.path.basename(place.path)
    with os.scandir(place.directory) as entries:
        yield own, [entry.name for entry in entries if owner_of(entry.name) == own]


def _is_old(path: str) -> bool:
    try:
        return time.time() - os.stat(path).st_mtime > LEFTOVER_SECONDS
    except OSError:
        return False


def check_wal(place: StorePlace) -> Iterator[FindingView]:
    """Look at the length of the "-wal" of a database."""
    if place.kind != "database":
        return
    try:
        size = os.stat(f"{place.path}-wal").st_size
    except OSError:
        return
    if size > LARGE_WAL_BYTES:
        yield FindingView(
            kind="wal",
            problem=f"{_shown(os.path.basename(place.path))}-wal has {megabytes(size)}, because a "
            "reader that stays open, or a killed process, kept it from beginning anew.",
            remedy="End readers such as backups and shells, then run compact.",
        )


def check_database(place: StorePlace) -> Iterator[FindingView]:
    """Let SQLite look whether the pages of a database fit together.

    Raises:
        StorageError: It cannot be read.
    """
    if place.kind != "database":
        return
    from aiocheckpoint.handlers.sqlite._read_only import ReadOnlyDatabase  # noqa: PLC0415 - large

    with ReadOnlyDatabase(place.path) as database:
        found = [str(row[0]) for row in database.rows(f"PRAGMA quick_check({MOST_EXAMPLES})")]
    if found != ["ok"]:
        yield FindingView(
            kind="damaged",
            problem=f"{_shown(os.path.basename(place.path))} is a damaged database: "
            f"{'; '.join(map(_on_one_line, found))}.",
            remedy="Restore it from a backup. The command verify says which runs can be read.",
        )


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


def _files_of(place: StorePlace) -> list[str]:
    if place.kind == "database":
        return [f"{place.path}{ending}" for ending in ("", "-wal", "-shm")]
    try:
        return sorted(place.run_paths.found().paths)
    except OSError:
        return []


def _shown(path: str) -> str:
    return path if path.isprintable() else repr(path)
