"""Non-files in the file's path, links, and sound snapshots that cannot be loaded."""

from __future__ import annotations

import os
import socket
import stat
import sys
import types
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import IncompatibleSnapshotError, LocalStateHandler, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support import FlowFactory, Runner


def make_fifo(path: Path) -> None:
    """Put a FIFO there."""
    os.mkfifo(path)


def make_directory(path: Path) -> None:
    """Put a directory there."""
    path.mkdir()


def make_socket(path: Path) -> None:
    """Put a socket there."""
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def make_device_link(path: Path) -> None:
    """Put a link to a device there."""
    path.symlink_to("/dev/null")


def make_loop(path: Path) -> None:
    """Put a link to itself there."""
    path.symlink_to(path)


@pytest.mark.parametrize(
    "make", [make_fifo, make_directory, make_socket, make_device_link, make_loop]
)
def test_what_is_no_file(
    make: Any,  # noqa: ANN401
    runner: Runner,
    monkeypatch: pytest.MonkeyPatch,
    flows: FlowFactory,
) -> None:
    """A non-file in the file's path is refused at once, and stays."""
    monkeypatch.chdir(flows.path.parent)
    cp, handler = flows.flow("a"), LocalStateHandler(flows.path)
    make(flows.path.relative_to(flows.path.parent))
    kind = stat.S_IFMT(os.lstat(flows.path).st_mode)
    for call in (runner, runner.allowed_plan):
        with pytest.raises(StorageError, match=flows.path.name) as info:
            call(cp, {"a": 1})
        assert info.value.path == str(flows.path)
    with pytest.raises(StorageError):
        runner.write(handler, {"a": 1})
    assert flows.log == []
    assert stat.S_IFMT(os.lstat(flows.path).st_mode) == kind


@pytest.mark.parametrize("there", [True, False], ids=["link", "dangling link"])
def test_symbolic_link(runner: Runner, flows: FlowFactory, tmp_path: Path, *, there: bool) -> None:
    """A link is kept and its target is replaced. Relative links work as well."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    target = elsewhere / "real.pkl"
    if there:
        target.write_bytes(b"")
    flows.path.symlink_to("elsewhere/real.pkl")
    runner(flows.flow("a", "b"), {"n": 1}, until="a")
    assert flows.path.is_symlink()
    assert not target.is_symlink()
    assert LocalStateHandler(target, flow="checkpoint").read()["trail"] == ["a"]
    assert runner(flows.flow("a", "b"))["trail"] == ["a", "b"]
    assert flows.path.is_symlink()
    assert sorted(path.name for path in elsewhere.iterdir()) == ["real.pkl"]


# --- sound snapshots that cannot be loaded


@pytest.fixture
def module() -> Iterator[Any]:
    """Yield an importable module with a class, made for one test."""
    made = types.ModuleType("made_for_bad_files")
    exec("class Thing:\n    pass\n", vars(made))  # noqa: S102
    sys.modules[made.__name__] = made
    yield made
    sys.modules.pop(made.__name__, None)


@pytest.mark.parametrize("gone", ["class", "module"])
def test_class_that_is_gone(gone: str, module: Any, runner: Runner, flows: FlowFactory) -> None:  # noqa: ANN401
    """The error names a class that is missing. With the class restored, the run resumes."""
    runner(flows.flow("a", "b"), {"thing": module.Thing()}, until="a")
    before, kept = flows.path.read_bytes(), module.Thing
    if gone == "class":
        del module.Thing
    else:
        del sys.modules[module.__name__]
    with pytest.raises(IncompatibleSnapshotError, match=r"Thing|made_for_bad_files") as info:
        runner(flows.flow("a", "b"))
    assert info.value.written_by == "{}.{}.{}".format(*sys.version_info)
    assert flows.ran() == ["a"]
    assert flows.path.read_bytes() == before
    module.Thing, sys.modules[module.__name__] = kept, module
    assert runner(flows.flow("a", "b"))["trail"] == ["a", "b"]
