"""Pickles of 0.5.0 find the classes of their records, and the library itself uses none of this."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
from typing import Any

import pytest

import aiocheckpoint
from aiocheckpoint import Header, handlers
from aiocheckpoint._model.step_names import StepNames

NAMES = tuple(f"step-{number}" for number in range(150))
LARGE = StepNames(NAMES)
EXCERPT = LARGE.excerpt(75, finished=False)
HEADER = Header(flow="f", position=75, excerpt=EXCERPT, durations={"a": 0.5}, written_at=1.0)
MODULES = {
    "_current": "CurrentStep",
    "_header": "Header",
    "_names": "Excerpt",
    "_pause": "Pause",
    "_plan": "Plan",
    "_results": "RunResult",
    "_retry": "Retry",
}


def test_old_names_are_gone() -> None:
    """The names and methods that 0.6 and 0.7 warned of are there no more."""
    assert not hasattr(aiocheckpoint, "Excerpt")
    assert not hasattr(handlers, "Target")
    for kind, name in ((Header, "entered"), (handlers.StateHandler, "slot")):
        assert not hasattr(kind, name)


@pytest.mark.parametrize("name", MODULES)
def test_old_modules_of_records(name: str) -> None:
    """The private modules that pickles of 0.5.0 name are there, with these classes alone."""
    module = importlib.import_module(f"aiocheckpoint.{name}")
    kind = getattr(module, MODULES[name])
    assert kind.__module__ == "aiocheckpoint"
    assert not hasattr(module, "Nothing")
    assert name not in dir(aiocheckpoint)


def test_durations_of_old_headers_become_a_dict() -> None:
    """The class of their durations is gone as soon as a header is loaded."""
    module = importlib.import_module("aiocheckpoint._durations")
    durations = module.Durations()
    durations["a"] = 0.5
    assert type(pickle.loads(pickle.dumps(durations))) is dict
    state = {**HEADER.__dict__, "durations": durations, "fixed": "text"}
    del state["snapshots"]  # 0.5.0 had none
    header: Any = object.__new__(Header)
    header.__setstate__(state)
    assert header == HEADER
    assert type(header.durations) is dict
    assert not hasattr(header, "fixed")


def test_the_library_uses_no_old_name() -> None:
    """Importing it, and asking for its public names, warns of nothing."""
    code = "from aiocheckpoint import *; from aiocheckpoint.handlers import *"
    command = [sys.executable, "-W", "error::DeprecationWarning:aiocheckpoint", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
