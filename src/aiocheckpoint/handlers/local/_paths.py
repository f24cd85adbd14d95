"""File names of runs: a run id is mapped to a name, never joined to a path."""

from __future__ import annotations

import hashlib
import os
import re
from collections import defaultdict
from typing import NamedTuple

from aiocheckpoint.handlers._files.leftovers import owner_of

__all__ = ["FoundFiles", "RunPaths", "path_of_flow", "run_path"]

_LONGEST = 120
_NO_ID = "~"


class FoundFiles(NamedTuple):
    """The files of runs in a directory.

    Attributes:
        paths: The path of each run's file.
        leftovers: By the name of a run's file, the names of its lock file and temporary files.
    """

    paths: list[str]
    leftovers: dict[str, list[str]]


class RunPaths:
    """The files of runs, in a directory or beside a file.

    Args:
        path: The absolute path of the file of the run without an id, or of a directory.
        directory: Whether `path` is a directory. The file of `order-42` is then `order-42.pkl`,
            and that of the run without an id is `~.pkl`, a name that no id is mapped to.

    Attributes:
        is_directory: The same.
    """

    def __init__(self, path: str, *, directory: bool) -> None:
        self.is_directory: bool = directory
        self._path = path
        self._pattern = path
        if directory:
            self._path = f"{path}{os.sep}{_NO_ID}.pkl"
            self._pattern = f"{path}{os.sep}.pkl"

    def path(self, run_id: str | None) -> str:
        """The file of a run."""
        return self._path if run_id is None else run_path(self._pattern, run_id)

    def counterpart(self, path: str, place: RunPaths) -> str:
        """The file that has the run of one of these files in another place."""
        name, own = os.path.basename(path), os.path.basename(self._path)
        if name == own:
            return place.path(None)
        (head, tail), (other_head, other_tail) = self._affixes(), place._affixes()
        mapped = name[len(head) : len(name) - len(tail)]
        return os.path.join(place.directory, f"{other_head}{mapped}{other_tail}")

    def run_id_of(self, path: str) -> str | None:
        """The run that one of these files is named for.

        Raises:
            ValueError: A long id is named by its digest, which says nothing of it.
        """
        name = os.path.basename(path)
        if name == os.path.basename(self._path):
            return None
        head, tail = self._affixes()
        mapped = name[len(head) : len(name) - len(tail)].encode()
        raw = re.sub(rb"%([0-9A-F]{2})", lambda found: bytes([int(found[1], 16)]), mapped)
        run_id = raw.decode("utf-8", "surrogatepass")
        if self.path(run_id) != path:
            raise ValueError(path)
        return run_id

    @property
    def directory(self) -> str:
        """The directory of all these files."""
        return os.path.dirname(self._path)

    def found(self) -> FoundFiles:
        """Find the files with names that run ids are mapped to, and the leftovers beside them.

        Raises:
            OSError: The directory cannot be read.
        """
        directory, own = os.path.split(self._path)
        head, tail = self._affixes()
        pattern = re.compile(rf"{re.escape(head)}(?:[a-z0-9_-]|%[0-9A-F]{{2}}|~)+{re.escape(tail)}")
        names: list[str] = []
        leftovers: defaultdict[str, list[str]] = defaultdict(list)
        with os.scandir(directory) as entries:
            for entry in entries:
                name = entry.name
                if name == own or pattern.fullmatch(name):
                    names.append(name)
                elif (run := owner_of(name)) and (run == own or pattern.fullmatch(run)):
                    leftovers[run].append(name)
        return FoundFiles([os.path.join(directory, name) for name in names], leftovers)

    def _affixes(self) -> tuple[str, str]:
        """The parts of a file's name before and behind the mapped id."""
        name = "-"
        head, _, tail = os.path.basename(run_path(self._pattern, name)).rpartition(name)
        return head, tail


def path_of_flow(path: str, run_id: str) -> str | None:
    """The path of a flow whose run has this file. None where a run of that id has another one."""
    directory, name = os.path.split(path)
    mapped, tail = os.path.basename(run_path(os.path.join(directory, ".pkl"), run_id)), ".pkl"
    if name == mapped:
        return directory + os.sep
    mark = f".{mapped.removesuffix(tail)}"
    head, _, end = name.rpartition(mark)
    place = os.path.join(directory, head + end)
    return place if head and run_path(place, run_id) == path else None


def run_path(path: str, run_id: str | None) -> str:
    """The file of a run: `path` itself without an id, else a file beside it.

    `checkpoint.pkl` and `order-42` give `checkpoint.order-42.pkl`. `runs/.pkl`, the pattern of a
    directory, gives `runs/order-42.pkl`. Lower-case ASCII letters, digits, hyphen and underscore
    are kept. Every other byte of the id's UTF-8 form is written as %XX. No two ids share a file,
    even where the file system folds case or Unicode forms. An id with a long name is named by
    "~" and its SHA-256.
    """
    if run_id is None:
        return path
    raw = run_id.encode("utf-8", "surrogatepass")
    short = raw[: _LONGEST + 1]
    name = re.sub(rb"[^a-z0-9_-]", lambda found: b"%%%02X" % found[0][0], short).decode()
    if len(name) > _LONGEST:
        name = "~" + hashlib.sha256(raw).hexdigest()
    directory, file = os.path.split(path)
    if file == ".pkl":
        return os.path.join(directory, f"{name}.pkl")
    stem, suffix = os.path.splitext(path)
    return f"{stem}.{name}{suffix}"
