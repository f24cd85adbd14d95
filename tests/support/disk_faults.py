"""System calls of a flow that fail, or are its last ones, and what must hold afterwards.

The calls are found by a traced run that nothing disturbs; then one of them is made to fail, or the
process is killed on entry to it, and the flow is run again.
"""

from __future__ import annotations

import contextlib
import errno
import json
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import traced_run_script
from tracing import Call, Traced, trace

from aiocheckpoint import LocalStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_Result = TypeVar("_Result")

SCRIPT = Path(traced_run_script.__file__)
ATTEMPTS = 20
DURABLE = ("create", "write", "fsync", "close", "rename", "open dir", "fsync dir", "close dir")
ATOMIC = ("create", "write", "close", "rename")
AROUND = (
    *("open lock", "write lock", "look for leftovers", "open stored", "close stored"),
    *("unlink lock", "close lock"),
)
NOT_DURABLE = ("open dir", "fsync dir", "close dir")
TIDYING = ("look for leftovers", "close stored", "unlink lock", "close lock", "unlink")


class MissedError(Exception):
    """The call that a fault was meant for was not made."""


def until_met(folder: Path, attempt: Callable[[Path], _Result]) -> _Result:
    """Try in one room after another until a fault meets its call.

    Calls are counted by thread, and which thread writes a snapshot is left to chance.
    """
    for number in range(ATTEMPTS):
        with contextlib.suppress(MissedError):
            return attempt(folder / str(number))
    raise MissedError


@dataclass(frozen=True)
class Site:
    """Where a fault can be put.

    Attributes:
        stage: What the system call is there for.
        snapshot: The snapshot it belongs to, from 1; 0 for what is done around them.
        name: Its name.
        number: Which call of this name it is, from 1.
    """

    stage: str
    snapshot: int
    name: str
    number: int


@dataclass(frozen=True)
class Way:
    """A way to run the flow.

    Attributes:
        method: "run" or "arun".
        durable: "fsync" or "no-fsync".
        ahead: Whether the first step has been run already, and the flow goes on from there.
    """

    method: str = "run"
    durable: str = "fsync"
    ahead: bool = False

    @property
    def snapshots_before(self) -> int:
        """How many snapshots have been taken before: at the start, and after the first step."""
        return 2 if self.ahead else 0

    def trace(self, folder: Path, *injections: str, more: Sequence[str] = ()) -> Traced:
        """Run the flow in a room of its own."""
        place = folder / "place"
        place.mkdir(parents=True)
        if self.ahead:
            traced_run_script.make_flow(place, [], fsync=False).run({}, until="a")
        words = [SCRIPT, place, self.method, self.durable]
        return trace(words, folder / "log", *injections, more=more)


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
def list_sites(way: Way) -> tuple[Site, ...]:
    """Trace an undisturbed run; give its calls on the directory, in order."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory).resolve() / "room"
        place = folder / "place"
        traced = way.trace(folder)
    assert traced.status == 0, traced.stderr
    found: list[Site] = []
    snapshot = way.snapshots_before
    for call in traced.on(place):
        stage = stage_of(call, place)
        snapshot += stage == "create"
        around = stage in AROUND or snapshot == way.snapshots_before
        found.append(Site(stage, 0 if around else snapshot, call.name, call.number))
    return tuple(found)


def find_site(way: Way, stage: str, snapshot: int = 0) -> Site | None:
    """Give the first call of a stage of a snapshot, or None where there is none."""
    sites = list_sites(way)
    return next((one for one in sites if (one.stage, one.snapshot) == (stage, snapshot)), None)


def count_renames(traced: Traced, place: Path) -> int:
    """Count the snapshots that a traced run brought into their place."""
    names = {"rename", "renameat2"}
    calls = [call for call in traced.on(place) if call.name in names and ".tmp" in call.text]
    return sum(call.text.endswith("= 0") for call in calls)


def check_stored(place: Path, renames: int) -> int | None:
    """See that the last snapshot renamed is what is stored, whole; give its position.

    The position behind the last step is 3; None says that nothing is stored.
    """
    handler = LocalStateHandler(place / "checkpoint.pkl")
    header, state = handler.header(), handler.read()
    if header is None:
        assert (state, renames) == ({}, 0)
        return None
    done = len(traced_run_script.STEPS) if header.status == "finished" else header.position
    assert done == renames - 1
    assert state.get("trail", []) == list(traced_run_script.STEPS[:done])
    return done


def check_resumes(place: Path, done: int | None) -> None:
    """Run again, undisturbed: the end is reached, and no stored step is run twice."""
    traced_run_script.make_flow(place, [], fsync=False).run({})
    handler = LocalStateHandler(place / "checkpoint.pkl")
    assert handler.read() == {"trail": ["a", "b", "c"], "checkpoint_index": 0}
    effects = (place.parent / "effects").read_text(encoding="ascii")
    if done != len(traced_run_script.STEPS):
        for name in traced_run_script.STEPS[: done or 0]:
            assert effects.count(name) == 1, effects
    assert sorted(path.name for path in place.iterdir()) == ["checkpoint.pkl"]


def fail(folder: Path, way: Way, site: Site | None, error: str) -> str:
    """Let one call fail with an error, and check all that must hold; give the error's class."""
    assert site is not None
    place = folder / "place"
    traced = way.trace(folder, f"{site.name}:error={error}:when={site.number}")
    hit = [call for call in traced.calls if call.injected]
    if not hit:
        raise MissedError(site)
    assert [stage_of(call, place) for call in hit] == [site.stage], hit
    assert traced.status == 0, traced.stderr
    outcome: dict[str, Any] = json.loads(traced.stdout)
    renames = way.snapshots_before + count_renames(traced, place)
    done = check_stored(place, renames)
    check_outcome(outcome, place, error, renames - way.snapshots_before)
    left = [path.name for path in place.iterdir() if path.name.endswith(".tmp")]
    assert len(left) == (site.stage == "unlink"), left  # the next run clears it
    if site.stage == "fsync":
        check_no_second_fsync(traced, hit[0])
    check_resumes(place, done)
    return str(outcome["error"])


def check_outcome(outcome: dict[str, Any], place: Path, error: str, renames: int) -> None:
    """See that what came out tells the truth about what is stored."""
    acknowledged = len(outcome["acknowledged"])
    if outcome["error"] is None:
        assert outcome["trail"] == list(traced_run_script.STEPS)
        assert acknowledged == renames
        return
    assert outcome["errno"] == getattr(errno, error)
    assert outcome["path"] == str(place / "checkpoint.pkl")
    assert renames - acknowledged == (outcome["error"] == "NotDurableError")


def check_no_second_fsync(traced: Traced, failed: Call) -> None:
    """See that a file whose flush failed is not flushed again: its pages count as clean then."""
    name = failed.text.partition("<")[2].partition(">")[0]
    assert [call for call in traced.calls if call.name == "fsync" and name in call.text] == [failed]


def fail_to_make(folder: Path, name: str, number: int, error: str) -> None:
    """Let one call fail that makes the directories of the checkpoint, before any step is run."""
    place = folder / "deep" / "er"
    injection = f"{name}:error={error}:when={number}"
    traced = trace([SCRIPT, place, "run", "fsync"], folder / "log", injection)
    assert [call.name for call in traced.calls if call.injected] == [name]
    outcome = json.loads(traced.stdout)
    assert (outcome["error"], outcome["acknowledged"]) == ("StorageError", [])
    assert outcome["errno"] == getattr(errno, error)
    assert outcome["path"] == str(place / "checkpoint.pkl")
    assert not list(folder.rglob("effects"))
    assert traced_run_script.make_flow(place, [], fsync=False).run({})["trail"] == ["a", "b", "c"]
    assert sorted(path.name for path in place.iterdir()) == ["checkpoint.pkl"]


def expected(site: Site | None) -> str:
    """Say what the failure of a call must come out as."""
    assert site is not None
    if site.snapshot and site.stage in NOT_DURABLE:
        return "NotDurableError"
    # A plain rename takes the place of an exchange of names that fails; and the directory that is
    # closed before the first snapshot was looked through for leftovers.
    harmless = site.stage in (*TIDYING, "close dir") or site.name == "renameat2"
    return "None" if harmless else "StorageError"


def kill(folder: Path, way: Way, site: Site | None, more: Sequence[str] = ()) -> None:
    """Kill the script on entry to a call; what it had renamed is stored, and it resumes."""
    assert site is not None
    place = folder / "place"
    traced = way.trace(folder, f"{site.name}:signal=KILL:when={site.number}", more=more)
    if traced.status == 0:
        raise MissedError(site)
    done = check_stored(place, way.snapshots_before + count_renames(traced, place))
    assert len([path for path in place.iterdir() if path.name.endswith(".tmp")]) <= 1
    check_resumes(place, done)
