"""Values of a state appear in no message under signatures, allowlists or verification either."""

from __future__ import annotations

import importlib
import logging
import pickle
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from forged_snapshots import OTHER, SECRET, Pieces
from log_secrets import CANARY, LOGGER, Mute, all_text, with_secrets
from support import FlowFactory, notes_of

from aiocheckpoint import CheckpointError, CheckpointFlow, LocalStateHandler, adopt, inspect

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import Runner

FAST: dict[str, Any] = {"fsync": False}
OPTIONS: dict[str, dict[str, Any]] = {
    "signed": {"secret": SECRET},
    "listed": {"allow": ()},
    "verified": {"verify": True},
    "kept": {"keep": 3},
    "all": {"secret": [SECRET, OTHER], "allow": (), "verify": True, "keep": "all"},
}


class Unloadable:
    """A value that can be stored, and raises with its text when it is loaded."""

    def __init__(self) -> None:
        self.word = CANARY

    def __setstate__(self, state: dict[str, str]) -> None:
        """Raise an error."""
        raise ValueError(state["word"])


class Importing:
    """A value that looks for a module of its own name when it is loaded."""

    def __init__(self) -> None:
        self.word = CANARY

    def __setstate__(self, state: dict[str, str]) -> None:
        """Import a module that does not exist."""
        importlib.import_module(state["word"])


class Looking(Importing):
    """A value that looks for an attribute of its own name when it is loaded."""

    def __setstate__(self, state: dict[str, str]) -> None:
        """Look for an attribute that does not exist."""
        getattr(self, state["word"])


class Fetched:
    """A value that is loaded by `getattr` with a word of its own."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Store a call that fails."""
        return getattr, ("text", CANARY)


class Raising(Importing):
    """A value that raises an error of the interpreter's kind when it is stored."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Fail as an import does."""
        raise ModuleNotFoundError(f"No module named {CANARY!r}", name=CANARY)


FAILING = [Importing, Looking, Fetched, Raising]


@pytest.mark.parametrize("kind", FAILING)
@pytest.mark.parametrize("listed", [False, True], ids=["free", "listed"])
def test_of_lookups_that_fail(
    kind: type,
    runner: Runner,
    flows: FlowFactory,
    caplog: pytest.LogCaptureFixture,
    *,
    listed: bool,
) -> None:
    """Of a failed import or lookup in a user's class, the kind is named and no text is quoted."""
    caplog.set_level(logging.DEBUG, LOGGER)
    names = [f"{__name__}:{one.__name__}" for one in FAILING]
    options: dict[str, Any] = {"allow": [*names, "builtins:getattr"]} if listed else {}
    cp = flows.flow("a", **FAST, **options)
    cp.add_step(name="b")(lambda state: None)
    said = ""
    first, again = partial(runner, cp, {"bad": kind()}, until="a"), partial(runner, cp)
    for call in (first, cp.handler.read, again):
        try:
            call()
        except CheckpointError as error:
            said += all_text(error, caplog)
    assert "Error" in said
    assert CANARY not in said + caplog.text + file_names(flows)


def file_names(flows: FlowFactory) -> str:
    """Give the names of the files beside the checkpoint."""
    return " ".join(map(str, flows.path.parent.rglob("*")))


@pytest.mark.parametrize("bad", [Mute, Unloadable, complex, lambda: lambda: CANARY])
@pytest.mark.parametrize("name", OPTIONS)
def test_of_a_state_that_is_refused(
    name: str,
    bad: Callable[[], object],
    runner: Runner,
    flows: FlowFactory,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A refused state leaves no value in logs, errors, notes or file names."""
    caplog.set_level(logging.DEBUG, LOGGER)
    cp = flows.flow("a", **FAST, **OPTIONS[name])
    cp.add_step(name="b")(lambda state: state.update(bad=[bad()]))
    error: BaseException | None = None
    try:
        runner(cp, with_secrets())
        runner(cp, checkpoint="a")
    except CheckpointError as raised:
        error = raised
    assert caplog.records
    assert CANARY not in all_text(error, caplog) + file_names(flows)


@pytest.mark.parametrize("name", OPTIONS)
def test_of_a_step_that_fails(
    name: str, runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure's note and log hold no value. The text of the exception is the user's."""
    caplog.set_level(logging.DEBUG, LOGGER)
    flows.faults["step b"] = error = OSError("broken")
    with pytest.raises(OSError, match="broken"):
        runner(flows.flow("a", "b", **FAST, **OPTIONS[name]), with_secrets())
    assert CANARY not in notes_of(error) + caplog.text + file_names(flows)
    assert CANARY not in str(inspect(flows.path))


def corrupted(name: str, sound: bytes) -> bytes:
    """Damage or forge a snapshot."""
    pieces = Pieces.of(sound)
    ways: dict[str, Callable[[], bytes]] = {
        "cut": lambda: sound[:-1],
        "altered": lambda: sound.replace(b"canary", b"cAnary"),
        "unsigned": lambda: pieces.unsigned().joined(),
        "forged": lambda: pieces.with_fields(position=1).joined(),
        "bare": lambda: pieces.payload,
        "no dict": lambda: pickle.dumps([CANARY] * 3),
    }
    return ways[name]()


@pytest.mark.parametrize("way", ["cut", "altered", "unsigned", "forged", "bare", "no dict"])
@pytest.mark.parametrize("name", ["signed", "listed", "all"])
def test_of_a_file_that_is_refused(
    name: str, way: str, runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """The error about a damaged or untrusted snapshot does not quote its content."""
    caplog.set_level(logging.DEBUG, LOGGER)
    options: dict[str, Any] = {**FAST, **OPTIONS[name], "keep": 1}
    runner(flows.flow("a", **options), with_secrets())
    data = corrupted(way, flows.path.read_bytes())
    flows.path.write_bytes(data)
    handler = LocalStateHandler(flows.path, **options)
    calls: list[Callable[[], object]] = [
        lambda: runner(flows.flow("a", "b", **options)),
        handler.read,
        handler.header,
        lambda: inspect(flows.path),
        lambda: adopt(flows.path, secret=OTHER, run_id=None),
    ]
    said = ""
    for call in calls:
        flows.path.write_bytes(data)
        try:
            said += str(call())[:0]
        except CheckpointError as error:
            said += all_text(error, caplog)
    assert CANARY not in said.replace("cAnary", "canary")
    assert CANARY not in caplog.text + file_names(flows)


def test_of_a_flow_with_a_secret_made_in_vain(
    flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """The error about refused options does not quote their values."""
    wrong: list[dict[str, Any]] = [{"secret": CANARY}, {"secret": [CANARY]}, {"verify": CANARY}]
    for options in wrong:
        with pytest.raises(CheckpointError) as info:
            CheckpointFlow(flows.path, **options)
        assert CANARY not in all_text(info.value, caplog)
