"""The file: a pickle for any reader, and a footer that describes it without unpickling."""

from __future__ import annotations

import collections
import io
import pickle
import pickletools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dill  # type: ignore[import-untyped]
import pytest
import sample_objects
from graphs import difference
from streams import footer_of
from support import FlowFactory, Runner, State, dump_bare

from aiocheckpoint import CheckpointFlow, InvalidTypeError, LocalStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable

LAST_POSITION = 2**31 - 1

STATES: dict[str, Callable[[], State]] = {
    "empty": dict,
    "small": lambda: {"a": 1},
    "nested": lambda: {"a": [{"b": (1, {2})}], "text": "ä😀"},
    "many keys": lambda: {f"key {n}": n for n in range(5000)},
    "large text last": lambda: {"a": 1, "text": "x" * 100_000},
    "large bytes last": lambda: {"a": 1, "bytes": b"x" * 1_000_000},
    "large bytes first": lambda: {"bytes": b"x" * 1_000_000, "a": 1},
    "many small": lambda: {"rows": [{"n": n, "text": str(n)} for n in range(20_000)]},
    "all plain things": lambda: {
        name: value for name, value in sample_objects.PLAIN.items() if name != "own ways to pickle"
    },
}
PAGE = 1 << 16
PIECE = 1 << 18


def in_pure_python(data: bytes) -> Any:  # noqa: ANN401 - any object at all
    """Load with the unpickler that is written in Python."""
    unpickler: Any = pickle._Unpickler  # noqa: SLF001
    return unpickler(io.BytesIO(data)).load()


READERS: dict[str, Callable[[bytes], Any]] = {
    "dill": lambda data: dill.loads(data),  # noqa: PLW0108 - it has no types
    "pickle": pickle.loads,
    "pickle in pure Python": in_pure_python,
}


@pytest.fixture
def handler(tmp_path: Path) -> LocalStateHandler:
    """Give a handler of a file that does not exist yet."""
    return LocalStateHandler(tmp_path / "checkpoint.pkl", fsync=False)


def stored_bytes(handler: LocalStateHandler) -> bytes:
    """Give the bytes of the handler's file."""
    with open(handler.locate(), "rb") as file:  # noqa: PTH123
        return file.read()


@pytest.mark.parametrize("name", STATES)
def test_layout(name: str, handler: LocalStateHandler) -> None:
    """The file has the documented layout. Its header has the writer's version and the position."""
    handler.write({**STATES[name](), "checkpoint_index": 3})
    payload, header = footer_of(stored_bytes(handler))
    assert payload[:2] == b"\x80\x05"
    assert payload[-1:] == b"."
    assert (header["position"], header["code"], header["status"]) == (3, False, "stopped")
    assert (header["run_id"], header["failure"], header["steps"]) == (None, None, None)


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("reader", READERS)
def test_any_unpickler_reads_it(name: str, reader: str, handler: LocalStateHandler) -> None:
    """Plain unpicklers stop before the footer, and give the dict that the handler reads."""
    handler.write({**STATES[name](), "checkpoint_index": 1})
    expected = handler.read()
    assert difference(expected, {**STATES[name](), "checkpoint_index": 1}) is None
    assert difference(expected, READERS[reader](stored_bytes(handler))) is None


@pytest.mark.parametrize("name", STATES)
def test_disassembly(name: str, handler: LocalStateHandler) -> None:
    """The payload passes the checks of pickletools: stack, marks, memo and end."""
    handler.write(STATES[name]())
    data = stored_bytes(handler)
    payload, _ = footer_of(data)
    ends = [at for code, _, at in pickletools.genops(data) if code.name == "STOP"]
    assert ends == [len(payload) - 1]
    pickletools.dis(payload, io.StringIO())


@pytest.mark.parametrize("around", [PAGE, PIECE, 2 * PIECE])
def test_lengths_around_the_borders_of_frames(around: int, handler: LocalStateHandler) -> None:
    """The position follows a last value of any length, and is found."""
    for length in (*range(around - 12, around + 12, 3), around - 60, around + 60):
        for value in (b"x" * length, "x" * length, ["x" * length]):
            handler.write({"v": value, "checkpoint_index": 1})
            data = stored_bytes(handler)
            for read in READERS.values():
                assert read(data) == {"v": value, "checkpoint_index": 1}


@pytest.mark.parametrize("position", [0, 1, 255, 256, 70_000, LAST_POSITION])
def test_positions(position: int, handler: LocalStateHandler) -> None:
    """Positions of any size are in the pickle and in the header."""
    handler.write({"a": 1, "checkpoint_index": position})
    data = stored_bytes(handler)
    assert footer_of(data)[1]["position"] == position
    for loaded in (handler.read(), *(read(data) for read in READERS.values())):
        assert loaded == {"a": 1, "checkpoint_index": position}
        assert type(loaded["checkpoint_index"]) is int


@pytest.mark.parametrize("position", [-1, LAST_POSITION + 1, True, 1.0, "1", None], ids=repr)
def test_what_is_no_position(position: object, handler: LocalStateHandler) -> None:
    """A position that cannot be an index of a step is refused, and nothing is stored."""
    with pytest.raises(InvalidTypeError, match="checkpoint_index"):
        handler.write({"a": 1, "checkpoint_index": position})
    assert handler.read() == {}


def test_code_is_read_by_dill_too(handler: LocalStateHandler) -> None:
    """A state with functions is one dill stream, and its header says that it holds code."""
    shared = [1]
    handler.write({"f": lambda: shared, "shared": shared, "checkpoint_index": 2})
    data = stored_bytes(handler)
    assert footer_of(data)[1]["code"] is True
    for state in (handler.read(), READERS["dill"](data)):
        assert state["f"]() is state["shared"]
        assert state["checkpoint_index"] == 2


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("by", [dill, pickle], ids=["dill", "pickle"])
def test_bare_pickles(protocol: int, by: Any, handler: LocalStateHandler) -> None:  # noqa: ANN401
    """A dict dumped by hand, or by gumly, is read. Only its position is known."""
    state = {"a": [1], "b": "text", "checkpoint_index": 2}
    with open(handler.locate(), "wb") as file:  # noqa: PTH123
        by.dump(state, file, protocol)
    assert handler.read() == state
    header = handler.header()
    assert header is not None
    assert (header.flow, header.steps, header.position, header.status) == ("", None, 2, "stopped")
    assert (header.python, header.dill, header.library) == ("", "", "")


def test_bare_pickle_of_a_kind_of_dict(flows: FlowFactory) -> None:
    """A bare pickle may hold a subclass of dict, and a flow resumes from it."""
    dump_bare(flows.path, sample_objects.OwnDict(trail=["a"], checkpoint_index=1))
    state = flows.flow().run()
    assert type(state) is sample_objects.OwnDict
    assert state["trail"] == ["a", "b", "c"]


KINDS_OF_DICT: dict[str, Callable[[], State]] = {
    "ordered dict": lambda: collections.OrderedDict(a=1),
    "default dict": lambda: collections.defaultdict(list, a=1),
    "counter": lambda: collections.Counter(a=1),
    "own dict": lambda: sample_objects.with_attributes(sample_objects.OwnDict(a=1)),
    "own ordered dict": lambda: sample_objects.with_attributes(sample_objects.OwnOrdered(a=1)),
}


@pytest.mark.parametrize("name", KINDS_OF_DICT)
def test_kinds_of_dict(name: str, runner: Runner, flows: FlowFactory) -> None:
    """A state that is a subclass of dict loads as one, with its attributes."""
    given = KINDS_OF_DICT[name]()
    cp = flows.flow("a", "b")
    runner(cp, given, until="a")
    stored = flows.stored()
    assert stored.pop("checkpoint_index") == 1
    assert difference(given, stored) is None
    resumed = runner(cp)
    assert type(resumed) is type(given)
    assert resumed["trail"] == ["a", "b"]
    assert getattr(resumed, "itself", resumed) is resumed


def test_state_that_contains_itself(runner: Runner, flows: FlowFactory) -> None:
    """A state that refers to itself does so after a resume."""
    given: State = {"list": []}
    given.update(itself=given)
    given["list"].append(given)
    cp = flows.flow("a", "b")
    runner(cp, given, until="a")
    resumed = runner(cp)
    assert resumed["itself"] is resumed["list"][0] is resumed
    assert "checkpoint_index" not in resumed


@pytest.mark.parametrize("name", [*KINDS_OF_DICT, "itself"])
def test_reading_and_writing_back_changes_nothing(name: str, handler: LocalStateHandler) -> None:
    """A read state can be written back: the same kind of dict, with the same references."""
    given: State = KINDS_OF_DICT.get(name, dict)()
    if name == "itself":
        given["itself"] = given
    handler.write(given)
    state = handler.read()
    state["checkpoint_index"] = 1
    handler.write(state)
    again = handler.read()
    assert difference(state, again) is None
    assert "checkpoint_index" in state


def test_failure_keeps_the_payload(flows: FlowFactory) -> None:
    """The record of a failure is a new header on the very bytes of the stored payload."""
    cp = flows.flow("a", "b")
    cp.run({"f": lambda: 5, "rows": list(range(100_000))}, until="a")
    before, _ = footer_of(flows.path.read_bytes())
    flows.faults["step b"] = OSError("broken")
    with pytest.raises(OSError, match="broken"):
        cp.run()
    after, header = footer_of(flows.path.read_bytes())
    assert after == before
    assert header["failure"]["message"] == "broken"
    assert header["code"] is True


class Canary:
    """Leaves a mark when it is unpickled."""

    def __init__(self, canary_file: str) -> None:
        self.mark = canary_file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(self.mark),)


def test_header_is_read_without_unpickling(flows: FlowFactory, tmp_path: Path) -> None:
    """Nothing of the payload is executed to read the header, or to plan."""
    canary_file = tmp_path / "mark"
    CheckpointFlow(flows.path).handler.write({})
    cp = flows.flow()
    cp.run({"canary": Canary(str(canary_file))}, until="b")
    canary_file.unlink()  # The first value of a type is loaded back when it is stored.
    header = LocalStateHandler(flows.path).header()
    assert header is not None
    assert (header.position, header.status, header.steps) == (2, "stopped", ("a", "b", "c"))
    assert cp.plan().start == 2
    assert not canary_file.exists()
