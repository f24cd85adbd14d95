"""Invalid input, tried as by a new user, raises an error that names the thing and the remedy."""

from __future__ import annotations

import collections
import sys
from pathlib import Path
from typing import Any

import pytest
from support import FlowFactory, Runner, State, load_bare, make_stored

from aiocheckpoint import (
    CheckpointError,
    CheckpointFlow,
    InvalidTypeError,
    StorageError,
    UnknownHandlerError,
    UnserializableStateError,
)

STORED = ["nothing", "failed at 1", "finished"]


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("state", [5, [], "a", [("a", 1)], object], ids=repr)
def test_state_that_is_no_dict(
    state: object, stored: str, runner: Runner, flows: FlowFactory
) -> None:
    """A state of another type raises a TypeError of the library that names the type."""
    make_stored(flows, stored)
    before = flows.files()
    with pytest.raises(InvalidTypeError, match="dict") as info:
        runner(flows.flow(), state)
    assert isinstance(info.value, TypeError)
    assert type(state).__name__ in str(info.value)
    assert (flows.log, flows.files()) == ([], before)


def test_state_may_be_a_kind_of_dict(runner: Runner, flows: FlowFactory) -> None:
    """A subclass of dict is a dict: it is used, changed in place and returned."""
    given = collections.OrderedDict[str, Any](a=1)
    assert runner(flows.flow(), given) is given
    assert given["trail"] == ["a", "b", "c"]


@pytest.mark.parametrize("loaded", [None, 5, [("a", 1)], "text"], ids=repr)
def test_loader_that_returns_no_dict(loaded: object, runner: Runner, flows: FlowFactory) -> None:
    """A loader must return a dict. Otherwise the error names the step and the returned type."""
    cp = flows.flow("a")

    @cp.add_step(load=lambda state: loaded)  # type: ignore[arg-type, return-value]
    def clean_it(state: State) -> None:
        flows.log.append("step clean_it")

    with pytest.raises(InvalidTypeError, match="clean_it") as info:
        runner(cp, load_policy="always")
    assert type(loaded).__name__ in str(info.value)
    assert "dict" in str(info.value)
    assert flows.ran() == ["a"]
    assert (flows.stored()["checkpoint_index"], flows.stored()["trail"]) == (1, ["a"])


class ReadOnly:
    """Lacks `write`."""

    def __init__(self, path: str = "") -> None:
        """Take the path and forget it."""

    def read(self) -> State:
        """Return nothing."""
        return {}


class WriteOnly:
    """Lacks `read`."""

    def __init__(self, path: str = "") -> None:
        """Take the path and forget it."""

    def write(self, state: State) -> None:
        """Forget it."""


class NotMethods:
    """Has both names, and no methods."""

    read = 1
    write = 2

    def __init__(self, path: str = "") -> None:
        """Take the path and forget it."""


@pytest.mark.parametrize(
    ("handler", "missing"),
    [
        (ReadOnly, "write"),
        (ReadOnly(), "write"),
        (WriteOnly, "read"),
        (WriteOnly(), "read"),
        (NotMethods, "read"),
        (NotMethods(), "read"),
        (5, "handler"),
        (None, "handler"),
        ({"local": ReadOnly}, "handler"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_handler_that_is_none(handler: Any, missing: str, flows: FlowFactory) -> None:  # noqa: ANN401
    """A handler that cannot read and write is refused when the flow is made."""
    with pytest.raises(InvalidTypeError, match=missing) as info:
        CheckpointFlow(flows.path, handler=handler)
    assert isinstance(info.value, TypeError)


@pytest.mark.parametrize("name", ["locale", "", "Local", "s5"])
def test_unknown_handler_name(name: str, flows: FlowFactory) -> None:
    """An unknown name raises a NotImplementedError of the library that lists the known ones."""
    with pytest.raises(UnknownHandlerError, match="local") as info:
        CheckpointFlow(flows.path, handler=name)
    assert isinstance(info.value, NotImplementedError)
    assert repr(name) in str(info.value)


@pytest.mark.parametrize("path", [5, None, ["a"]], ids=repr)
def test_path_of_another_type(path: Any) -> None:  # noqa: ANN401
    """A path of another type raises a TypeError of the library."""
    with pytest.raises(InvalidTypeError, match="path"):
        CheckpointFlow(path)


def test_path_may_be_text_or_path(runner: Runner, flows: FlowFactory) -> None:
    """A path as text and as `Path` is the same file."""
    make_stored(flows, "failed at 1")
    cp = CheckpointFlow(str(flows.path))
    for name in "abc":
        flows.add(cp, name)
    runner(cp)
    assert flows.ran() == ["b", "c"]


def test_missing_directories_are_created(runner: Runner, tmp_path: Path) -> None:
    """A path in a missing directory works."""
    flows = FlowFactory(tmp_path / "deep" / "er" / "checkpoint.pkl")
    runner(flows.flow(), {"a": 1})
    assert load_bare(flows.path)["trail"] == ["a", "b", "c"]


def test_path_that_is_a_directory(runner: Runner, flows: FlowFactory) -> None:
    """In a directory, the run without an id has a file of its own."""
    flows.path.mkdir()
    runner(flows.flow())
    assert flows.ran() == ["a", "b", "c"]
    assert [path.name for path in flows.path.iterdir()] == ["~.pkl"]
    assert [header.run_id for header in flows.flow().runs()] == [None]


def test_directory_at_the_files_path(runner: Runner, flows: FlowFactory) -> None:
    """A directory in place of the flow's file is an error before any step runs, and stays."""
    cp = flows.flow()
    flows.path.mkdir()
    with pytest.raises(CheckpointError, match="directory") as info:
        runner(cp)
    assert str(flows.path) in str(info.value)
    assert flows.log == []
    assert list(flows.path.iterdir()) == []


def test_path_below_a_file(runner: Runner, tmp_path: Path) -> None:
    """A file in place of the directory is an error before any step runs, and stays."""
    wall = tmp_path / "wall"
    wall.write_text("stone", encoding="utf-8")
    flows = FlowFactory(wall / "checkpoint.pkl")
    with pytest.raises(StorageError, match="wall") as info:
        runner(flows.flow())
    assert isinstance(info.value, OSError)
    assert info.value.errno is not None
    assert flows.log == []
    assert wall.read_text(encoding="utf-8") == "stone"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_unwritable_directory(runner: Runner) -> None:
    """An unwritable directory, even for root, is an error before the first step runs."""
    flows = FlowFactory(Path("/proc/self/checkpoint.pkl"))
    with pytest.raises(StorageError, match="/proc/self") as info:
        runner(flows.flow())
    assert str(flows.path) in str(info.value)
    assert flows.log == []


@pytest.mark.ordinary
def test_directory_turned_read_only(runner: Runner, flows: FlowFactory) -> None:
    """A stored run in a directory turned read-only is refused before its next step."""
    make_stored(flows, "failed at 1")
    flows.path.parent.chmod(0o500)
    try:
        with pytest.raises(StorageError, match=flows.path.name):
            runner(flows.flow())
    finally:
        flows.path.parent.chmod(0o700)
    assert flows.log == []
    assert flows.stored()["checkpoint_index"] == 1


UNSERIALISABLE = [
    pytest.param(lambda bad: {"conn": bad}, 'state["conn"]', id="top"),
    pytest.param(lambda bad: {"a": {"b": bad}}, 'state["a"]["b"]', id="dict in dict"),
    pytest.param(lambda bad: {"a": [0, bad]}, 'state["a"][1]', id="in a list"),
    pytest.param(lambda bad: {"a": ({"x": 1}, {"y": bad})}, 'state["a"][1]["y"]', id="deeper"),
]


@pytest.mark.parametrize(("wrap", "where"), UNSERIALISABLE)
def test_state_that_cannot_be_stored(
    wrap: Any,  # noqa: ANN401
    where: str,
    runner: Runner,
    flows: FlowFactory,
) -> None:
    """The error names the path of a value that a step put into the state and cannot be stored."""
    cp, before = flows.flow("a"), list[bytes]()

    @cp.add_step()
    def connect(state: State) -> None:
        before.append(flows.path.read_bytes())
        state.update(wrap(i for i in range(3)))

    flows.add(cp, "c")
    with pytest.raises(UnserializableStateError) as info:
        runner(cp)
    error = info.value
    assert isinstance(error, TypeError)
    assert error.step == "connect"
    assert [path for path, _ in error.offenders] == [where]
    assert where in str(error)
    assert "connect" in str(error)
    assert "generator" in str(error)
    assert flows.ran() == ["a"]
    assert [flows.path.read_bytes()] == before
    assert (flows.stored()["checkpoint_index"], flows.stored()["trail"]) == (1, ["a"])


def test_every_offender_is_named(runner: Runner, flows: FlowFactory) -> None:
    """The error names all values that cannot be stored, and no others."""
    cp = CheckpointFlow(flows.path)

    @cp.add_step()
    def connect(state: State) -> None:
        state.update(good=1, first=(i for i in "a"), fine=[2], second=(i for i in "b"))

    with pytest.raises(UnserializableStateError) as info:
        runner(cp)
    assert [path for path, _ in info.value.offenders] == ['state["first"]', 'state["second"]']


@pytest.mark.parametrize("stored", ["nothing", "finished", "failed at 0"])
def test_given_state_that_cannot_be_stored(stored: str, runner: Runner, flows: FlowFactory) -> None:
    """A given dict is checked before the first step runs, and nothing is overwritten."""
    make_stored(flows, stored, {"who": "stored"})
    before = flows.files()
    with pytest.raises(UnserializableStateError) as info:
        runner(flows.flow(), {"conn": (i for i in "a")})
    assert 'state["conn"]' in str(info.value)
    assert (flows.log, flows.files()) == ([], before)


def test_run_after_an_unstorable_state_resumes(runner: Runner, flows: FlowFactory) -> None:
    """Once the step is mended, the run resumes at the step that could not be stored."""
    flows.faults.clear()
    cp = flows.flow("a")
    cp.add_step(name="b")(lambda state: state.update(bad=(i for i in "a")))
    with pytest.raises(UnserializableStateError):
        runner(cp)
    flows.log.clear()
    result = runner(flows.flow())
    assert flows.ran() == ["b", "c"]
    assert "bad" not in result
