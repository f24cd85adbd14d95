"""Limits of the process, and file systems mounted over a directory, for one test each."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path


@contextmanager
def limit(name: str) -> Generator[Callable[[int], None], None, None]:
    """Give a way to lower a limit of this process, which is undone in the end."""
    resource = pytest.importorskip("resource", reason="limits are of POSIX")
    kind = getattr(resource, name)
    soft, hard = resource.getrlimit(kind)
    try:
        yield lambda value: resource.setrlimit(kind, (value, hard))
    finally:
        resource.setrlimit(kind, (soft, hard))


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Give a way to mount things over one directory, which are all taken away in the end."""
    program, undo = shutil.which("mount"), shutil.which("umount")
    if program is None or undo is None or os.geteuid() != 0:
        pytest.skip("only the superuser may mount")
    place = tmp_path / "mounted"
    place.mkdir()
    made: list[bool] = []

    def do(*options: str | Path) -> Path:
        done = subprocess.run([program, *options, place], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("mounting is not allowed here")
        made.extend([True] if "remount,bind,ro" not in options else [])
        return place

    yield do
    for _ in made:  # a directory bound over its like is not seen to be a mount
        subprocess.run([undo, place], check=True)
