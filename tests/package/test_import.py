"""The modules that `import aiocheckpoint` loads. Their number decides how long it takes."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, get_args

import pytest
from late_imports_script import WAYS
from locations import program

from aiocheckpoint import Failure, Header, Plan, Retry, RunResult, events
from aiocheckpoint._concurrency.late_imports import imported
from aiocheckpoint._engine.dispatch import EventName
from aiocheckpoint._model.durations import Durations
from aiocheckpoint._model.step_names import StepNamesExcerpt

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = program("late_imports_script.py")

JSON = {"json", "json.decoder", "json.encoder", "json.scanner"}
STANDARD = {"hashlib", "hmac", "aiofiles.os", "aiofiles.ospath", *JSON}
LATER = {
    "handlers.local._inspect",
    "_snapshot.pickling.opcodes",
}
AT_ONCE = 83

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


def output_of(*words: object) -> str:
    """Return the output of a new Python process."""
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def brought() -> tuple[set[str], list[str]]:
    """Return the modules that the library adds to its dependencies', and its dataclasses."""
    modules, made = json.loads(output_of("-c", BROUGHT))
    return set(modules), made


def test_modules_of_the_standard_library(brought: tuple[set[str], list[str]]) -> None:
    """The import loads at most these standard modules beyond the ones of its dependencies."""
    modules, _ = brought
    others = {name for name in modules if not name.startswith(("aiocheckpoint", "_"))}
    assert others - STANDARD == set()


def test_modules_of_the_library(brought: tuple[set[str], list[str]]) -> None:
    """The import loads so many modules of the library, and none that a plain run does not need."""
    ours = {name for name in brought[0] if name.startswith("aiocheckpoint")}
    assert {name for name in LATER if f"aiocheckpoint.{name}" in ours} == set()
    assert {name for name in ours if "sqlite" in name or ".testing" in name} == set()
    assert len(ours) == AT_ONCE


def test_dataclasses_made(brought: tuple[set[str], list[str]]) -> None:
    """It makes no other dataclasses, each of which takes as long as several small modules."""
    others = ["Failure", "Header", "Plan", "Retry", "RunResult", "StepNamesExcerpt"]
    assert brought[1] == sorted({*events.__all__, *others} - {"Hook"})


def test_public_names_are_given_when_asked_for() -> None:
    """Names of lazily imported modules are listed, found, and imported by a star."""
    assert output_of("-c", ASKED_FOR).splitlines() == ["[] []", "2 Event False"]


OTHER_RUNNERS = [("arun", "fails"), ("arun", "unstorable"), ("astream", "fails")]
RUNS = [*(("run", way) for way in WAYS), *OTHER_RUNNERS]


@pytest.mark.parametrize(("method", "way"), RUNS)
def test_nothing_is_imported_in_trouble(method: str, way: str, tmp_path: Path) -> None:
    """All modules that a run needs, for any end, are imported before its first step."""
    assert output_of(SCRIPT, tmp_path / "checkpoint.pkl", method, way).split() == []


async def test_later_imports_leave_the_loop_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late import is done in another thread, once."""
    (tmp_path / "late_module.py").write_text("import threading\nhere = threading.get_ident()\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = await imported("late_module")
    assert module.here != threading.get_ident()
    assert await imported("late_module") is module


def test_every_event_has_a_name_to_be_told_by() -> None:
    """The event names are the names of the events without subclasses."""
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
    """Make an equal record of a class with methods written by `dataclass`."""
    kind = type(record)
    own = [
        (one.name, object, dataclasses.field(repr=one.repr, compare=one.compare))
        for one in dataclasses.fields(kind)
    ]
    made = dataclasses.make_dataclass(kind.__name__, own, frozen=True)
    return made(**{one.name: getattr(record, one.name) for one in dataclasses.fields(kind)})


def hash_of(thing: object) -> int | None:
    """Return the hash, or None if there is none."""
    try:
        return hash(thing)
    except TypeError:
        return None


@pytest.mark.parametrize("name", RECORDS)
def test_records_are_as_dataclasses_are(name: str) -> None:
    """Repr, hash and equality of the public dataclasses equal the ones written by `dataclass`."""
    record, change = RECORDS[name]
    twin = twin_of(record)
    assert (repr(record), hash_of(record)) == (repr(twin), hash_of(twin))
    assert record == dataclasses.replace(record)
    assert record != dataclasses.replace(record, **change)
    assert record != twin


def test_what_is_not_compared() -> None:
    """A field with `compare=False` makes no difference, and one with `repr=False` is not shown."""
    advanced = HEADER.next("running", 1, 0.0, None)
    assert advanced.fixed
    assert "fixed" not in repr(advanced)
    assert advanced == dataclasses.replace(HEADER, sequence=1)
