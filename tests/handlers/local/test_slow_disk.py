"""A slow disk keeps the run waiting, never the event loop; and one that writes in small pieces."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import pytest
import slow_disk_script
from disk_faults import Way, check_resumes, check_stored, count_renames, find_site
from tracing import needs_strace, trace

from aiocheckpoint import LocalStateHandler
from aiocheckpoint.handlers._files.replace import FileTarget

SCRIPT = Path(slow_disk_script.__file__)
SLOW = ("fsync:delay_enter=200ms", "rename:delay_enter=100ms")


def count_beats(place: Path, word: str) -> list[int]:
    """Let the script work on a disk on which a flush, a rename and an opening take long."""
    place.mkdir()
    log = place.parent / "log"
    if word != "aread":
        traced = trace([SCRIPT, place, word], log, *SLOW)
    else:
        path = place / "checkpoint.pkl"
        LocalStateHandler(path).write({"n": 1})
        traced = trace([SCRIPT, place, word], log, "openat:delay_enter=500ms", only=path)
    assert traced.status == 0, traced.stderr
    assert any("(DELAYED)" in call.text for call in traced.calls)
    beats: list[int] = json.loads(traced.stdout)
    return beats


@pytest.mark.strace
@needs_strace
@pytest.mark.parametrize(("word", "count"), [("arun", 3), ("awrite", 1), ("aread", 1)])
def test_a_slow_disk_does_not_stall_the_loop(word: str, count: int, tmp_path: Path) -> None:
    """The loop goes on while a snapshot waits for the disk; of more than 60 beats it has some."""
    beats = count_beats(tmp_path / "place", word)
    assert len(beats) == count
    assert min(beats) >= 5, beats


@pytest.mark.strace
@needs_strace
def test_a_stalled_loop_would_be_seen(tmp_path: Path) -> None:
    """Written on the loop itself, the loop has not one beat."""
    assert count_beats(tmp_path / "place", "write") == [0]


# --- short writes


def test_a_write_cut_short_is_gone_on_with() -> None:
    """What the system did not take at once is written afterwards, in order and whole.

    A signal cuts the write into a full pipe short; only then is the pipe emptied.
    """
    reader, writer = os.pipe()
    content = os.urandom(1 << 20)
    interrupted = threading.Event()
    read = list[bytes]()

    def empty() -> None:
        interrupted.wait()
        while more := os.read(reader, 1 << 16):
            read.append(more)

    thread = threading.Thread(target=empty)
    before = signal.signal(signal.SIGALRM, lambda *_: interrupted.set())
    thread.start()
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    try:
        target = FileTarget("pipe", "pipe", writer)
        target.write(content)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        os.close(writer)
        interrupted.set()
        thread.join()
        os.close(reader)
    assert b"".join(read) == content
    assert target.length == len(content)


@pytest.mark.strace
@needs_strace
@pytest.mark.leaves_files
@pytest.mark.parametrize(("stage", "snapshot"), [("write lock", 0), ("write", 4)])
def test_a_write_that_takes_nothing(stage: str, snapshot: int, tmp_path: Path) -> None:
    """A write that took nothing, and did not fail, is done again."""
    way = Way()
    site = find_site(way, stage, snapshot)
    assert site is not None
    traced = way.trace(tmp_path / "room", f"{site.name}:retval=0:when={site.number}")
    assert [call.name for call in traced.calls if call.injected] == ["write"]
    assert json.loads(traced.stdout)["error"] is None
    place = tmp_path / "room" / "place"
    check_resumes(place, check_stored(place, count_renames(traced, place)))
