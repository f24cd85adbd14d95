"""A relative path where the working directory was deleted."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import aiocheckpoint
from aiocheckpoint import (
    CheckpointError,
    CheckpointFlow,
    LocalStateHandler,
    StorageError,
    open_handler,
)
from aiocheckpoint.handlers.sqlite import SqliteStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows forbids deleting it")

OPENED: dict[str, Callable[[], object]] = {
    "flow": lambda: CheckpointFlow("runs.pkl"),
    "flow of a Path": lambda: CheckpointFlow(Path("runs.pkl")),
    "directory": lambda: CheckpointFlow("runs.pkl/"),
    "database": lambda: CheckpointFlow("sqlite:///runs.pkl"),
    "open_handler": lambda: open_handler("runs.pkl"),
    "open_handler of a database": lambda: open_handler("sqlite:///runs.pkl"),
    "LocalStateHandler": lambda: LocalStateHandler("runs.pkl"),
    "SqliteStateHandler": lambda: SqliteStateHandler("runs.pkl"),
    "inspect": lambda: aiocheckpoint.inspect("runs.pkl"),
    "adopt": lambda: aiocheckpoint.adopt("runs.pkl", secret="s" * 32),
}


@pytest.fixture(autouse=True)
def _deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in a directory that was deleted."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()


@pytest.mark.parametrize("name", OPENED)
def test_relative_path(name: str) -> None:
    """The error names the path and the remedy, and is one of the library's."""
    with pytest.raises(
        StorageError, match=r"'runs\.pkl/?'.*relative.*absolute path.*chdir"
    ) as info:
        OPENED[name]()
    assert isinstance(info.value, CheckpointError)
    assert "runs.pkl" in info.value.path
    assert info.value.errno == 2
    assert str(pickle.loads(pickle.dumps(info.value))) == str(info.value)


def test_path_without_a_name() -> None:
    """The name of the flow is asked for first, and fails in the same way."""
    with pytest.raises(StorageError, match="relative"):
        CheckpointFlow(".")


@pytest.mark.parametrize("place", ["{}/c.pkl", "{}/runs/", "sqlite:///{}/runs.db"])
def test_absolute_path(place: str, tmp_path: Path) -> None:
    """An absolute path needs no working directory."""
    cp = CheckpointFlow(place.format(tmp_path), name="f")
    cp.add_step(name="a")(lambda state: None)
    assert cp.run({"n": 1}, run_id="x") == {"n": 1}
    assert [header.run_id for header in cp.runs()] == ["x"]
    if isinstance(cp.handler, SqliteStateHandler):
        cp.handler.close()


def test_flow_made_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow remembers the absolute form of its relative path."""
    monkeypatch.chdir(tmp_path)
    cp = CheckpointFlow("c.pkl")
    cp.add_step(name="a")(lambda state: None)
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert cp.run({"n": 1}) == {"n": 1}
    assert (tmp_path / "c.pkl").exists()
