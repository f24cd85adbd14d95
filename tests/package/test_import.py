"""What `import aiocheckpoint` brings, counted: that decides how long it takes, on every machine."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, get_args

import pytest
from late_script import WAYS
from locations import program

from aiocheckpoint import CheckpointFlow, Failure, Header, Plan, Retry, RunResult, events
from aiocheckpoint._concurrency.late_imports import import_in_thread
from aiocheckpoint._engine.dispatch import EventName
from aiocheckpoint._model.durations import Durations
from aiocheckpoint._model.record import Record
from aiocheckpoint._model.step_names import StepNamesExcerpt
from aiocheckpoint._runs import streams

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = program("late_script.py")

JSON = {"json", "json.decoder", "json.encoder", "json.scanner"}
STANDARD = {"concurrent.futures.thread", "hashlib", "queue", *JSON}
LATER = {
    "handlers.local._inspect",
    "_snapshot.pickling.opcodes",
    "_runs.results",
    "_model.retry",
    "_snapshot.signing",
    "_runs.streams",
    "events",
}
AT_ONCE = 59

BROUGHT = """
import dataclasses, json, sys
import aiofiles, anyio, dill
before, made, plain = set(sys.modules), [], dataclasses.dataclass
def dataclass(**options):
    decorate = plain(**options)
    return lambda kind: (made.append(kind.__name__), decorate(kind))[1]
dataclasses.dataclass = dataclass
import aiocheckpoint
print(json.dumps([sorted(set(sys.modules) - before), sorted(made)]))
"""
ASKED_FOR = """
import aiocheckpoint
listed = [name for name in aiocheckpoint.__all__ if name not in dir(aiocheckpoint)]
print(listed, [name for name in aiocheckpoint.__all__ if not hasattr(aiocheckpoint, name)])
from aiocheckpoint import *
print(Retry(attempts=2).attempts, events.Event.__name__, hasattr(aiocheckpoint, "nothing"))
"""

HOOKED = """
import sys
from aiocheckpoint import CheckpointFlow
for hooks in ([], [print]):
    CheckpointFlow("checkpoint.pkl", hooks=hooks)
    print("aiocheckpoint.events" in sys.modules)
"""


def output_of(*words: object) -> str:
    """Give what a Python of its own prints."""
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def brought() -> tuple[set[str], list[str]]:
    """The modules that importing the library adds to its dependencies', and its dataclasses."""
    modules, made = json.loads(output_of("-c", BROUGHT))
    return set(modules), made


def test_modules_of_the_standard_library(brought: tuple[set[str], list[str]]) -> None:
    """It brings these parts of the standard library at most, beside what its dependencies do."""
    modules, _ = brought
    others = {name for name in modules if not name.startswith(("aiocheckpoint", "_"))}
    assert others - STANDARD == set()


def test_modules_of_the_library(brought: tuple[set[str], list[str]]) -> None:
    """It imports so many modules of its own, and none that a plain run does not need."""
    ours = {name for name in brought[0] if name.startswith("aiocheckpoint")}
    assert {name for name in LATER if f"aiocheckpoint.{name}" in ours} == set()
    assert {name for name in ours if "sqlite" in name or ".testing" in name} == set()
    assert len(ours) == AT_ONCE


def test_dataclasses_made(brought: tuple[set[str], list[str]]) -> None:
    """It makes no other dataclasses, each of which takes as long as several small modules."""
    assert brought[1] == ["Failure", "Header", "Plan", "StepNamesExcerpt"]


def test_public_names_are_given_when_asked_for() -> None:
    """Names whose module is imported later are listed, found, and imported by a star."""
    assert output_of("-c", ASKED_FOR).splitlines() == ["[] []", "2 Event False"]


OTHER_DOORS = [("arun", "fails"), ("arun", "unstorable"), ("astream", "fails")]
RUNS = [*(("run", way) for way in WAYS), *OTHER_DOORS]


@pytest.mark.parametrize(("door", "way"), RUNS)
def test_nothing_is_imported_in_trouble(door: str, way: str, tmp_path: Path) -> None:
    """All that a run needs, however it ends, is there before its first step begins."""
    assert output_of(SCRIPT, tmp_path / "checkpoint.pkl", door, way).split() == []


def test_events_are_there_with_the_first_hook() -> None:
    """Their classes are imported when a flow is given a hook, before a loop may wait for a run."""
    assert output_of("-c", HOOKED).split() == ["False", "True"]


async def test_stream_asks_for_the_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream, whose flow need not have hooks, has the classes imported before its run begins."""
    asked = list[str]()

    async def noting(name: str) -> object:
        asked.append(name)
        return await import_in_thread(name)

    monkeypatch.setattr(streams, "import_in_thread", noting)
    cp = CheckpointFlow(tmp_path / "checkpoint.pkl")
    cp.add_step(name="a")(lambda state: asked.append("step"))
    await cp.astream({})
    assert asked == ["aiocheckpoint.events", "step"]


async def test_later_imports_leave_the_loop_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is imported in the middle of a program's work is imported in another thread, once."""
    (tmp_path / "late_module.py").write_text("import threading\nhere = threading.get_ident()\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = await import_in_thread("late_module")
    assert module.here != threading.get_ident()
    assert await import_in_thread("late_module") is module


def test_every_event_has_a_name_to_be_told_by() -> None:
    """What is told by name is just the events that are no base of others."""
    kinds = {name for name in events.__all__ if name not in {"Event", "Hook", "StepEvent"}}
    assert set(get_args(EventName)) == kinds


HEADER = Header(flow="f", position=1, durations=Durations({"a": 1.5}))
FAILURE = Failure(step="a", part="step", type="E", message="m", traceback="t", at=1.0, seconds=2.0)
PLAN = Plan(
    steps=("a",),
    start=0,
    stop=1,
    loads=(True,),
    source="given",
    fresh=True,
    moves=False,
    ignores_given=False,
    reason="why",
)
RESULT = RunResult(run_id="x", state={"a": 1}, error=None, status="finished")
EXCERPT = StepNamesExcerpt(count=200, begin=0, names=("a",), done=1, before="b", whole="w")
EVENT = events.StepLoaded(flow="f", run_id=None, number=1, step="a", index=0, of=1, seconds=0.5)
RECORDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "header": (HEADER, {"position": 2}),
    "failure": (FAILURE, {"message": "n"}),
    "plan": (PLAN, {"reason": "because"}),
    "result": (RESULT, {"state": {"a": 2}}),
    "retry": (Retry(attempts=3), {"attempts": 4}),
    "excerpt": (EXCERPT, {"done": 2}),
    "event": (EVENT, {"index": 1}),
}


def twin_of(record: Any) -> Any:  # noqa: ANN401 - a dataclass of any kind
    """Make the same of a class whose methods `dataclass` writes."""
    kind = type(record)
    own = [
        (one.name, object, dataclasses.field(repr=one.repr, compare=one.compare))
        for one in dataclasses.fields(kind)
    ]
    made = dataclasses.make_dataclass(kind.__name__, own, frozen=True)
    return made(**{one.name: getattr(record, one.name) for one in dataclasses.fields(kind)})


def hash_of(thing: object) -> int | None:
    """Give the hash, or None where there is none."""
    try:
        return hash(thing)
    except TypeError:
        return None


@pytest.mark.parametrize("name", RECORDS)
def test_records_are_as_dataclasses_are(name: str) -> None:
    """Text, hash and equality of the public dataclasses are those that `dataclass` would write."""
    record, change = RECORDS[name]
    twin = twin_of(record)
    assert (repr(record), hash_of(record)) == (repr(twin), hash_of(twin))
    assert record == dataclasses.replace(record)
    assert record != dataclasses.replace(record, **change)
    assert record != twin
    assert isinstance(record, Record)


def test_what_is_not_compared() -> None:
    """A field with `compare=False` makes no difference, and one with `repr=False` is not shown."""
    advanced = HEADER.next("running", 1, 0.0, None)
    assert advanced.fixed
    assert "fixed" not in repr(advanced)
    assert advanced == dataclasses.replace(HEADER, sequence=1)
