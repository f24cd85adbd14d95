"""Very large objects are hashed in a thread and flushed before the rest is written."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import very_large_script
from streams import footer_of
from support import no_more_threads
from tracing import Traced, needs_strace, trace

from aiocheckpoint import LocalStateHandler, StorageError
from aiocheckpoint._concurrency.daemon_threads import DaemonThreads
from aiocheckpoint._snapshot import payload
from aiocheckpoint._snapshot.payload import PayloadWriter

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer
    from support import FlowFactory, Runner, State

SCRIPT = Path(very_large_script.__file__)
LARGE = 3 << 20
FLUSHES = {"fsync": 1, "no-fsync": 0}


def a_mixture() -> State:
    """Make a state of large and small objects in turns."""
    return {"a": bytes(LARGE), "b": 1, "c": bytearray(b"c" * LARGE), "d": "x" * LARGE, "e": [2]}


def check_stored(path: Path, state: State) -> None:
    """Check that the stored state is this one, with the digest of its footer."""
    stored = LocalStateHandler(path).read()
    assert stored == state
    content = path.read_bytes()
    payload, _ = footer_of(content)
    assert content[-136:-104] == hashlib.sha256(payload).digest()


def test_digest_is_of_the_whole_payload(runner: Runner, flows: FlowFactory) -> None:
    """Bytes hashed in the thread have their place in the digest."""
    runner.write(LocalStateHandler(flows.path, fsync=False), a_mixture())
    check_stored(flows.path, a_mixture())


def test_without_a_thread(flows: FlowFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no thread can be started, the object is hashed by the writer."""
    monkeypatch.setattr(payload, "_DIGESTS", DaemonThreads("aiocheckpoint-digest", 1))
    with no_more_threads():
        LocalStateHandler(flows.path, fsync=False).write(a_mixture())
    check_stored(flows.path, a_mixture())


class Broken:
    """A target that refuses large objects."""

    def write(self, chunk: Buffer, /) -> None:
        """Refuse a large piece."""
        raise StorageError("there", f"{memoryview(chunk).nbytes} bytes are too many")

    def rewind(self) -> None:
        """Start over."""


def test_error_of_the_target_comes_out() -> None:
    """The error of the target is raised after the thread has released the object."""
    content = bytearray(LARGE)
    with pytest.raises(StorageError, match="too many"):
        PayloadWriter(Broken()).write(content)
    content.clear()  # a bytearray with an exported buffer refuses this


def stored_over(tmp_path: Path, durable: str, *inject: str) -> Traced:
    """Let the script store its state over another one."""
    place = tmp_path / "place"
    place.mkdir()
    LocalStateHandler(place / "c.pkl", fsync=False).write({"small": 0})
    return trace([SCRIPT, place / "c.pkl", durable], tmp_path / "log", *inject)


@needs_strace
@pytest.mark.strace
@pytest.mark.parametrize("durable", FLUSHES)
def test_flushed_as_soon_as_written(durable: str, tmp_path: Path) -> None:
    """With fsync, and only then, the object is flushed before the snapshot is whole."""
    traced = stored_over(tmp_path, durable)
    assert traced.stdout.split() == ["stored"]
    names = [call.name for call in traced.on(tmp_path / "place")]
    assert names.count("fdatasync") == FLUSHES[durable]
    assert names.count("fsync") == 2 * FLUSHES[durable]


@needs_strace
@pytest.mark.strace
def test_flush_that_fails(tmp_path: Path) -> None:
    """An error of that flush is raised, and the stored snapshot stays."""
    traced = stored_over(tmp_path, "fsync", "fdatasync:error=EIO")
    assert traced.stdout.split() == ["StorageError"]
    path = tmp_path / "place" / "c.pkl"
    assert LocalStateHandler(path).read() == {"small": 0}
    assert [one.name for one in path.parent.iterdir()] == ["c.pkl"]
