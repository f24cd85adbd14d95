"""What `import aiocheckpoint` brings, counted: that decides how long it takes, on every machine."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, get_args

import pytest
from late_script import WAYS
from locations import program

from aiocheckpoint import CheckpointFlow, events
from aiocheckpoint._concurrency.late_imports import imported
from aiocheckpoint._engine.dispatch import EventName
from aiocheckpoint._runs import streams

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = program("late_script.py")

JSON = {"json", "json.decoder", "json.encoder", "json.scanner"}
STANDARD = {"datetime", "hashlib", "hmac", "pickletools", *JSON}
LATE = {"aiocheckpoint.events", "aiocheckpoint.handlers.sqlite", "sqlite3", "stamina", "tenacity"}
"""What takes 5 ms or more, and most programs never need."""

BROUGHT = """
import json, sys
import aiofiles, anyio, dill
before = set(sys.modules)
import aiocheckpoint
print(json.dumps(sorted(set(sys.modules) - before)))
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
def brought() -> set[str]:
    """The modules that importing the library adds to the ones of its dependencies."""
    return set(json.loads(output_of("-c", BROUGHT)))


def test_modules_of_the_standard_library(brought: set[str]) -> None:
    """It brings these parts of the standard library at most, beside what its dependencies do."""
    others = {name for name in brought if not name.startswith(("aiocheckpoint", "_"))}
    assert others - STANDARD == set()


def test_what_takes_long_is_imported_late(brought: set[str]) -> None:
    """It imports nothing that takes long and that a plain run does not need, nor test tools."""
    late = {f"{name}." for name in (*LATE, "aiocheckpoint.testing")}
    assert {name for name in brought if f"{name}.".startswith(tuple(late))} == set()


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
        return await imported(name)

    monkeypatch.setattr(streams, "imported", noting)
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
    module = await imported("late_module")
    assert module.here != threading.get_ident()
    assert await imported("late_module") is module


def test_every_event_has_a_name_to_be_told_by() -> None:
    """What is told by name is just the events that are no base of others."""
    kinds = {name for name in events.__all__ if name not in {"Event", "Hook", "StepEvent"}}
    assert set(get_args(EventName)) == kinds
