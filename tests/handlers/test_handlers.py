"""State handlers: the local one on its own, users' own ones, and files of other programs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from support import NAMES, FlowFactory, Runner, State, dump_bare, load_bare, make_stored

from aiocheckpoint import CheckpointFlow, InvalidTypeError, InvalidValueError, LocalStateHandler

if TYPE_CHECKING:
    from collections.abc import Awaitable


def test_nothing_stored_reads_as_empty(runner: Runner, flows: FlowFactory) -> None:
    """Without a file, and with an empty one, there is no state. Reading makes no file."""
    handler = LocalStateHandler(flows.path)
    assert runner.read(handler) == {}
    assert handler.header() is None
    assert flows.files() == {}
    flows.path.touch()
    assert runner.read(handler) == {}
    assert handler.header() is None


@pytest.mark.parametrize("index", [0, 2])
def test_written_state_is_read_back(index: int, runner: Runner, flows: FlowFactory) -> None:
    """The handler alone writes and reads a state with its index, and changes neither."""
    handler = LocalStateHandler(flows.path)
    state = {"a": [1, {"b": 2}], "checkpoint_index": index}
    runner.write(handler, state)
    assert state == {"a": [1, {"b": 2}], "checkpoint_index": index}
    assert runner.read(handler) == state
    assert runner.read(LocalStateHandler(str(flows.path))) == state


def test_state_without_index_is_at_the_beginning(runner: Runner, flows: FlowFactory) -> None:
    """A state written without the key is at step 0, and read as it was written."""
    handler = LocalStateHandler(flows.path)
    state = {"a": 1}
    runner.write(handler, state)
    assert state == {"a": 1}
    assert runner.read(handler) == {"a": 1} == load_bare(flows.path)
    assert runner.plan(flows.flow()).start == 0


@pytest.mark.parametrize("index", [-1, "1", None, 1.5], ids=repr)
def test_index_that_is_none_is_refused(index: object, runner: Runner, flows: FlowFactory) -> None:
    """An invalid index raises an error of the library, and the stored state stays."""
    make_stored(flows, "failed at 1")
    before = flows.files()
    with pytest.raises((TypeError, ValueError), match="checkpoint_index") as info:
        runner.write(LocalStateHandler(flows.path), {"checkpoint_index": index})
    assert type(info.value).__module__.startswith("aiocheckpoint")
    assert flows.files() == before


@pytest.mark.parametrize("state", [None, 5, [1]], ids=repr)
def test_written_state_must_be_a_dict(state: Any, runner: Runner, flows: FlowFactory) -> None:  # noqa: ANN401
    """Only a dict is written."""
    with pytest.raises(InvalidTypeError, match="dict"):
        runner.write(LocalStateHandler(flows.path), state)
    assert flows.files() == {}


def test_flow_for_a_path_has_a_local_handler(flows: FlowFactory) -> None:
    """`cp.handler` is the local handler of the path, by default and by name."""
    for cp in (CheckpointFlow(flows.path), CheckpointFlow(flows.path, "local")):
        assert isinstance(cp.handler, LocalStateHandler)
        assert str(cp.handler.path) == str(flows.path)


def test_patched_state_is_what_the_next_run_gets(runner: Runner, flows: FlowFactory) -> None:
    """A stored state is mended by hand: read, edit, write, run again."""
    make_stored(flows, "failed at 1", {"who": "stored", "bad": None})
    handler = LocalStateHandler(flows.path)
    state = runner.read(handler)
    state["bad"] = "mended"
    runner.write(handler, state)
    result = runner(flows.flow())
    assert flows.ran() == ["b", "c"]
    assert (result["who"], result["bad"]) == ("stored", "mended")
    assert result["trail"] == list(NAMES)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_patched_index_is_where_the_next_run_starts(
    index: int, runner: Runner, flows: FlowFactory
) -> None:
    """Editing the key moves the position, back and forth."""
    make_stored(flows, "failed at 1", {"who": "stored"})
    handler = LocalStateHandler(flows.path)
    runner.write(handler, {**runner.read(handler), "checkpoint_index": index})
    result = runner(flows.flow())
    assert flows.ran() == list(NAMES[index:])
    assert result["who"] == "stored"


def test_state_written_from_nothing_is_resumed(runner: Runner, flows: FlowFactory) -> None:
    """A state made by hand, with its index, is resumed like one stored by a run."""
    runner.write(LocalStateHandler(flows.path), {"who": "hand", "checkpoint_index": 1})
    assert runner(flows.flow())["who"] == "hand"
    assert flows.ran() == ["b", "c"]


class Memory:
    """A user's handler that keeps the objects it is given, without copies."""

    def __init__(self, path: object = None) -> None:
        """Start with nothing stored."""
        self.path = path
        self.kept: State = {}
        self.indices: list[int] = []

    def read(self) -> State:
        """Return the kept object itself."""
        return self.kept

    def write(self, state: State) -> None:
        """Keep the given object itself."""
        assert type(state) is dict
        self.indices.append(state.get("checkpoint_index", -1))
        self.kept = state


class AsyncMemory(Memory):
    """The same with coroutine methods."""

    async def read(self) -> State:  # type: ignore[override]
        """Return the kept object itself."""
        await asyncio.sleep(0)
        return super().read()

    async def write(self, state: State) -> None:  # type: ignore[override]
        """Keep the given object itself."""
        await asyncio.sleep(0)
        super().write(state)


class MixedMemory(Memory):
    """The same with one coroutine method, and a second method that returns an awaitable."""

    async def read(self) -> State:  # type: ignore[override]
        """Return the kept object itself."""
        return super().read()

    def write(self, state: State) -> Awaitable[None]:  # type: ignore[override]
        """Return an awaitable that keeps the given object itself."""
        return self._write(state)

    async def _write(self, state: State) -> None:
        super().write(state)


own_handlers = pytest.mark.parametrize("kind", [Memory, AsyncMemory, MixedMemory])


@own_handlers
def test_own_handler_by_class(kind: type[Memory], any_runner: Runner, flows: FlowFactory) -> None:
    """A class is called with the path, and stores the same state as the local handler."""
    cp = flows.flow(handler=kind)
    handler: Any = cp.handler
    assert type(handler) is kind
    assert str(handler.path) == str(flows.path)
    result = any_runner(cp, {"a": 1})
    assert handler.kept == {**result, "checkpoint_index": 0}
    assert flows.files() == {}


@own_handlers
def test_own_handler_by_instance(
    kind: type[Memory], any_runner: Runner, flows: FlowFactory
) -> None:
    """An instance is used as it is, by one flow after another."""
    handler = kind()
    cp = flows.flow(handler=handler)
    assert cp.handler is handler
    any_runner(cp, {"who": "given"}, until="a")
    result = any_runner(flows.flow(handler=handler), {"who": "ignored"})
    assert flows.ran() == list(NAMES)
    assert result["who"] == "given"


@own_handlers
def test_own_handler_is_written_once_a_step(
    kind: type[Memory], any_runner: Runner, flows: FlowFactory
) -> None:
    """A fresh run writes once at its start and once for each step. The last write marks the end."""
    handler = kind()
    any_runner(flows.flow(handler=handler))
    assert handler.indices == [0, 1, 2, 0]


@own_handlers
@pytest.mark.parametrize("part", ["load", "step", "save"])
def test_own_handler_is_safe_from_later_changes(
    kind: type[Memory], part: str, any_runner: Runner, flows: FlowFactory
) -> None:
    """The state in an in-memory handler does not change when a step changes its own."""
    handler = kind()
    error = OSError("broken")
    flows.faults[f"{part} b"] = error
    with pytest.raises(OSError, match="broken") as info:
        any_runner(flows.flow(handler=handler), {"deep": {"x": [1]}}, "always")
    assert info.value is error
    expected = {"deep": {"x": [1]}, "loads": ["a"], "trail": ["a"], "checkpoint_index": 1}
    assert handler.kept == expected
    with pytest.raises(OSError, match="broken"):
        any_runner(flows.flow(handler=handler), None, "always")
    assert handler.kept == expected


@own_handlers
def test_result_of_a_run_is_the_callers_own(
    kind: type[Memory], any_runner: Runner, flows: FlowFactory
) -> None:
    """Changing the dict that a run returned does not change the stored state."""
    handler = kind()
    result = any_runner(flows.flow(handler=handler), {"deep": []})
    result["deep"].append("later")
    assert handler.kept["deep"] == []


@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_own_handler_may_hold_the_seeds_state(
    index: int, any_runner: Runner, flows: FlowFactory
) -> None:
    """A dict with the key, put into an own handler by other code, is resumed by index."""
    handler = Memory()
    handler.kept = {"who": "seed", "checkpoint_index": index}
    assert any_runner(flows.flow(handler=handler))["who"] == "seed"
    assert flows.ran() == list(NAMES[index:])


def test_own_handler_may_hold_a_state_without_index(any_runner: Runner, flows: FlowFactory) -> None:
    """A dict without the key is a stored state at step 0."""
    handler = Memory()
    handler.kept = {"who": "hand"}
    assert any_runner(flows.flow(handler=handler))["who"] == "hand"
    assert flows.ran() == list(NAMES)


@pytest.mark.parametrize("read", [5, "text", [("a", 1)]], ids=repr)
def test_own_handler_that_reads_no_dict(read: Any, any_runner: Runner, flows: FlowFactory) -> None:  # noqa: ANN401
    """An own handler must read a dict. Otherwise nothing runs and nothing is written."""
    handler = Memory()
    handler.kept = read
    with pytest.raises(InvalidTypeError, match="read"):
        any_runner(flows.flow(handler=handler))
    assert (flows.log, handler.indices) == ([], [])


@own_handlers
def test_own_handler_can_be_planned_and_reset(
    kind: type[Memory], any_runner: Runner, flows: FlowFactory
) -> None:
    """Plan and reset work with own handlers, through each runner."""
    handler = kind()
    cp = flows.flow(handler=handler)
    any_runner(cp, {"who": "given"}, until="b")
    assert (any_runner.plan(cp).start, handler.indices) == (2, [0, 1, 2])
    any_runner.reset(cp)
    assert "who" not in any_runner(cp)
    assert flows.ran() == ["a", "b", *NAMES]


def test_own_handler_keeps_one_run_only(any_runner: Runner, flows: FlowFactory) -> None:
    """A handler of one dict keeps one run, and refuses run ids."""
    handler = Memory()
    with pytest.raises(InvalidValueError, match="run_id"):
        any_runner(flows.flow(handler=handler), run_id="one")
    assert (flows.log, handler.indices) == ([], [])


def test_fsync_is_for_local_files_only(flows: FlowFactory) -> None:
    """An option that the handler does not support is refused. It is never ignored."""
    with pytest.raises(InvalidValueError, match="fsync"):
        CheckpointFlow(flows.path, Memory, fsync=False)


class Local(LocalStateHandler):
    """A user's own kind of local handler."""


def test_local_handler_may_be_given_in_every_form(any_runner: Runner, flows: FlowFactory) -> None:
    """The local handler by name, class, subclass and instance stores in the same file."""
    forms: list[object] = ["local", LocalStateHandler, Local, LocalStateHandler(flows.path)]
    for name, form in zip("aab", forms[:3], strict=True):
        any_runner(flows.flow(handler=form), until=name, checkpoint=name)
    any_runner(flows.flow(handler=forms[3]))
    assert flows.ran() == ["a", "a", "b", "c"]


STORED = ["finished", "stopped at 2", "failed at 0", "failed at 2"]


@pytest.mark.parametrize("kind", STORED)
def test_plain_dill_reads_our_file(kind: str, runner: Runner, flows: FlowFactory) -> None:
    """`dill.load` opens the file and returns the same state as the handler."""
    make_stored(flows, kind, {"deep": {"x": [1, (2, b"3")]}})
    read = runner.read(LocalStateHandler(flows.path))
    assert load_bare(flows.path) == read
    assert read["checkpoint_index"] == (int(kind[-1]) if kind[-1].isdigit() else 0)


def test_we_read_a_file_of_plain_dill(runner: Runner, flows: FlowFactory) -> None:
    """A plain dill file reads as its dict, with functions."""
    dump_bare(flows.path, {"double": lambda x: 2 * x, "deep": [{}], "checkpoint_index": 1})
    read = runner.read(LocalStateHandler(flows.path))
    assert read["double"](21) == 42
    assert (read["deep"], read["checkpoint_index"]) == ([{}], 1)


def test_state_keeps_what_dill_can_carry(runner: Runner, flows: FlowFactory) -> None:
    """Functions and shared objects are read back from the file unchanged."""
    shared = [1]
    cp = flows.flow("a", "b")
    runner(cp, {"f": lambda x: x + 1, "one": shared, "two": shared}, until="a")
    result = runner(flows.flow("a", "b"))
    assert result["f"](1) == 2
    assert result["one"] is result["two"]
