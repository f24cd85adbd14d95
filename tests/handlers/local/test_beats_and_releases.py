"""A heartbeat and a release of one lease at the same moment: no other file is written."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import RunInProgressError
from aiocheckpoint.handlers._files import heartbeats
from aiocheckpoint.handlers._files.lease_lock import LeaseLock
from aiocheckpoint.handlers._files.lease_owner import LeaseOwner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE = 20.0


class Pause:
    """Lets a thread wait in the midst of a beat until it is told to go on."""

    def __init__(self) -> None:
        self._began, self._goes_on = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: None)

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, which waits before its work in the thread of the beat alone."""

        def waits(*args: Any) -> Any:  # noqa: ANN401 - passed on
            if threading.current_thread() is self._thread:
                self._began.set()
                assert self._goes_on.wait(PATIENCE)
            return function(*args)

        return waits

    def begin_beat(self, lock: LeaseLock) -> None:
        """Begin a beat in a thread."""
        self._thread = threading.Thread(target=lock.beat)
        self._thread.start()
        assert self._began.wait(PATIENCE)

    def end_beat(self) -> None:
        """Let the beat go on, and wait for its end."""
        self._goes_on.set()
        self._thread.join()


def taken(tmp_path: Path) -> LeaseLock:
    """A lock that is held."""
    lock = LeaseLock(str(tmp_path / "x.lock"), "x", 30.0)
    lock.acquire()
    return lock


def open_files() -> int:
    """Number of the process's descriptors."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


@pytest.mark.parametrize("call", ["lseek", "write", "fsync"])
def test_late_beat_writes_no_other_file(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of a released lock file may be another file's. A beat under way spares it."""
    pause, lock = Pause(), taken(tmp_path)
    monkeypatch.setattr(os, call, pause.wrap(getattr(os, call)))
    pause.begin_beat(lock)
    lock.release()
    files = [(tmp_path / f"mine-{number}").open("w+b", buffering=0) for number in range(5)]
    for file in files:
        file.write(b"precious")
    pause.end_beat()
    for file in files:
        file.seek(0)
        assert file.read() == b"precious"
        file.close()


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")  # noqa: PTH110
def test_late_beat_closes_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No descriptor stays open behind a release during a beat."""
    before = open_files()
    pause, lock = Pause(), taken(tmp_path)
    monkeypatch.setattr(os, "lseek", pause.wrap(os.lseek))
    pause.begin_beat(lock)
    lock.release()
    pause.end_beat()
    assert open_files() == before


def test_released_lock_is_not_held_after_a_late_beat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A beat under way brings no released lock back, and another owner keeps the run."""
    pause, lock = Pause(), taken(tmp_path)
    monkeypatch.setattr(LeaseOwner, "next", pause.wrap(LeaseOwner.next))
    pause.begin_beat(lock)
    lock.release()
    pause.end_beat()
    assert not lock.held
    other = taken(tmp_path)
    with pytest.raises(RunInProgressError):
        lock.acquire()
    other.release()


def test_release_between_two_beats_at_once(tmp_path: Path) -> None:
    """Beats and releases from many threads leave no error, and no lock that is held."""
    errors: list[BaseException] = []

    def live(number: int) -> None:
        try:
            for _ in range(30):
                lock = LeaseLock(str(tmp_path / f"{number}.lock"), "x", 30.0)
                lock.acquire()
                beats = threading.Thread(target=lambda lock=lock: [lock.beat() for _ in range(3)])
                beats.start()
                lock.check()
                lock.release()
                beats.join()
                assert not lock.held
        except BaseException as error:  # noqa: BLE001 - shown below
            errors.append(error)

    threads = [threading.Thread(target=live, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert list(tmp_path.iterdir()) == []


class Beats:
    """A lock whose beats are counted, or fail."""

    def __init__(self, *, fails: bool) -> None:
        self.came, self._fails = threading.Semaphore(0), fails

    def beat(self) -> None:
        """Count, and fail."""
        self.came.release()
        if self._fails:
            raise AttributeError("broken")

    def forget_parent(self) -> None:
        """Nothing is to be closed."""


def test_one_failing_beat_ends_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """An error of one lease is logged, and the thread renews all leases again and again."""
    broken, whole = Beats(fails=True), Beats(fails=False)
    with caplog.at_level(logging.ERROR, "aiocheckpoint"):
        for lock in (broken, whole):
            heartbeats.start_beating(lock, 0.02)
        try:
            for lock in (broken, whole):
                assert all(lock.came.acquire(timeout=PATIENCE) for _ in range(3))
        finally:
            for lock in (broken, whole):
                heartbeats.stop_beating(lock)
    assert "heartbeat" in caplog.text


def test_release_during_its_beat_stops_the_beats() -> None:
    """A lock that is released during a beat of the thread is not renewed again."""
    stopped = threading.Event()

    class Stops(Beats):
        def beat(self) -> None:
            super().beat()
            heartbeats.stop_beating(self)
            stopped.set()

    lock = Stops(fails=False)
    heartbeats.start_beating(lock, 0.02)
    assert stopped.wait(PATIENCE)
    assert lock.came.acquire(timeout=PATIENCE)
    assert not lock.came.acquire(timeout=0.2)
