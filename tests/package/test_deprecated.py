"""Names of 0.5.0 work with a warning, and nothing else of the library uses them."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from unittest.mock import create_autospec

import pytest

import aiocheckpoint
from aiocheckpoint import CheckpointFlow, Header, Plan, StepNamesExcerpt, handlers
from aiocheckpoint._concurrency.backends import SyncBackend
from aiocheckpoint._model.step_names import StepNames
from aiocheckpoint.testing import MemoryStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMES = tuple(f"step-{number}" for number in range(150))
LARGE = StepNames(NAMES)
EXCERPT = LARGE.excerpt(75, finished=False)
HEADER = Header(flow="f", position=75, excerpt=EXCERPT, durations={"a": 0.5}, written_at=1.0)
PLAN = Plan(
    steps=("a",),
    start=0,
    stop=1,
    loads=(True,),
    source="given",
    fresh=True,
    relocates=True,
    ignores_given=False,
    reason="why",
)
MODULES = {
    "_current": "CurrentStep",
    "_header": "Header",
    "_names": "Excerpt",
    "_pause": "Pause",
    "_plan": "Plan",
    "_results": "RunResult",
    "_retry": "Retry",
}


def old(owner: Any, name: str) -> Any:  # noqa: ANN401 - any attribute
    """Look up an old name, which warns."""
    with pytest.warns(DeprecationWarning, match=rf"{name} is (now|private)"):
        return getattr(owner, name)


def call_old(owner: type, name: str, *args: Any) -> Any:  # noqa: ANN401 - any result
    """Call an old class method, which warns. Looking it up does not."""
    method = getattr(owner, name)
    with pytest.warns(DeprecationWarning, match=rf"{name} is (now|private)"):
        return method(*args)


def test_old_names_of_classes() -> None:
    """An old name of a class is the class itself."""
    assert old(aiocheckpoint, "Excerpt") is StepNamesExcerpt
    assert old(handlers, "Target") is handlers.SnapshotTarget
    for module in (aiocheckpoint, handlers):
        assert not hasattr(module, "nothing")


def test_old_methods_of_headers() -> None:
    """Each does as the method that has another name now."""
    assert old(HEADER, "entered") == HEADER.next_step == NAMES[75]
    assert old(HEADER, "enters")(LARGE, 75)
    assert old(HEADER, "is_of")(LARGE)
    assert old(HEADER, "begins_as")(LARGE, 75)
    assert call_old(Header, "made_of", dict(HEADER.__dict__)) == HEADER
    unnamed = call_old(Header, "of_unnamed", "f", None, 1)
    assert unnamed == Header.without_names("f", None, 1)
    header = Header(flow="f", position=0)
    old(header, "tell_attempts")("a", 2)
    assert header.attempts == {"a": 2}
    following = old(header, "advanced")("running", 1, 2.0, None)
    assert following == header.next("running", 1, 2.0, None)


def test_old_encoder_of_headers() -> None:
    """Headers are encoded, decoded and stamped with versions by their old methods."""
    encoded = old(HEADER, "encode")()
    assert json.loads(encoded)["durations"] == {"a": 0.5}
    assert call_old(Header, "decode", encoded) == HEADER
    stamped = old(HEADER, "by_this_program")(position=1)
    assert (stamped.library, stamped.position) == (aiocheckpoint.__version__, 1)


def test_old_names_of_other_records() -> None:
    """The plan and the excerpt have theirs."""
    assert old(PLAN, "moves")
    assert EXCERPT is not None
    assert old(EXCERPT, "name")(75) == NAMES[75]
    assert old(EXCERPT, "are")(LARGE)
    assert old(EXCERPT, "begin_as")(LARGE, 10)


def test_old_methods_of_handlers() -> None:
    """A handler makes run stores and holds locks by its old methods."""
    handler = MemoryStateHandler()
    run_store = old(handler, "slot")("a", SyncBackend())
    assert run_store.location == handler.locate("a")
    with old(handler, "under")("a", None) as lock:
        assert lock.held


@pytest.mark.parametrize("kind", [Header, Plan, StepNamesExcerpt, handlers.StateHandler])
def test_listing_a_class_warns_of_nothing(kind: type) -> None:
    """Tools that look up all attributes of a class, such as mocks, use no old name."""
    assert inspect.getmembers(kind)
    assert create_autospec(kind)


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


def test_patch_with_the_run_id_first(tmp_path: Path) -> None:
    """The calls of 0.5 change the same run as today's, and warn at the line that makes them."""
    cp = CheckpointFlow(f"{tmp_path}/runs/")
    cp.add_step(name="a")(lambda state: None)
    for run_id in ("x", None):
        cp.run({"n": 0}, run_id=run_id)

    async def apatch(*args: Any, **options: Any) -> Header:  # noqa: ANN401
        return await cp.apatch(*args, **options)

    calls: list[Callable[[], Header]] = [
        lambda: cp.patch("x", {"n": 1}),  # type: ignore[arg-type]
        lambda: cp.patch(None, {"n": 1}, 0),  # type: ignore[call-arg,arg-type]
        lambda: cp.patch("x", values={"n": 1}, checkpoint="a"),  # type: ignore[misc,arg-type]
        lambda: asyncio.run(apatch("x", {"n": 1})),
    ]
    for call in calls:
        cp.patch({"n": 0})
        cp.patch({"n": 0}, run_id="x")
        with pytest.warns(DeprecationWarning, match=r"patch\(values, run_id=") as found:
            header = call()
        assert cp.read(header.run_id)["n"] == 1
        assert found[0].filename == __file__
    assert list(inspect.signature(cp.patch).parameters) == [
        "values",
        "checkpoint",
        "run_id",
        "unset",
        "reason",
    ]
    assert inspect.iscoroutinefunction(cp.apatch)
