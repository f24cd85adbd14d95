"""Names of temporary files: no two processes, forked or not, count from the same number."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from aiocheckpoint.handlers._files import replace as module
from aiocheckpoint.handlers._files.replace import find_destination, replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from aiocheckpoint.handlers._files.replace import FileTarget

LOOK = """
import os, sys
from aiocheckpoint.handlers._files.replace import find_destination, replace_file
look = lambda target: [name for name in os.listdir(sys.argv[1]) if name.endswith(".tmp")]
print(*replace_file(find_destination(sys.argv[1] + "/c.pkl"), look, fsync=False)[0])
"""


def temporary(folder: Path) -> str:
    """Replace a file, and give the name of its temporary file."""

    def look(_: FileTarget) -> list[str]:
        return [path.name for path in folder.glob(".*.tmp")]

    (name,), _ = replace_file(find_destination(str(folder / "c.pkl")), look, fsync=False)
    return name


def number_in(name: str) -> int:
    """The number in the name of a temporary file."""
    return int(name.split(".")[-2], 16)


def test_processes_begin_anywhere(tmp_path: Path) -> None:
    """Each process counts from a random number, and so meets no leftover of another."""
    command = [sys.executable, "-c", LOOK, str(tmp_path)]
    names = [subprocess.check_output(command, text=True).strip() for _ in range(2)]
    numbers = [number_in(name) for name in names]
    assert abs(numbers[0] - numbers[1]) > 1_000_000
    assert min(numbers) > 1_000_000


def test_names_follow_each_other(tmp_path: Path) -> None:
    """No two writes of one process use the same name."""
    names = [temporary(tmp_path) for _ in range(10)]
    assert len(set(names)) == 10
    assert len({len(name) for name in names}) == 1


def test_numbers_begin_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the largest number comes 0, in a name of the same length."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "urandom", lambda size: b"\xff" * size)
        patch.setattr(module, "_temporaries", module._Temporaries())  # noqa: SLF001
        names = [temporary(tmp_path) for _ in range(2)]
    assert names == [f".c.pkl.{digit * 16}.tmp" for digit in "f0"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_children_begin_anew(tmp_path: Path) -> None:
    """A forked child counts from a number of its own, not from its parent's."""
    read, write = os.pipe()
    before = number_in(temporary(tmp_path))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.write(write, temporary(tmp_path).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with os.fdopen(read, "rb") as pipe:
        number = number_in(pipe.read().decode())
    assert abs(number - before) > 1_000_000
