"""Single system calls of a snapshot fail, or are the last ones: the old snapshot stays, or the new.

Every one of them in turn, with every error: torture/test_system_calls.py.
"""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING

import pytest
import traced_run_script
from disk_faults import (
    ATOMIC,
    DURABLE,
    SCRIPT,
    Way,
    expected,
    fail,
    fail_to_make,
    find_site,
    kill,
    until_met,
)
from tracing import needs_strace, trace

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.strace, needs_strace, pytest.mark.leaves_files]

SNAPSHOTS = (1, 2, 3, 4)
FSYNC = Way()
NO_FSYNC = Way(durable="no-fsync")
AROUND = ("open lock", "write lock", "look for leftovers", "open stored", "unlink lock")
ERRORS = {
    "create": ("ENOSPC", "EMFILE", "EACCES", "EDQUOT"),
    "write": ("ENOSPC", "EIO", "EDQUOT", "EFBIG"),
    "fsync": ("EIO", "ENOSPC", "EDQUOT", "EIO"),
    "rename": ("ENOSPC", "EIO", "EACCES", "EXDEV"),
}


@pytest.mark.parametrize("stage", sorted(set(DURABLE) - {"close dir"}))
@pytest.mark.parametrize("number", SNAPSHOTS)
def test_failure_of_a_call(stage: str, number: int, tmp_path: Path) -> None:
    """Whichever call fails, one documented error comes out and the stored snapshot is sound."""
    errors = ERRORS.get(stage, ("EIO",))
    error = errors[(number - 1) % len(errors)]
    site = find_site(FSYNC, stage, number)
    assert fail(tmp_path / "room", FSYNC, site, error) == expected(site)


@pytest.mark.parametrize("stage", ATOMIC)
@pytest.mark.parametrize("number", [1, 2])
def test_failure_without_fsync(stage: str, number: int, tmp_path: Path) -> None:
    """Without fsync the same holds; an exchange of names that fails gives way to a rename."""
    site = find_site(NO_FSYNC, stage, number)
    assert fail(tmp_path / "room", NO_FSYNC, site, "EIO") == expected(site)


@pytest.mark.parametrize("stage", ["fsync", "rename", "fsync dir"])
def test_failure_in_a_thread(stage: str, tmp_path: Path) -> None:
    """Through the asynchronous runner the same comes out."""
    way = Way(method="arun")
    site = find_site(way, stage, 2)
    came_out = until_met(tmp_path, lambda folder: fail(folder, way, site, "EIO"))
    assert came_out == expected(site)


@pytest.mark.parametrize("stage", AROUND)
def test_failure_around_the_run(stage: str, tmp_path: Path) -> None:
    """A failing lock or read is found before any step runs; failing to tidy up is no failure."""
    site = find_site(FSYNC, stage)
    assert fail(tmp_path / "room", FSYNC, site, "EIO") == expected(site)


@pytest.mark.parametrize(
    ("name", "number", "error"),
    [("mkdir", 1, "EIO"), ("mkdir", 2, "EDQUOT"), ("fsync", 1, "ENOSPC"), ("fsync", 2, "EIO")],
)
def test_failure_to_make_a_directory(name: str, number: int, error: str, tmp_path: Path) -> None:
    """A directory that cannot be made, or flushed into the one above, is found before any step."""
    fail_to_make(tmp_path, name, number, error)


@pytest.mark.parametrize("stage", ["close stored", "close lock"])
def test_failure_to_close(stage: str, tmp_path: Path) -> None:
    """What was read, or is not needed any more, and cannot be closed, is no failure."""
    way = Way(ahead=True)
    site = find_site(way, stage)
    assert fail(tmp_path / "room", way, site, "EIO") == "None"


def test_failure_to_delete_the_exchanged_file(tmp_path: Path) -> None:
    """Without fsync, an old file that cannot be deleted under its new name is no failure."""
    site = find_site(NO_FSYNC, "unlink", 2)
    if site is None:
        pytest.skip("this system exchanges no names")
    assert fail(tmp_path / "room", NO_FSYNC, site, "EIO") == expected(site)


@pytest.mark.parametrize("durable", ["fsync", "no-fsync"])
def test_failure_to_read(durable: str, tmp_path: Path) -> None:
    """A disk that cannot be read is a StorageError, not a damaged snapshot or an empty one."""
    place = tmp_path / "place"
    place.mkdir()
    flow = traced_run_script.make_flow(place, [], fsync=False)
    flow.run({}, until="a")
    before = (place / "checkpoint.pkl").read_bytes()
    path = place / "checkpoint.pkl"
    for number in (1, 2, 3):
        injection = f"read:error=EIO:when={number}"
        traced = trace(
            [SCRIPT, place, "run", durable], tmp_path / "log", injection, only=path, more=["read"]
        )
        assert [call.name for call in traced.calls if call.injected] == ["read"]
        outcome = json.loads(traced.stdout)
        assert (outcome["error"], outcome["errno"]) == ("StorageError", errno.EIO)
        assert path.read_bytes() == before


# --- killed on entry to each call


@pytest.mark.parametrize("stage", DURABLE)
@pytest.mark.parametrize("number", [1, 3])
def test_kill_on_a_call(stage: str, number: int, tmp_path: Path) -> None:
    """Killed anywhere within a snapshot, the flow goes on from the last one that was whole."""
    kill(tmp_path / "room", FSYNC, find_site(FSYNC, stage, number))


@pytest.mark.parametrize("stage", [*ATOMIC, "unlink"])
def test_kill_without_fsync(stage: str, tmp_path: Path) -> None:
    """The same holds without fsync, and between an exchange of names and what follows it."""
    site = find_site(NO_FSYNC, stage, 3)
    if site is None:
        pytest.skip("this system exchanges no names")
    kill(tmp_path / "room", NO_FSYNC, site)


@pytest.mark.parametrize("stage", AROUND)
def test_kill_around_the_run(stage: str, tmp_path: Path) -> None:
    """Killed with the lock taken or about to be given back, the next run goes on at once."""
    kill(tmp_path / "room", FSYNC, find_site(FSYNC, stage))
