"""Limits of the process, and file systems mounted over a directory, for one test each."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from kept_open import close_kept_open

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

PATIENCE = 10.0


@contextmanager
def limit(name: str) -> Generator[Callable[[int], None], None, None]:
    """Give a way to lower a limit of this process, which is restored at the end."""
    resource = pytest.importorskip("resource", reason="limits are of POSIX")
    kind = getattr(resource, name)
    soft, hard = resource.getrlimit(kind)
    try:
        yield lambda value: resource.setrlimit(kind, (value, hard))
    finally:
        resource.setrlimit(kind, (soft, hard))


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Give a way to mount file systems over one directory, all unmounted at the end."""
    program, undo = shutil.which("mount"), shutil.which("umount")
    if program is None or undo is None or os.geteuid() != 0:
        pytest.skip("only the superuser may mount")
    place = tmp_path / "mounted"
    place.mkdir()
    made: list[bool] = []

    def do(*options: str | Path) -> Path:
        report = _call_until_idle(program, *options, place)
        assert "busy" not in report
        if report:
            pytest.skip("mounting is not allowed here")
        made.extend([True] if "remount,bind,ro" not in options else [])
        return place

    yield do
    for _ in made:  # a directory bound over itself is not reported as a mount
        assert _call_until_idle(undo, place) == ""


def _call_until_idle(*command: str | Path) -> str:
    """Call `mount` or `umount` until nothing on the file system is busy; return what it reports.

    A flow in the traceback of an error keeps its database open until it is collected.
    """
    deadline, report = time.monotonic() + PATIENCE, "busy"
    while "busy" in report and time.monotonic() < deadline:
        gc.collect()
        close_kept_open()
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        report = done.stderr if done.returncode else ""
    return report
