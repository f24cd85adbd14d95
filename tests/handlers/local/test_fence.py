"""The fence of files: an owner whose lock file is gone writes nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
from functools import partial
from typing import TYPE_CHECKING

import pytest

from aiocheckpoint import CheckpointFlow, LeaseLostError, LocalStateHandler, Pause
from aiocheckpoint.handlers._files import lock as lock_module

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import FlowFactory, Runner, State

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows forbids deleting open files")

LOST = r"deleted or replaced its lock file .*\.lock"


def lock_file(place: Path) -> Path:
    """Find the lock file of the run that is in progress."""
    (found,) = place.glob(".*.lock")
    return found


def delete(place: Path) -> None:
    """Delete the lock file, as a cleaner of old files does."""
    lock_file(place).unlink()


def replace(place: Path) -> None:
    """Put another file in its place, as a restored copy is."""
    delete(place)
    (place / ".checkpoint.pkl.lock").write_text('{"pid": 1, "host": "x"}\n', encoding="ascii")


def renew(place: Path) -> None:
    """Move the directory away, and make it anew with a copy of its snapshots."""
    place.rename(place.with_name("moved"))
    shutil.copytree(place.with_name("moved"), place, ignore=lambda *_: [".checkpoint.pkl.lock"])


@pytest.mark.leaves_files
@pytest.mark.parametrize("lose", [delete, replace, renew])
@pytest.mark.parametrize("options", [{}, {"fsync": False}, {"keep": 3}], ids=str)
def test_owner_without_its_lock_file(
    lose: Callable[[Path], None], options: dict[str, int], runner: Runner, flows: FlowFactory
) -> None:
    """It gets LeaseLostError at its next snapshot, with nothing written, and the run resumes."""
    place = flows.path.parent / "place"
    flows.path = place / flows.path.name
    cp = flows.flow("a", **options)
    cp.add_step(name="b")(lambda state: lose(place))
    flows.add(cp, "c")
    with pytest.raises(LeaseLostError, match=LOST) as info:
        runner(cp, {})
    assert info.value.path == str(flows.path)
    assert flows.ran() == ["a"]
    assert flows.stored()["trail"] == ["a"]
    assert flows.header().failure is None
    assert [path for path in place.iterdir() if path.suffix == ".tmp"] == []
    resumed = flows.flow("a", "b", "c", **options)
    assert runner(resumed)["trail"] == ["a", "b", "c"]


@pytest.mark.parametrize("ends", ["breaks", "is cancelled"])
def test_failure_of_an_owner_without_its_lock_file(ends: str, flows: FlowFactory) -> None:
    """The very exception comes out, with a note, and the header of the next owner stays."""
    error = ValueError("first") if ends == "breaks" else KeyboardInterrupt("first")

    def lose(state: State) -> None:
        delete(flows.path.parent)
        raise error

    cp = flows.flow("a")
    cp.add_step(name="b")(lose)
    with pytest.raises(type(error)) as info:
        cp.run({})
    assert info.value is error
    notes = "\n".join(error.__notes__)
    assert "this failure is not recorded" in notes
    assert "LeaseLostError" in notes
    header = flows.header()
    assert (header.status, header.failure) == ("running", None)


def test_retry_of_an_owner_without_its_lock_file(runner: Runner, flows: FlowFactory) -> None:
    """Its step is not tried again beside the next owner."""
    tried: list[int] = []

    def lose(state: State) -> None:
        tried.append(1)
        delete(flows.path.parent)
        raise ValueError("first")

    cp = flows.flow("a")
    cp.add_step(name="b", retry=3)(lose)
    with pytest.raises(ValueError, match="first") as info:
        runner(cp, {})
    assert "LeaseLostError" in "\n".join(info.value.__notes__)
    assert tried == [1]


def test_pause_of_an_owner_without_its_lock_file(runner: Runner, flows: FlowFactory) -> None:
    """It is not paused, and is told why."""

    def lose(state: State) -> None:
        delete(flows.path.parent)
        raise Pause("for approval")

    cp = flows.flow("a")
    cp.add_step(name="b")(lose)
    with pytest.raises(LeaseLostError, match=LOST):
        runner(cp, {})
    assert flows.header().status == "running"


async def test_cancelled_owner_without_its_lock_file(flows: FlowFactory) -> None:
    """A cancellation comes out as such."""
    entered = asyncio.Event()
    cp = flows.flow("a")

    @cp.add_step()
    async def wait(state: State) -> None:
        entered.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(cp.arun({}))
    await entered.wait()
    delete(flows.path.parent)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert flows.header().status == "running"


def test_loser_leaves_what_the_next_owner_keeps(tmp_path: Path) -> None:
    """The older snapshots of the next owner stay, also one of the same number and sequence."""
    handler = LocalStateHandler(tmp_path / "c.pkl", keep=3)
    handler.write({"n": 1, "checkpoint_index": 1})
    header = handler.header()
    assert header is not None

    def files() -> dict[str, bytes]:
        found = sorted(path for path in tmp_path.rglob("*") if path.is_file())
        return {str(path): path.read_bytes() for path in found}

    with handler.locked() as loser:
        write_to = partial(handler.codec.write, handler.patched(header, None, 2), {"n": 2}, None)
        delete(tmp_path)
        with handler.locked() as owner:
            handler.replace(None, write_to, lock=owner)
            before = files()
            with pytest.raises(LeaseLostError, match=LOST):
                handler.replace(None, write_to, lock=loser)
            with pytest.raises(LeaseLostError, match=LOST):
                handler.remove(lock=loser)
            loser.release()
            assert files() == before
            (tmp_path / "c.pkl").unlink()
            delete(tmp_path)
            with handler.locked(), pytest.raises(LeaseLostError, match=LOST):
                handler.replace(None, write_to, lock=owner)
            assert len(handler.kept()) == 2


def test_fence_is_the_last_look(tmp_path: Path) -> None:
    """A lock file that is deleted while the snapshot is being written is missed as well."""
    handler = LocalStateHandler(tmp_path / "c.pkl", fsync=False)
    handler.write({"n": 1})
    before = (tmp_path / "c.pkl").read_bytes()
    header = handler.header()
    assert header is not None

    class Deletes:
        def __reduce__(self) -> tuple[type[str], tuple[str]]:
            delete(tmp_path)
            return str, ("deleted",)

    write_to = partial(handler.codec.write, header, {"x": Deletes()}, None)
    with handler.locked() as lock, pytest.raises(LeaseLostError, match=LOST):
        handler.replace(None, write_to, lock=lock)
    assert (tmp_path / "c.pkl").read_bytes() == before
    assert list(tmp_path.iterdir()) == [tmp_path / "c.pkl"]


@pytest.mark.parametrize("seconds", [0.0, 3600.0])
def test_time_of_the_lock_file(
    seconds: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A snapshot gives the lock file the present time, at most once an hour."""
    assert lock_module._REFRESH_SECONDS == 3600.0  # noqa: SLF001
    monkeypatch.setattr(lock_module, "_REFRESH_SECONDS", seconds)
    times: list[float] = []
    cp = CheckpointFlow(tmp_path / "c.pkl")
    cp.add_step(name="a")(lambda state: os.utime(lock_file(tmp_path), (0, 0)))
    cp.add_step(name="b")(lambda state: times.append(lock_file(tmp_path).stat().st_mtime))
    cp.run({})
    assert (times[0] > 0) == (seconds == 0.0)
