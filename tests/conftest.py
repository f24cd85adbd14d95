"""Fixtures for all tests, and the check that no test leaves anything behind."""

from __future__ import annotations

import gc
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from case_ids import UNSTABLE
from flaky_steps import STORES, AnyStore
from hypothesis import HealthCheck, settings
from kept_open import close_kept_open
from ordinary_user import MARK, may_write_everywhere
from run_factories import KINDS, Runs
from support import FlowFactory, Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 5.0
TESTS_TO_FREEZE = 200
_finished: list[None] = []


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker that switches off the check for left files, and have Ctrl-C heeded.

    A background job of a script starts with SIGINT ignored, and so do its children. The tests
    press Ctrl-C themselves, here and in the programs that they start.
    """
    config.addinivalue_line("markers", "leaves_files: a writer is killed or its directory moved")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # The short tests try the same examples each time, so that a failure is one of the change at
    # hand. Those under "torture" try new ones, and so does any run with a profile of its own.
    # None fails since the machine is busy.
    slow = [HealthCheck.too_slow]
    settings.register_profile(
        "repeatable", derandomize=True, deadline=None, suppress_health_check=slow
    )
    if "not torture" in config.option.markexpr and not config.getoption("--hypothesis-profile"):
        settings.load_profile("repeatable")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what root cannot test. `test_ordinary_user.py` runs it then."""
    if item.get_closest_marker(MARK) is not None and may_write_everywhere():
        pytest.skip("run as an ordinary user by test_ordinary_user.py")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse ids that differ between processes, as pytest-xdist does.

    The collected tests are kept out of the garbage searches that many tests ask for.
    """
    unstable = [item.nodeid for item in session.items if UNSTABLE.search(item.nodeid)]
    if unstable:
        words = "Ids hold addresses, or sets; name the cases, by ids=plain_repr where it helps"
        raise pytest.UsageError(f"{words}: {unstable}")
    _freeze()


def pytest_runtest_logfinish() -> None:
    """Keep what is left of the tests so far out of the garbage searches of the later ones.

    The reports and caches of ten thousand tests would make each search take a third of a second.
    """
    _finished.append(None)
    if len(_finished) % TESTS_TO_FREEZE == 0:
        _freeze()


def _freeze() -> None:
    gc.collect()
    gc.freeze()


@pytest.fixture(params=["run", "arun"])
def runner(request: pytest.FixtureRequest) -> Runner:
    """Give each runner in turn: `cp.run(...)` and `asyncio.run(cp.arun(...))`."""
    return Runner(request.param)


@pytest.fixture(params=["run", "arun", "notebook"])
def any_runner(request: pytest.FixtureRequest) -> Runner:
    """Give each runner in turn, and `cp.run(...)` called where a loop already runs."""
    return Runner(request.param)


@pytest.fixture
def flows(tmp_path: Path) -> FlowFactory:
    """Give a factory of recording flows that store in `checkpoint.pkl`."""
    return FlowFactory(tmp_path / "checkpoint.pkl")


@pytest.fixture(params=KINDS)
def runs(
    request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> Iterator[Runs]:
    """Give a factory of flows with many runs, in each kind of place in turn."""
    yield from _made(tmp_path, request.param, caplog)


@pytest.fixture(params=["sqlite", "directory"])
def durable_runs(
    request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> Iterator[Runs]:
    """Give such a factory in each kind of place that outlives the process."""
    yield from _made(tmp_path, request.param, caplog)


@pytest.fixture(params=STORES)
def any_store(
    request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> Iterator[AnyStore]:
    """Give a factory in each kind of place in turn, a user's own handler included."""
    flows = AnyStore.at(tmp_path, request.param)
    yield flows
    flows.forget()
    caplog.get_records("call").clear()


@pytest.fixture(params=["file", "own"])
def simple_store(request: pytest.FixtureRequest, tmp_path: Path) -> AnyStore:
    """Give such a factory in a file, and with a user's own handler of dicts."""
    return AnyStore.at(tmp_path, request.param)


@pytest.fixture
def file_store(tmp_path: Path) -> AnyStore:
    """Give such a factory in a file alone."""
    return AnyStore.at(tmp_path, "file")


@pytest.fixture
def database(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Runs]:
    """Give such a factory in a database."""
    yield from _made(tmp_path, "sqlite", caplog)


def _made(folder: Path, kind: str, caplog: pytest.LogCaptureFixture) -> Iterator[Runs]:
    flows = Runs.at(folder, kind)
    yield flows
    # The tracebacks of errors keep the database open.
    flows.forget()
    caplog.get_records("call").clear()


@pytest.fixture
def canary_file(tmp_path: Path) -> Path:
    """Give the place where a canary leaves its mark."""
    return tmp_path / "mark"


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves threads, signal handlers, descriptors or files behind."""
    place: Path | None = None
    if "tmp_path" in request.fixturenames:
        place = request.getfixturevalue("tmp_path")
    descriptors, threads = _descriptors(), set(threading.enumerate())
    handlers = _signal_handlers()
    yield
    assert _signal_handlers() == handlers, "signal handlers left behind"
    assert not _remaining(lambda: _strange_threads(threads)), "threads left behind"
    assert not _remaining(lambda: _left_open(descriptors)), "descriptors left behind"
    if place is not None and request.node.get_closest_marker("leaves_files") is None:
        assert _scraps(place) == [], "temporary or lock files left behind"


def _signal_handlers() -> tuple[object, ...]:
    return tuple(signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM))


def _remaining(find: Callable[[], set[str]]) -> set[str]:
    """Ask until nothing is found, since some leftovers end by themselves soon."""
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


def _left_open(before: set[str]) -> set[str]:
    close_kept_open()
    return _descriptors() - before


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
    return sorted(name for name in names if name.endswith((".tmp", ".lock", ".end")))
