"""Every system call of a snapshot fails, or is the last one: the old snapshot stays, or the new.

The calls are found by a traced run that nothing disturbs; then one of them is made to fail, or the
process is killed on entry to it, and the flow is run again.
"""

from __future__ import annotations

import errno
import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import durable_script
import pytest
from tracing import Call, Traced, needs_strace, trace

from aiocheckpoint import LocalStateHandler

pytestmark = [pytest.mark.strace, needs_strace, pytest.mark.leaves_files]

SCRIPT = Path(durable_script.__file__)
SNAPSHOTS = (1, 2, 3, 4)
DURABLE = ("create", "write", "fsync", "close", "rename", "open dir", "fsync dir", "close dir")
ATOMIC = ("create", "write", "close", "rename")
AROUND = ("open lock", "write lock", "look for leftovers", "open stored", "unlink lock")
ERRORS = {
    "create": ("ENOSPC", "EMFILE", "EACCES", "EDQUOT"),
    "write": ("ENOSPC", "EIO", "EDQUOT", "EFBIG"),
    "fsync": ("EIO", "ENOSPC", "EDQUOT", "EIO"),
    "rename": ("ENOSPC", "EIO", "EACCES", "EXDEV"),
}


def stage_of(call: Call, place: Path) -> str:
    """Say what a call on the directory is there for."""
    text = call.text
    if ".lock" in text:
        return {"openat": "open lock", "write": "write lock", "unlink": "unlink lock"}.get(
            call.name, "close lock"
        )
    if ".tmp" in text:
        names = {"openat": "create", "renameat2": "rename"}
        return names.get(call.name, call.name)
    if f'"{place}", O_RDONLY|O_NONBLOCK' in text:
        return "look for leftovers"
    if "checkpoint.pkl" in text:
        return "open stored" if call.name == "openat" else "close stored"
    return {"openat": "open dir", "fsync": "fsync dir", "close": "close dir"}.get(call.name, "?")


@cache
def find_calls(door: str, durable: str) -> dict[tuple[str, int], Call]:
    """Trace an undisturbed run; give its calls by stage and the snapshot they belong to."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory).resolve() / "place"
        place.mkdir()
        traced = trace([SCRIPT, place, door, durable], place.parent / "log")
    assert traced.status == 0, traced.stderr
    found: dict[tuple[str, int], Call] = {}
    number = 0
    for call in traced.on(place):
        stage = stage_of(call, place)
        number += stage == "create"
        found.setdefault((stage, 0 if stage in AROUND else number), call)
    return found


def look_at(place: Path, traced: Traced) -> tuple[dict[str, Any], int | None]:
    """Give what the script said, and the position that is stored, finished being 3."""
    outcome: dict[str, Any] = json.loads(traced.stdout) if traced.stdout else {}
    handler = LocalStateHandler(place / "checkpoint.pkl")
    header = handler.header()
    if header is None:
        assert handler.read() == {}
        return outcome, None
    state = handler.read()
    done = 3 if header.status == "finished" else header.position
    assert state.get("trail", []) == list("abc")[:done]
    return outcome, done


def check_resumes(place: Path, done: int | None) -> None:
    """Run again, undisturbed: the end is reached, and no stored step is run twice."""
    durable_script.make_flow(place, [], fsync=False).run({})
    handler = LocalStateHandler(place / "checkpoint.pkl")
    assert handler.read() == {"trail": ["a", "b", "c"], "checkpoint_index": 0}
    effects = (place.parent / "effects").read_text(encoding="ascii")
    if done != len(durable_script.STEPS):
        for name in durable_script.STEPS[: done or 0]:
            assert effects.count(name) == 1, effects
    assert sorted(path.name for path in place.iterdir()) == ["checkpoint.pkl"]


def fail(tmp_path: Path, way: tuple[str, str], stage: str, number: int, error: str) -> str:
    """Let one call fail with an error, and check all that must hold; give the error's class."""
    place = tmp_path / "place"
    place.mkdir()
    door, durable = way
    call = find_calls(door, durable)[stage, number]
    injection = f"{call.name}:error={error}:when={call.number}"
    traced = trace([SCRIPT, place, door, durable], tmp_path / "log", injection)
    hit = [call for call in traced.calls if call.injected]
    assert [stage_of(call, place) for call in hit] == [stage], hit
    assert traced.status == 0, traced.stderr
    outcome, done = look_at(place, traced)
    acknowledged = [position for position in outcome["acknowledged"] if position] or [0]
    if outcome["error"] is None:
        assert done == len(durable_script.STEPS)
    else:
        assert outcome["errno"] == getattr(errno, error)
        assert outcome["path"] == str(place / "checkpoint.pkl")
        if outcome["error"] == "StorageError":  # what was stored is as it was
            assert done == (acknowledged[-1] if outcome["acknowledged"] else None)
    assert [path.name for path in place.iterdir() if path.name.endswith(".tmp")] == []
    if stage == "fsync":
        check_no_second_fsync(traced, hit[0])
    check_resumes(place, done)
    return str(outcome["error"])


def check_no_second_fsync(traced: Traced, failed: Call) -> None:
    """See that a file whose flush failed is not flushed again: its pages count as clean then."""
    name = failed.text.partition("<")[2].partition(">")[0]
    assert [call for call in traced.calls if call.name == "fsync" and name in call.text] == [failed]


def expected(stage: str) -> str:
    """Say what the failure of a stage must come out as."""
    if stage in {"open dir", "fsync dir"}:
        return "NotDurableError"
    return "None" if stage in {"look for leftovers", "unlink lock"} else "StorageError"


@pytest.mark.parametrize("stage", sorted(set(DURABLE) - {"close dir"}))
@pytest.mark.parametrize("number", SNAPSHOTS)
def test_failure_of_a_call(stage: str, number: int, tmp_path: Path) -> None:
    """Whichever call fails, one documented error comes out and the stored snapshot is sound."""
    errors = ERRORS.get(stage, ("EIO",))
    error = errors[(number - 1) % len(errors)]
    assert fail(tmp_path, ("run", "fsync"), stage, number, error) == expected(stage)


@pytest.mark.parametrize("stage", ATOMIC)
@pytest.mark.parametrize("number", [1, 2])
def test_failure_without_fsync(stage: str, number: int, tmp_path: Path) -> None:
    """Without fsync the same holds; an exchange of names that fails gives way to a rename."""
    came_out = fail(tmp_path, ("run", "no-fsync"), stage, number, "EIO")
    exchanged = find_calls("run", "no-fsync")[stage, number].name == "renameat2"
    assert came_out == ("None" if exchanged else "StorageError")


@pytest.mark.parametrize("stage", ["fsync", "rename", "fsync dir"])
def test_failure_in_a_thread(stage: str, tmp_path: Path) -> None:
    """Through the asynchronous door the same comes out."""
    assert fail(tmp_path, ("arun", "fsync"), stage, 2, "EIO") == expected(stage)


@pytest.mark.parametrize("stage", AROUND)
def test_failure_around_the_run(stage: str, tmp_path: Path) -> None:
    """A failing lock or read is found before any step runs; failing to tidy up is no failure."""
    assert fail(tmp_path, ("run", "fsync"), stage, 0, "EIO") == expected(stage)


def test_failure_to_delete_the_exchanged_file(tmp_path: Path) -> None:
    """Without fsync, the old file that cannot be deleted does not undo what is written."""
    calls = find_calls("run", "no-fsync")
    if ("unlink", 2) not in calls:
        pytest.skip("this system exchanges no names")
    place = tmp_path / "place"
    place.mkdir()
    injection = f"unlink:error=EIO:when={calls['unlink', 2].number}"
    traced = trace([SCRIPT, place, "run", "no-fsync"], tmp_path / "log", injection)
    outcome, done = look_at(place, traced)
    acknowledged = max([0, *outcome["acknowledged"]])
    assert outcome["error"] is None or done == acknowledged
    check_resumes(place, done)


@pytest.mark.parametrize("durable", ["fsync", "no-fsync"])
def test_failure_to_read(durable: str, tmp_path: Path) -> None:
    """A disk that cannot be read is a StorageError, not a damaged snapshot or an empty one."""
    place = tmp_path / "place"
    place.mkdir()
    flow = durable_script.make_flow(place, [], fsync=False)
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


def kill(tmp_path: Path, door: str, durable: str, stage: str, number: int) -> None:
    """Kill the script on entry to a call; what it had acknowledged is stored, and it resumes."""
    place = tmp_path / "place"
    place.mkdir()
    call = find_calls(door, durable)[stage, number]
    injection = f"{call.name}:signal=KILL:when={call.number}"
    traced = trace([SCRIPT, place, door, durable], tmp_path / "log", injection)
    assert traced.status != 0
    assert traced.stdout == ""
    _, done = look_at(place, traced)
    first, last = (number - 2, number - 1) if number else (None, 3)
    assert done in {None if first == -1 else first, last, *(() if number else (0,))}
    assert len([path for path in place.iterdir() if path.name.endswith(".tmp")]) <= 1
    check_resumes(place, done)


@pytest.mark.parametrize("stage", DURABLE)
@pytest.mark.parametrize("number", [1, 3])
def test_kill_on_a_call(stage: str, number: int, tmp_path: Path) -> None:
    """Killed anywhere within a snapshot, the flow goes on from the last one that was whole."""
    kill(tmp_path, "run", "fsync", stage, number)


@pytest.mark.parametrize("stage", [*ATOMIC, "unlink"])
def test_kill_without_fsync(stage: str, tmp_path: Path) -> None:
    """The same holds without fsync, and between an exchange of names and what follows it."""
    if (stage, 3) not in find_calls("run", "no-fsync"):
        pytest.skip("this system exchanges no names")
    kill(tmp_path, "run", "no-fsync", stage, 3)


@pytest.mark.parametrize("stage", AROUND)
def test_kill_around_the_run(stage: str, tmp_path: Path) -> None:
    """Killed with the lock taken or about to be given back, the next run goes on at once."""
    kill(tmp_path, "run", "fsync", stage, 0)


@pytest.mark.torture
@pytest.mark.parametrize("durable", ["fsync", "no-fsync"])
@pytest.mark.parametrize("stage", [*DURABLE, "unlink"])
@pytest.mark.parametrize("number", SNAPSHOTS)
def test_kill_everywhere(durable: str, stage: str, number: int, tmp_path: Path) -> None:
    """Every call of every snapshot, with and without fsync."""
    if (stage, number) not in find_calls("run", durable):
        pytest.skip("this way of writing has no such call")
    kill(tmp_path, "run", durable, stage, number)


@pytest.mark.torture
@pytest.mark.parametrize("stage", ["fsync", "rename", "fsync dir"])
@pytest.mark.parametrize("number", SNAPSHOTS)
def test_kill_in_a_thread(stage: str, number: int, tmp_path: Path) -> None:
    """The calls that only a snapshot makes, where a thread makes them."""
    kill(tmp_path, "arun", "fsync", stage, number)
