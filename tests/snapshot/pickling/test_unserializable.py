"""States that cannot be stored: named with their path, nothing overwritten, resumable."""

from __future__ import annotations

import collections
import functools
import pickle
import threading
import types
import weakref
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sample_objects import Node, OwnDict, Pair, Slots, Slotted, with_attributes
from unserializable_objects import SECRET, UNSERIALIZABLE

from aiocheckpoint import LocalStateHandler, UnserializableStateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support import FlowFactory, Runner, State


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Give an exit stack that is closed in the end."""
    with ExitStack() as made:
        yield made


def run_into(
    flows: FlowFactory, runner: Runner, put: Callable[[State], None]
) -> UnserializableStateError:
    """Run a flow whose second step changes the state, and check the promises for a refusal."""
    before = list[bytes]()

    async def corrupt(state: State) -> None:
        before.append(flows.path.read_bytes())
        put(state)

    cp = flows.flow("a")
    cp.add_step(name="b")(corrupt)
    flows.add(cp, "c")
    with pytest.raises(UnserializableStateError) as info:
        runner(cp, {"kept": [1]})
    error = info.value
    assert (error.step, flows.ran()) == ("b", ["a"])
    assert [flows.path.read_bytes()] == before
    assert "'b'" in str(error)
    assert SECRET not in str(error)
    assert str(error).startswith(str(pickle.loads(pickle.dumps(error))))
    for path, why in error.offenders:
        assert path in str(error)
        assert why in str(error)
    return error


def check_resumes(flows: FlowFactory, runner: Runner) -> None:
    """Check that the fixed flow resumes at the step whose snapshot failed."""
    flows.log.clear()
    state = runner(flows.flow())
    assert flows.ran() == ["b", "c"]
    assert (state["trail"], state["kept"]) == (["a", "b", "c"], [1])


@pytest.mark.parametrize("name", UNSERIALIZABLE)
def test_misfits(name: str, runner: Runner, flows: FlowFactory, stack: ExitStack) -> None:
    """The error names the unserializable value by its key, and the fixed run resumes."""
    error = run_into(flows, runner, lambda state: state.update(conn=UNSERIALIZABLE[name](stack)))
    path = error.offenders[0][0]
    assert path.startswith('state["conn"]')
    check_resumes(flows, runner)


EXACT = [
    *("generator", "coroutine", "task", "asyncio's queue", "thread", "condition", "queue"),
    *("held lock", "socket", "database", "connection between processes", "file to write"),
    *("__reduce__ that raises", "50,000 nested lists"),
]


@pytest.mark.parametrize("name", EXACT)
def test_a_misfit_is_not_taken_apart(
    name: str, runner: Runner, flows: FlowFactory, stack: ExitStack
) -> None:
    """The path ends at the value itself, not at a part of it, and the error names its type."""
    made = list[object]()

    def put(state: State) -> None:
        made.append(UNSERIALIZABLE[name](stack))
        state["conn"] = made[0]

    error = run_into(flows, runner, put)
    assert [path for path, _ in error.offenders] == ['state["conn"]']
    assert type(made[0]).__name__ in error.offenders[0][1]


def closing_over(bad: object) -> Callable[[], object]:
    """Make a function that holds the value in a cell."""
    return lambda: bad


def by_default(bad: object) -> Callable[..., object]:
    """Make a function that holds the value as a default."""
    return lambda a=bad: a


@dataclass
class Holder:
    """Hold a value."""

    inner: object


def slots_and_more(bad: object) -> Slots:
    """Hold a value in a slot."""
    return Slots([bad])


NESTED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "list": (lambda bad: [0, bad], "[1]"),
    "tuple": (lambda bad: (bad, 0), "[0]"),
    "deque": (lambda bad: collections.deque([0, bad]), "[1]"),
    "dict": (lambda bad: {"a": {1: bad}}, '["a"][1]'),
    "key": (lambda bad: {bad: 1}, ".keys()[<generator>]"),
    "inside of a key": (lambda bad: {(1, bad): 1}, ".keys()[<tuple>][1]"),
    "ordered dict": (lambda bad: collections.OrderedDict(a=bad), '["a"]'),
    "set": (lambda bad: {1, bad}, ".{generator}"),
    "named tuple": (lambda bad: Pair(1, bad), "[1]"),
    "dataclass": (lambda bad: Holder([bad]), ".inner[0]"),
    "dataclass with slots": (lambda bad: Slotted(1, bad), ".other"),
    "slots": (slots_and_more, ".filled[0]"),
    "namespace": (lambda bad: types.SimpleNamespace(a=bad), ".a"),
    "graph": (lambda bad: Node("a", [Node(bad)]), ".links[0].name"),
    "own dict": (lambda bad: OwnDict(a=bad), '["a"]'),
    "closure": (closing_over, ""),
    "default": (by_default, ""),
    "partial": (lambda bad: functools.partial(print, bad), ""),
    "exception": (lambda bad: ValueError("a", bad), ""),
    "bound method": (lambda bad: Holder(bad).__eq__, ""),
    "proxy": (lambda bad: types.MappingProxyType({"a": bad}), ""),
    "user dict": (lambda bad: collections.UserDict(a=bad), ""),
    "chain": (lambda bad: collections.ChainMap({}, {"a": bad}), ""),
}
"""How it is held, and the path to it; "" where the path needs but begin with the holder's."""


@pytest.mark.parametrize("name", NESTED)
def test_paths(name: str, runner: Runner, flows: FlowFactory) -> None:
    """The path leads through every kind of holder."""
    wrap, path = NESTED[name]
    error = run_into(flows, runner, lambda state: state.update(v=wrap(i for i in "a")))
    found = [where for where, _ in error.offenders]
    assert found == [f'state["v"]{path}'] if path else found[0].startswith('state["v"]')
    assert "generator" in str(error)
    check_resumes(flows, runner)


KEYS: dict[str, object] = {
    "text": "a key",
    "long text": "x" * 10_000,
    "bytes": b"key",
    "number": 5,
    "negative": -5,
    "huge number": 10**5000,
    "none": None,
    "float": 1.5,
    "tuple": (1, "a"),
    "type": int,
}


class OddKey(int):
    """A key whose repr raises."""

    def __repr__(self) -> str:
        raise RuntimeError(SECRET)


@pytest.mark.parametrize("key", [*KEYS.values(), OddKey(3)], ids=[*KEYS, "odd"])
def test_keys_of_any_kind(key: Any, runner: Runner, flows: FlowFactory) -> None:  # noqa: ANN401
    """The error is raised whatever the key of the value is, and is not too long."""
    error = run_into(flows, runner, lambda state: state.update({key: (i for i in "a")}))
    assert len(str(error)) < 1000
    assert len(error.offenders) == 1


class OddDict(dict[str, Any]):
    """A dict that cannot be iterated."""

    def items(self) -> Any:  # noqa: ANN401
        """Raise an error."""
        raise RuntimeError(SECRET)


def test_holder_that_cannot_be_looked_at(runner: Runner, flows: FlowFactory) -> None:
    """A holder that raises when it is searched is named itself."""
    error = run_into(flows, runner, lambda state: state.update(v=OddDict(a=(i for i in "a"))))
    assert error.offenders[0][0].startswith('state["v"]')
    check_resumes(flows, runner)


def test_many_offenders(runner: Runner, flows: FlowFactory) -> None:
    """Of many unserializable values some are named, and the message stays readable."""
    error = run_into(
        flows, runner, lambda state: state.update({f"k{n}": (i for i in "a") for n in range(1000)})
    )
    assert 2 <= len(error.offenders) <= 20
    assert len(str(error)) < 5000


def test_offender_in_a_cycle(runner: Runner, flows: FlowFactory) -> None:
    """A state that contains itself and an unserializable value is searched once."""

    def put(state: State) -> None:
        state["itself"] = state
        held: list[object] = [state, (i for i in "a")]
        held.append(held)
        state["list"] = held

    error = run_into(flows, runner, put)
    assert any(path.endswith("[1]") for path, _ in error.offenders)
    check_resumes(flows, runner)


def test_shared_offender_beside_a_large_state(runner: Runner, flows: FlowFactory) -> None:
    """An unserializable value among many valid ones is found."""
    rows: list[object] = [{"n": n} for n in range(5000)]
    rows[4321] = (i for i in "a")
    error = run_into(flows, runner, lambda state: state.update(rows=rows))
    assert [path for path, _ in error.offenders] == ['state["rows"][4321]']


@pytest.mark.parametrize("name", ["generator", "held lock", "file to write", "50,000 nested lists"])
def test_given_state(name: str, runner: Runner, flows: FlowFactory, stack: ExitStack) -> None:
    """A given state is refused before the first step, and no file is made or changed."""
    given = {"conn": UNSERIALIZABLE[name](stack)}
    for stored in (False, True):
        if stored:
            flows.flow("a").run({"n": 1})
            flows.log.clear()
        before = flows.files()
        with pytest.raises(UnserializableStateError, match="conn") as info:
            runner(flows.flow("a"), given)
        assert info.value.step is None
        assert (flows.log, flows.files()) == ([], before)


def test_state_written_by_hand(runner: Runner, flows: FlowFactory) -> None:
    """A handler refuses it as well, and keeps its stored state."""
    handler = LocalStateHandler(flows.path)
    handler.write({"n": 1})
    before = flows.path.read_bytes()
    with pytest.raises(UnserializableStateError, match="conn"):
        runner.write(handler, {"conn": threading.Lock()})
    assert flows.path.read_bytes() == before


def test_file_handle_is_not_opened_again(
    flows: FlowFactory, runner: Runner, stack: ExitStack
) -> None:
    """A refused state has no side effects: a file being written keeps its text."""
    path = flows.path.parent / "precious"
    file = stack.enter_context(path.open("w"))
    file.write("precious")
    file.flush()
    run_into(flows, runner, lambda state: state.update(file=file))
    check_resumes(flows, runner)
    assert path.read_text(encoding="ascii") == "precious"


class Odd(Exception):  # noqa: N818 - the name does not matter
    """Takes other arguments than it keeps."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(one)


def test_exception_that_would_not_load(flows: FlowFactory, runner: Runner) -> None:
    """An exception that cannot be made again from its args is refused when saved."""
    error = run_into(flows, runner, lambda state: state.update(error=Odd(1, 2)))
    assert error.offenders[0][0] == 'state["error"]'
    check_resumes(flows, runner)


# --- values that can be stored


def test_weak_references(runner: Runner, flows: FlowFactory) -> None:
    """A weak reference into the state is kept. A weak reference to anything else is dead."""
    node, gone = Node("a"), Node("b")
    flows.flow("a", "b").run({}, until="a")
    handler = LocalStateHandler(flows.path)
    state = {"node": node, "to it": weakref.ref(node), "to another": weakref.ref(gone)}
    runner.write(handler, {**state, "checkpoint_index": 1})
    loaded = runner(flows.flow("a", "b"))
    assert loaded["to it"]() is loaded["node"]
    assert loaded["to another"]() is None


def test_deep_but_not_too_deep(runner: Runner, flows: FlowFactory) -> None:
    """A hundred levels of lists and objects can be stored."""
    made: Any = []
    for _ in range(100):
        made = [Node(with_attributes(OwnDict(a=made)))]
    runner(flows.flow("a"), {"v": made})
    loaded = flows.stored()["v"]
    for _ in range(100):
        loaded = loaded[0].name["a"]
    assert loaded == []


def test_state_changed_by_a_thread_meanwhile(runner: Runner, flows: FlowFactory) -> None:
    """A state that another thread keeps changing is stored whole or refused."""
    shared = {n: n for n in range(2000)}
    stop = threading.Event()

    def change() -> None:
        number = 2000
        while not stop.is_set():
            shared[number] = number
            shared.pop(number - 1000, None)
            number += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(8):
            try:
                runner(flows.flow(fsync=False), {"shared": shared})
            except UnserializableStateError as error:
                assert error.offenders  # noqa: PT017
                continue
            stored = flows.stored()["shared"]
            assert len(stored) >= 1000
            assert all(key == value for key, value in stored.items())
    finally:
        stop.set()
        thread.join()


class Changing:
    """Is stored while another thread puts something into a container."""

    def __init__(self, add: Callable[[object], object]) -> None:
        self.add = add

    def __hash__(self) -> int:
        return 0  # A set gives it first.

    def __reduce__(self) -> tuple[Any, ...]:
        thread = threading.Thread(target=self.add, args=(object(),))
        thread.start()
        thread.join()
        return int, ()


CONTAINERS: dict[str, Callable[[], tuple[Any, Callable[[object], object]]]] = {
    "dict": lambda: (made := dict[object, object](), lambda key: made.update({key: 1})),
    "set": lambda: (made := set[object](), made.add),
    "deque": lambda: (made := collections.deque[object](), made.append),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_value_changed_by_a_thread_meanwhile(name: str, runner: Runner, flows: FlowFactory) -> None:
    """The error names the value that another thread changes, says so, and tells the remedy."""
    value, add = CONTAINERS[name]()
    for item in (Changing(add), *range(2500)):
        add(item)
    with pytest.raises(UnserializableStateError) as info:
        runner(flows.flow("a", fsync=False), {"rows": value})
    ((path, why),) = info.value.offenders
    assert path == 'state["rows"]'
    assert "another thread" in why
    assert "a copy of it" in why


def test_part_of_a_memory_map(runner: Runner, flows: FlowFactory, tmp_path: Path) -> None:
    """A row of a memory map is refused with the remedy, and a copy of it is stored."""
    rows = np.memmap(tmp_path / "rows", dtype="int64", mode="w+", shape=(3, 2))
    with pytest.raises(UnserializableStateError) as info:
        runner(flows.flow("a", fsync=False), {"row": rows[1]})
    ((path, why),) = info.value.offenders
    assert path == 'state["row"]'
    assert "a part of a memory map" in why
    assert "put a copy" in why
    runner(flows.flow("a", fsync=False), {"row": np.array(rows[1])})
    assert flows.stored()["row"].tolist() == [0, 0]
