"""Names of the temporary files of users' writers, which say who the writer is.

The user makes the file, so the writer cannot hold a lock on it. The name tells whether the writer
is gone: its process has ended, which its own machine can tell until its next start. The ending is
that of the target, because libraries choose the format by it. The name begins with a dot, so
readers of directories skip it. It cannot be guessed, so nobody can have put a link there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import socket
from functools import cache
from typing import NamedTuple

from aiocheckpoint.handlers._files.processes import has_ended, machine, started_at

__all__ = ["aside_of", "clear_dead", "temporary_beside"]

_LONGEST_NAME = 255
_DIGEST_DIGITS = 8
_SHORTENED = "~"
_TEMPORARY, _ASIDE = "new", "old"
_NAME = re.compile(
    r"\.(?P<stem>.+)~(?P<host>[0-9a-f]{8})-(?P<boot>[0-9a-f]{8})-(?P<namespace>[0-9a-f]{8})"
    r"-(?P<pid>\d{1,10})-(?P<started>\d*)-[0-9a-f]{16}~(?P<kind>new|old)(?P<ending>(?:\..*)?)",
    re.DOTALL,
)
_cleared: set[str] = set()
"""Directories that this process has cleared. A writer that dies later is cleared by the next."""

_MOST_CLEARED = 10_000


class _Place(NamedTuple):
    """Where this process runs, as short digests."""

    host: str
    boot: str
    namespace: str


def temporary_beside(target: str) -> str:
    """Give a new name beside a target, with its ending."""
    directory, name = os.path.split(target)
    dots = len(name) - len(name.lstrip("."))
    stem, dot, ending = name[dots:].partition(".")
    stem = name[:dots] + stem
    process = f"{os.getpid()}-{started_at(os.getpid())}"
    writer = f"{'-'.join(_here())}-{process}-{os.urandom(8).hex()}"
    found = f".{stem}~{writer}~{_TEMPORARY}{dot}{ending}"
    if len(os.fsencode(found)) > _LONGEST_NAME:
        # An ending that libraries know is short.
        short = os.path.splitext(name)[1]
        found = f".{_SHORTENED}{_digest(name)}~{writer}~{_TEMPORARY}{short}"
    return os.path.join(directory, found)


def aside_of(temporary: str) -> str:
    """The name of the old directory while the new one takes its place."""
    directory, name = os.path.split(temporary)
    found = _NAME.fullmatch(name)
    at = 0 if found is None else found.start("kind")
    return os.path.join(directory, f"{name[:at]}{_ASIDE}{name[at + len(_TEMPORARY) :]}")


def clear_dead(directory: str) -> None:
    """Delete what writers left in a directory that are gone, and put old directories back."""
    if directory in _cleared:
        return
    if len(_cleared) >= _MOST_CLEARED:
        _cleared.clear()
    _cleared.add(directory)
    found: list[tuple[os.DirEntry[str], re.Match[str]]] = []
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        found = [(entry, match) for entry in entries if (match := _NAME.fullmatch(entry.name))]
    for entry, match in found:
        with contextlib.suppress(OSError):
            _clear(entry, match)


def _clear(entry: os.DirEntry[str], match: re.Match[str]) -> None:
    is_gone = _is_gone(match)
    if match["kind"] == _ASIDE:
        if match["stem"].startswith(_SHORTENED):
            return  # Its name is not known.
        target = os.path.join(os.path.dirname(entry.path), match["stem"] + match["ending"])
        if not os.path.lexists(target):
            if is_gone or _is_of_another_start(match):
                os.rename(entry.path, target)
            return
    if not is_gone:
        return
    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path)
    else:
        os.unlink(entry.path)


def _is_gone(match: re.Match[str]) -> bool:
    """Whether the writer's process has provably ended, as only its own machine can tell.

    Another boot id proves nothing: cloned machines and containers have the same host's name.
    """
    place = _here()
    same = _digest("") != place.boot == match["boot"] and match["namespace"] == place.namespace
    return same and match["host"] == place.host and has_ended(int(match["pid"]), match["started"])


def _is_of_another_start(match: re.Match[str]) -> bool:
    """Whether the writer ran before a power cut, or on another machine of the same host's name.

    Putting its old directory back loses nothing. A writer that lives sets it aside once more.
    """
    place = _here()
    return match["host"] == place.host and match["boot"] != place.boot


@cache
def _here() -> _Place:
    boot, namespace = machine()
    return _Place(*map(_digest, (socket.gethostname(), boot, namespace)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGEST_DIGITS]
