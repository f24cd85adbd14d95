"""Calls that a file system lacks: locks, flushes of directories, hard links."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from locations import program
from tracing import needs_strace, trace

from aiocheckpoint import CheckpointFlow, LocalStateHandler, NotDurableError, StorageError
from aiocheckpoint.handlers._files import fsync as fsync_module
from aiocheckpoint.handlers._files import rename as rename_module
from aiocheckpoint.handlers.sqlite import SqliteStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import Runner

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
NO_FLUSH = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)
NO_LINKS = (errno.ENOSYS, errno.EPERM, errno.EIO, errno.ENOTSUP)


def refusing(number: int) -> Callable[..., Any]:
    """Make a call that is refused."""

    def refuse(*args: object, **kwargs: object) -> None:
        del args, kwargs
        raise OSError(number, os.strerror(number))

    return refuse


def flow(place: str, **options: Any) -> CheckpointFlow:  # noqa: ANN401 - passed on
    """Make a flow of one step."""
    cp = CheckpointFlow(place, **options)
    cp.add_step(name="only")(lambda state: state.update(done=True))
    return cp


# --- locks


@pytest.mark.parametrize("number", NO_LOCKS, ids=errno.errorcode.__getitem__)
@pytest.mark.parametrize("place", ["c.pkl", "runs/"])
def test_without_locks(
    place: str, number: int, runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names locks and `lock="lease"`, with which the run goes on at once."""
    monkeypatch.setattr(fcntl, "flock", refusing(number))
    for call in (runner, lambda cp, state: cp.handler.write(state)):
        with pytest.raises(StorageError, match=r"cannot lock files.*lock='lease'") as info:
            call(flow(f"{tmp_path}/{place}"), {})
        assert info.value.errno == number
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert runner(flow(f"{tmp_path}/{place}", lock="lease"), {})["done"]


def test_lock_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure is told apart from what the system lacks."""
    monkeypatch.setattr(fcntl, "flock", refusing(errno.EIO))
    with pytest.raises(StorageError, match="taking the lock file") as info:
        flow(f"{tmp_path}/c.pkl").run({})
    assert "lock='lease'" not in str(info.value)
    (tmp_path / ".c.pkl.lock").unlink()


def test_database_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database names a local disk: SQLite itself needs the kernel's locks."""
    monkeypatch.setattr(fcntl, "flock", refusing(errno.ENOLCK))
    with pytest.raises(StorageError, match=r"cannot lock files.*local disk") as info:
        flow(f"sqlite:///{tmp_path}/runs.db").run({})
    assert "lease'" not in str(info.value)


@needs_strace
@pytest.mark.strace
def test_flock_of_the_system_fails(tmp_path: Path) -> None:
    """With the system call itself made to fail, a run by leases ends well, and others are told."""
    for number, lock in enumerate(("lease", "kernel")):
        folder = tmp_path / str(number)
        (folder / "place").mkdir(parents=True)
        words = [program("lacking_script.py"), folder / "place" / "c.pkl", lock]
        traced = trace(words, folder / "log", "flock:error=ENOLCK", more=("flock",))
        assert traced.stdout.split() == [{"lease": "ran", "kernel": "refused"}[lock]]


# --- flushes of directories


class Flushes:
    """`os.fsync`, which answers so for directories."""

    def __init__(self, number: int | None) -> None:
        """Start with no flush seen."""
        self.number, self.seen = number, list[str]()
        self._real = os.fsync

    def __call__(self, descriptor: int) -> None:
        """Flush, or refuse to."""
        is_directory = os.path.isdir(f"/proc/self/fd/{descriptor}")  # noqa: PTH112
        self.seen.append("directory" if is_directory else "file")
        if is_directory and self.number is not None:
            raise OSError(self.number, os.strerror(self.number))
        self._real(descriptor)


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the test looks into /proc")
PLACES = ("c.pkl", "new/c.pkl", "runs/", "sqlite:///{}/new/runs.db")


@on_linux
@pytest.mark.parametrize("number", NO_FLUSH, ids=errno.errorcode.__getitem__)
@pytest.mark.parametrize("place", PLACES)
def test_directories_that_do_not_flush(
    place: str,
    number: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A run goes on. One warning for each file system says what is at stake."""
    monkeypatch.setattr(os, "fsync", Flushes(number))
    monkeypatch.setattr(fsync_module, "_unflushed_devices", set())
    whole = place.format(tmp_path) if "://" in place else f"{tmp_path}/{place}"
    with caplog.at_level(logging.WARNING, "aiocheckpoint"):
        for _ in range(2):
            assert flow(whole).run({}, run_id="a")["done"]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "cannot flush directories" in record.getMessage()
    assert "fsync=False" in record.getMessage()
    caplog.get_records("call").clear()


@on_linux
def test_flush_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed flush of a directory is an error as before."""
    monkeypatch.setattr(os, "fsync", Flushes(errno.EIO))
    with pytest.raises(NotDurableError, match="flushing its directory failed"):
        flow(f"{tmp_path}/c.pkl").run({})


@on_linux
@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_flushed_without_fsync(
    place: str, runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`fsync=False` flushes no file and no directory, new directories included."""
    flushes = Flushes(errno.EIO)
    monkeypatch.setattr(os, "fsync", flushes)
    whole = place.format(tmp_path) if "://" in place else f"{tmp_path}/{place}"
    assert runner(flow(whole, fsync=False), {}, run_id="a")["done"]
    assert flushes.seen == []


# --- hard links


@pytest.mark.parametrize("number", NO_LINKS, ids=errno.errorcode.__getitem__)
def test_without_hard_links(
    number: int, runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`keep=` names itself as the remedy. The run goes on without it."""
    monkeypatch.setattr(os, "link", refusing(number))
    with pytest.raises(StorageError, match=r"cannot link files.*leave keep= out") as info:
        runner(flow(f"{tmp_path}/c.pkl", keep=3), {})
    assert info.value.errno == number
    assert LocalStateHandler(tmp_path / "c.pkl").read() == {}
    assert runner(flow(f"{tmp_path}/c.pkl"), {})["done"]


@pytest.mark.parametrize("number", NO_LINKS, ids=errno.errorcode.__getitem__)
def test_database_without_links(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new database says what its file system lacks, if that can neither link nor exchange."""
    monkeypatch.setattr(rename_module, "_renameat2", None)
    monkeypatch.setattr(os, "link", refusing(number))
    handler = SqliteStateHandler(tmp_path / "runs.db")
    with pytest.raises(StorageError, match=r"can neither link files.*local disk"):
        handler.write({})
    for left in tmp_path.iterdir():
        left.unlink()
