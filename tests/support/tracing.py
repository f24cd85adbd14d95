"""Run a script under strace: see its system calls on a directory, and let single ones fail."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CALLS = ("openat", "write", "fsync", "fdatasync", "close", "rename", "renameat2", "unlink", "mkdir")
_LINE = re.compile(r"^(?P<pid>\d+)\s+(?P<name>\w+)\((?P<rest>.*)$")
_ASIDE = re.compile(r"^\d+\s+(\+\+\+|---|<\.\.\.|\w+\(.*<unfinished)")


@dataclass(frozen=True)
class Call:
    """One system call.

    Attributes:
        name: Its name.
        number: Which call of this name it was in its thread, from 1.
        text: Its arguments and result, as strace shows them.
    """

    name: str
    number: int
    text: str

    @property
    def injected(self) -> bool:
        """Whether strace made it fail."""
        return "(INJECTED)" in self.text


@dataclass(frozen=True)
class Traced:
    """The record of a traced run.

    Attributes:
        calls: Its system calls of interest, in order, of all threads.
        status: Its exit status.
        stdout: Its standard output.
        stderr: Its standard error.
    """

    calls: list[Call]
    status: int
    stdout: str
    stderr: str

    def on(self, place: Path) -> list[Call]:
        """Return the calls on a directory and on the files in it."""
        return [call for call in self.calls if str(place) in call.text]


@cache
def can_trace() -> bool:
    """Whether strace is here and may trace."""
    if not sys.platform.startswith("linux") or shutil.which("strace") is None:
        return False
    command = ["strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", sys.executable, "-c", ""]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.returncode == 0


needs_strace = pytest.mark.skipif(not can_trace(), reason="needs strace and the right to trace")


def trace(
    words: Sequence[object],
    log: Path,
    *injections: str,
    only: Path | None = None,
    more: Sequence[str] = (),
) -> Traced:
    """Run this Python under strace.

    Args:
        words: The script and its arguments.
        log: The file that strace writes.
        injections: The faults to inject, in strace's syntax ("fsync:error=EIO:when=1").
        only: Trace, count and disturb calls on this path alone.
        more: Names of calls to trace beside the usual ones.
    """
    command = ["strace", "-f", "-y", "-qq", "-s", "8", "-o", str(log)]
    if only is not None:
        command += [f"--trace-path={only}"]
    elif not any("signal=" in injection for injection in injections):
        command += ["--seccomp-bpf"]  # faster, and deaf to signals
    command += [f"--trace={','.join((*CALLS, *more))}"]
    command += [f"--inject={injection}" for injection in injections]
    done = subprocess.run(
        [*command, sys.executable, "-B", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    return Traced(_read(log), done.returncode, done.stdout, done.stderr)


def _read(log: Path) -> list[Call]:
    counts: dict[tuple[str, str], int] = {}
    calls: list[Call] = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        found = _LINE.match(line)
        if found is None:
            assert _ASIDE.match(line), line
            continue
        key = (found["pid"], found["name"])
        counts[key] = counts.get(key, 0) + 1
        calls.append(Call(found["name"], counts[key], found["rest"]))
    return calls
