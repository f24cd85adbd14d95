"""`replacing`: a saver's file or directory is the old one or the new one, whole and flushed."""

from __future__ import annotations

import asyncio
import os
import random
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from locations import program, with_support
from power_rounds import disk
from replacing_script import read

from aiocheckpoint import (
    CheckpointFlow,
    InvalidTypeError,
    InvalidValueError,
    NotDurableError,
    StorageError,
    replacing,
)
from aiocheckpoint.handlers._files import replacement, writers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from power import Disk
    from support import State

__all__ = ["disk"]  # the fixture

SCRIPT = program("replacing_script.py")
KINDS = ("file", "directory", "two-steps")
every_kind = pytest.mark.parametrize("kind", KINDS)


class StrangeError(BaseException):
    """No `Exception`."""


def make(path: Path, kind: str, text: str) -> None:
    """Make a file, or a directory of files in directories."""
    if kind == "file":
        path.write_text(text)
        return
    (path / "deep").mkdir(parents=True)
    (path / "one.txt").write_text(text)
    (path / "deep" / "two.txt").write_text(text)


def seen(path: Path) -> set[str]:
    """The texts of a file, or of all files in a directory."""
    if path.is_file():
        return {path.read_text()}
    return {file.read_text() for file in path.rglob("*.txt")}


@pytest.fixture(autouse=True)
def fresh_writers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test be the first use of its directory by this process."""
    monkeypatch.setattr(writers, "_cleared", set())


@pytest.fixture
def steps_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Give a way to take away the call that exchanges two names."""

    def take(kind: str) -> None:
        if kind == "two-steps":
            monkeypatch.setattr(replacement, "exchange", lambda one, other: False)

    return take


def replace_by(path: Path, kind: str, text: str, *, asynchronous: bool) -> None:
    """Replace in a `with` or `async with` block."""

    async def in_async() -> None:
        async with replacing(path) as temporary:
            make(temporary, kind, text)

    if asynchronous:
        asyncio.run(in_async())
        return
    with replacing(path) as temporary:
        make(temporary, kind, text)


@every_kind
@pytest.mark.parametrize("asynchronous", [False, True])
def test_old_until_the_end_then_new(
    kind: str, tmp_path: Path, steps_of: Callable[[str], None], *, asynchronous: bool
) -> None:
    """The first one, and each later one, is in place when the block has ended."""
    steps_of(kind)
    path = tmp_path / "rows.parquet"
    for number in range(3):
        replace_by(path, kind, f"text {number}", asynchronous=asynchronous)
        assert seen(path) == {f"text {number}"}
        assert [one.name for one in tmp_path.iterdir()] == ["rows.parquet"]


@every_kind
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, StrangeError])
@pytest.mark.parametrize("there", [True, False])
def test_error_leaves_the_old_one(
    error: type[BaseException], kind: str, tmp_path: Path, *, there: bool
) -> None:
    """An error in the block leaves the old one, or nothing, and no temporary one."""
    path = tmp_path / "rows.csv"
    if there:
        make(path, kind, "old")
    before = {one: seen(one) for one in tmp_path.iterdir()}
    failure = error("broken")

    def fail() -> None:
        with replacing(path) as temporary:
            make(temporary, kind, "half")
            raise failure

    with pytest.raises(error) as info:
        fail()
    assert info.value is failure
    assert {one: seen(one) for one in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["a.csv.gz", "a", ".hidden.txt", "a b.é.json", "x" * 240 + ".npy"])
def test_temporary_path(name: str, tmp_path: Path) -> None:
    """It is beside the target, hidden, with its ending, so that libraries choose the format."""
    path = tmp_path / name
    with replacing(path) as one, replacing(str(path)) as other:
        assert one != other
        for temporary in (one, other):
            assert isinstance(temporary, Path)
            assert temporary.parent == tmp_path
            assert temporary.name.startswith(".")
            assert temporary.suffix == path.suffix
            assert not temporary.exists()
            temporary.write_text("new")
    assert seen(path) == {"new"}


@every_kind
def test_mode_and_link_stay(kind: str, tmp_path: Path) -> None:
    """The old one's mode is kept, and a symbolic link keeps pointing to the replaced target."""
    real = tmp_path / "elsewhere"
    real.mkdir()
    make(real / "rows", kind, "old")
    (real / "rows").chmod(0o750)
    link = tmp_path / "link"
    link.symlink_to("elsewhere/rows")
    with replacing(link) as temporary:
        assert temporary.parent == real
        make(temporary, kind, "new")
    assert link.is_symlink()
    assert seen(real / "rows") == {"new"}
    assert stat.S_IMODE((real / "rows").stat().st_mode) == 0o750


def test_new_file_has_its_users_mode(tmp_path: Path) -> None:
    """A new file has the mode that the user's own writing gives it."""
    (tmp_path / "plain").touch()
    with replacing(tmp_path / "new") as temporary:
        temporary.touch()
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_misuse_is_told(tmp_path: Path) -> None:
    """Nothing written, another kind, odd paths and double use are errors of ours."""
    file, folder = tmp_path / "file", tmp_path / "folder"
    make(file, "file", "old")
    make(folder, "directory", "old")
    with pytest.raises(StorageError, match="nothing was written to the temp"), replacing(file):
        pass
    for target, kind, words in ((file, "directory", "is a file"), (folder, "file", "a directory")):
        with pytest.raises(StorageError, match=words), replacing(target) as temporary:
            make(temporary, kind, "new")
    with pytest.raises(StorageError), replacing(tmp_path / "missing" / "x"):
        pass
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(StorageError, match="neither a file nor a directory"):
        replacing(tmp_path / "fifo").__enter__()
    with pytest.raises(InvalidTypeError):
        replacing(3)  # type: ignore[arg-type]
    one = replacing(file)
    with pytest.raises(InvalidValueError, match="in use"), one, one:
        pass
    assert seen(file) == seen(folder) == {"old"}
    assert sorted(one.name for one in tmp_path.iterdir()) == ["fifo", "file", "folder"]


@every_kind
@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
def test_failing_disk(
    call: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk refuses, the old one stays, or the new one is in place and said to be so."""
    path = tmp_path / "rows"
    make(path, kind, "old")
    real = getattr(os, call)

    def refuse(target: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        is_parent = isinstance(target, int) and os.path.samestat(os.fstat(target), tmp_path.stat())
        if is_parent or call != "fsync":
            raise OSError(5, "Input/output error")
        return real(target, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        if call == "replace" and kind != "file":
            patch.setattr(replacement, "exchange", lambda one, other: False)
            patch.setattr(os, "rename", refuse)
        kinds = NotDurableError if call == "fsync" else StorageError
        with pytest.raises(kinds), replacing(path) as temporary:
            make(temporary, kind, "new")
    assert seen(path) == {"new" if call == "fsync" else "old"}
    assert [one.name for one in tmp_path.iterdir()] == ["rows"]


# --- asyncio


def test_blocking_work_is_in_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under `async with`, nothing is flushed or renamed in the loop's thread."""
    threads: list[threading.Thread] = []
    for name in ("__init__", "commit"):
        plain = getattr(replacement.Replacement, name)

        def noted(*args: Any, plain: Any = plain) -> Any:  # noqa: ANN401
            threads.append(threading.current_thread())
            return plain(*args)

        monkeypatch.setattr(replacement.Replacement, name, noted)
    replace_by(tmp_path / "x", "file", "new", asynchronous=True)
    assert len(threads) == 2
    assert threading.main_thread() not in threads


@every_kind
def test_cancelled_block(kind: str, tmp_path: Path) -> None:
    """A cancellation in the block leaves the old one. Its coroutine closed, as well."""
    path = tmp_path / "rows"
    make(path, kind, "old")

    async def save(entered: asyncio.Event) -> None:
        async with replacing(path) as temporary:
            make(temporary, kind, "half")
            entered.set()
            await asyncio.Event().wait()

    async def cancel() -> None:
        entered = asyncio.Event()
        task = asyncio.create_task(save(entered))
        await entered.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(cancel())
    coroutine = replacing(path).__aenter__()
    coroutine.close()
    assert seen(path) == {"old"}
    assert [one.name for one in tmp_path.iterdir()] == ["rows"]


def test_closed_generator(tmp_path: Path) -> None:
    """A generator that is closed in the block leaves the old one, sync or async."""
    path = tmp_path / "rows"

    def lines() -> Generator[int]:
        with replacing(path) as temporary:
            temporary.write_text("half")
            yield 1

    async def leave() -> None:
        async def lines() -> AsyncGenerator[int]:
            async with replacing(path) as temporary:
                temporary.write_text("half")
                yield 1

        found = lines()
        await anext(found)
        await found.aclose()

    one = lines()
    next(one)
    one.close()
    asyncio.run(leave())
    assert list(tmp_path.iterdir()) == []


def test_cancelled_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancellation that comes while the file is flushed waits for it, and then comes out."""
    path, flushing, go = tmp_path / "rows", threading.Event(), threading.Event()
    commit = replacement.Replacement.commit

    def slow(self: replacement.Replacement) -> None:
        flushing.set()
        go.wait()
        commit(self)

    monkeypatch.setattr(replacement.Replacement, "commit", slow)

    async def save() -> None:
        async with replacing(path) as temporary:
            temporary.write_text("new")

    async def cancel() -> None:
        task = asyncio.create_task(save())
        await asyncio.to_thread(flushing.wait)
        task.cancel()
        await asyncio.sleep(0)
        go.set()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(cancel())
    assert seen(path) == {"new"}
    assert [one.name for one in tmp_path.iterdir()] == ["rows"]


# --- killed writers


def kill_writers(path: Path, kind: str, rounds: int) -> None:
    """Kill writers at random moments. What is in place is whole, and nothing acknowledged lost."""
    dice = random.Random(kind)  # noqa: S311
    newest = 0
    for _ in range(rounds):
        words = [sys.executable, str(SCRIPT), str(path), kind]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=with_support())
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == "ready\n"
            time.sleep(dice.random() * 0.1)
            process.kill()
            told = [int(line) for line in process.stdout.read().split("\n")[:-1]]
        process.wait()
        newest = max([newest, *told])
        if kind != "two-steps":  # There, a reader may find nothing until a writer puts it back.
            assert newest <= read(path) <= newest + 1
        with replacing(path.with_name("unused")) as temporary:
            temporary.touch()
            writers._cleared.clear()  # noqa: SLF001 - as a new process would
        assert newest <= read(path) <= newest + 1
        newest = read(path)
    assert {one.name for one in path.parent.iterdir()} == {path.name, "unused"}


@every_kind
def test_killed_writers(kind: str, tmp_path: Path) -> None:
    """After each kill, the old one or the new one is in place. The next writer clears the rest."""
    kill_writers(tmp_path / "rows.txt", kind, 3)


@every_kind
@pytest.mark.torture
def test_writers_killed_often(kind: str, tmp_path: Path) -> None:
    """The same, sixty times."""
    kill_writers(tmp_path / "rows.txt", kind, 60)


def test_living_writers_lose_nothing(tmp_path: Path) -> None:
    """What a living writer has begun stays, in this process and another, and of other machines."""
    path = tmp_path / "rows.txt"
    stranger = tmp_path / f".rows~{'0' * 8}-{'1' * 8}-{'2' * 8}-1-1-{'3' * 16}~new.txt"
    stranger.touch()
    with replacing(path) as mine:
        mine.write_text("mine")
        words = [sys.executable, str(SCRIPT), str(tmp_path / "other.txt"), "file"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, env=with_support()) as other:
            assert other.stdout is not None
            for _ in range(3):
                other.stdout.readline()
            other.kill()
        assert mine.exists()
    assert seen(path) == {"mine"}
    assert stranger.exists()


# --- power cuts


@pytest.mark.root
@pytest.mark.leaves_files
@pytest.mark.parametrize("file_system", ["xfs", "ext4"])
@pytest.mark.parametrize("way", ["replacing", "plain"])
def test_power_cut(file_system: str, way: str, disk: Callable[[str], Disk]) -> None:
    """What was replaced outlives a power cut, where a plain rename leaves an empty file.

    The flush of another file writes the journal, and no data of this one.
    """
    made = disk(file_system)
    file, folder = made.place / "rows.txt", made.place / "set"
    for text in ("old", "new"):
        if way == "replacing" or text == "old":
            replace_by(file, "file", text, asynchronous=False)
            replace_by(folder, "directory", text, asynchronous=False)
        else:
            make(made.place / "next", "file", text)
            (made.place / "next").replace(file)
    replace_by(made.place / "other", "file", "other", asynchronous=False)
    made.cut()
    made.unmount()
    made.mount()
    assert seen(file) == ({"new"} if way == "replacing" else {""})
    assert seen(folder) == ({"new"} if way == "replacing" else {"old"})
    made.unmount()
    made.mount()


def test_saver_of_a_flow(tmp_path: Path) -> None:
    """A saver killed in the midst of its file repeats its step, and its reader never sees half."""
    rows = tmp_path / "rows.txt"

    def save(state: State, data: State) -> None:
        with replacing(rows) as temporary, temporary.open("w") as file:
            file.write("half ")
            if state["n"] == 2:
                state["n"] = 3
                raise StrangeError
            file.write(str(data["rows"]))

    cp = CheckpointFlow(tmp_path / "c.pkl")
    cp.add_step(name="a", save=save)(lambda state, data: data.update(rows=[state["n"]]))
    cp.run({"n": 1})
    with pytest.raises(StrangeError):
        cp.run({"n": 2})
    assert rows.read_text() == "half [1]"
