"""Fixtures for all tests, and the check that no test leaves anything behind."""

from __future__ import annotations

import gc
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from many import KINDS, Runs
from support import Door, Lab
from trying import PLACES, Anywhere

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 5.0


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker that switches off the check for left files."""
    config.addinivalue_line("markers", "leaves_files: a writer is killed or its directory moved")


def pytest_collection_finish() -> None:
    """Keep what was collected out of the search for garbage, which many tests ask for."""
    gc.collect()
    gc.freeze()


@pytest.fixture(params=["run", "arun"])
def door(request: pytest.FixtureRequest) -> Door:
    """Give each door in turn: `cp.run(...)` and `asyncio.run(cp.arun(...))`."""
    return Door(request.param)


@pytest.fixture(params=["run", "arun", "notebook"])
def every_door(request: pytest.FixtureRequest) -> Door:
    """Give each door in turn, and `cp.run(...)` called where a loop already runs."""
    return Door(request.param)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """Give a workshop of recording flows that store in `checkpoint.pkl`."""
    return Lab(tmp_path / "checkpoint.pkl")


@pytest.fixture(params=KINDS)
def runs(
    request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> Iterator[Runs]:
    """Give a workshop of flows with many runs, in each kind of place in turn."""
    yield from _made(tmp_path, request.param, caplog)


@pytest.fixture(params=["sqlite", "directory"])
def lasting(
    request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> Iterator[Runs]:
    """Give such a workshop in each kind of place that outlives the process."""
    yield from _made(tmp_path, request.param, caplog)


@pytest.fixture(params=PLACES)
def anywhere(
    request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> Iterator[Anywhere]:
    """Give a workshop in each kind of place in turn, a user's own handler included."""
    lab = Anywhere.at(tmp_path, request.param)
    yield lab
    lab.forget()
    caplog.get_records("call").clear()


@pytest.fixture(params=["file", "own"])
def somewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Anywhere:
    """Give such a workshop in a file, and with a user's own handler of dicts."""
    return Anywhere.at(tmp_path, request.param)


@pytest.fixture
def in_file(tmp_path: Path) -> Anywhere:
    """Give such a workshop in a file alone."""
    return Anywhere.at(tmp_path, "file")


@pytest.fixture
def database(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Runs]:
    """Give such a workshop in a database."""
    yield from _made(tmp_path, "sqlite", caplog)


def _made(folder: Path, kind: str, caplog: pytest.LogCaptureFixture) -> Iterator[Runs]:
    lab = Runs.at(folder, kind)
    yield lab
    # What errors hold, by their tracebacks, holds the database open.
    lab.forget()
    caplog.get_records("call").clear()


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """Give the place where a canary leaves its mark."""
    return tmp_path / "mark"


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves threads, descriptors, or temporary and lock files behind."""
    place: Path | None = None
    if "tmp_path" in request.fixturenames:
        place = request.getfixturevalue("tmp_path")
    descriptors, threads = _descriptors(), set(threading.enumerate())
    yield
    assert not _remaining(lambda: _strange_threads(threads)), "threads left behind"
    assert not _remaining(lambda: _descriptors() - descriptors), "descriptors left behind"
    if place is not None and request.node.get_closest_marker("leaves_files") is None:
        assert _scraps(place) == [], "temporary or lock files left behind"


def _remaining(find: Callable[[], set[str]]) -> set[str]:
    """Ask until nothing is found; what ends by itself soon is not left behind."""
    found = find()
    deadline = time.monotonic() + PATIENCE
    while found and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
        found = find()
    return found


def _strange_threads(before: set[threading.Thread]) -> set[str]:
    new = set(threading.enumerate()) - before
    return {thread.name for thread in new if not thread.name.startswith("aiocheckpoint")}


def _descriptors() -> set[str]:
    if not sys.platform.startswith("linux"):
        return set()
    found = set[str]()
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{link.name} -> {link.readlink()}")
        except FileNotFoundError:
            continue
    return found


def _scraps(place: Path) -> list[str]:
    names = (path.name for path in place.rglob("*"))
    return sorted(name for name in names if name.endswith((".tmp", ".lock")))
