"""The modules that `import aiocheckpoint` loads. Their number decides how long it takes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from late_imports_script import WAYS
from locations import program

from aiocheckpoint import events

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = program("late_imports_script.py")

JSON = {"json", "json.decoder", "json.encoder", "json.scanner"}
STANDARD = {
    "aiofiles.os",
    "aiofiles.ospath",
    "concurrent.futures.thread",
    "datetime",
    "hashlib",
    "hmac",
    "pickletools",
    "queue",
    "shlex",
    *JSON,
}
LATE = {"aiocheckpoint.handlers.sqlite", "sqlite3", "stamina", "tenacity"}
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


def output_of(*words: object) -> str:
    """Return the output of a new Python process."""
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
    """Names of lazily imported modules are listed, found, and imported by a star."""
    assert output_of("-c", ASKED_FOR).splitlines() == ["[] []", "2 Event False"]


OTHER_RUNNERS = [("arun", "fails"), ("arun", "unstorable"), ("astream", "fails")]
RUNS = [*(("run", way) for way in WAYS), *OTHER_RUNNERS]


@pytest.mark.parametrize(("method", "way"), RUNS)
def test_nothing_is_imported_in_trouble(method: str, way: str, tmp_path: Path) -> None:
    """All modules that a run needs, for any end, are imported before its first step."""
    assert output_of(SCRIPT, tmp_path / "checkpoint.pkl", method, way).split() == []


def test_every_event_is_public() -> None:
    """The public events are all subclasses of `Event`, apart from the bases."""
    kinds = {
        name for name in events.__all__ if name not in {"Around", "Event", "Hook", "StepEvent"}
    }
    subclasses = {*events.Event.__subclasses__(), *events.StepEvent.__subclasses__()}
    assert {kind.__name__ for kind in subclasses} - {"StepEvent"} == kinds
