"""Servers that refuse to run as root: a user without rights for them, and folders it can enter."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

_NOBODY = 65534
"""The user and the group without rights on Linux, see user_namespaces(7)."""


class _User(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def as_server_user() -> _User:
    """Return the options of `subprocess` that give up root's rights; none for another user."""
    if os.geteuid() != 0:
        return {}
    return {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}


def give_to_server_user(path: Path) -> None:
    """Make the server's user the owner of a file or folder."""
    if os.geteuid() == 0:
        os.chown(path, _NOBODY, _NOBODY)


@contextmanager
def server_folder() -> Generator[Path]:
    """Give a new folder of the server's user, which is removed at the end.

    A folder of pytest is no place for it: pytest closes its folders to other users.
    """
    bases = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]  # noqa: S108
    base = next(base for base in bases if os.geteuid() != 0 or _is_open(base))
    folder = Path(tempfile.mkdtemp(prefix="server-", dir=base))
    give_to_server_user(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def can_execute(program: Path) -> bool:
    """Whether the server's user can enter the folder of a program."""
    return os.geteuid() != 0 or _is_open(program.parent)


def execute(command: Sequence[str | Path], folder: Path) -> str:
    """Execute a command as the server's user, in a folder, and return its output.

    Raises:
        AssertionError: It failed. The message is its output.
    """
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **as_server_user(),
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def _is_open(folder: Path) -> bool:
    # Everybody may enter it, and each folder above it.
    return all(one.stat().st_mode & 0o001 for one in [folder, *folder.resolve().parents])
