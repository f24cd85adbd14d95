"""Under `allow=` a stream takes no more depth, time and memory than its length allows."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tracemalloc
from typing import TYPE_CHECKING, Any

import hostile_pickles as hostile
import pytest
from locations import program

from aiocheckpoint import LocalStateHandler
from aiocheckpoint._snapshot.pickling.objects import BeyondBoundsError
from aiocheckpoint._snapshot.pickling.opcodes import MalformedError
from aiocheckpoint._snapshot.pickling.summary import summarize
from aiocheckpoint._snapshot.pickling.vetting import vet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import FlowFactory

MOST_SECONDS = 20
SPARE_MEMORY = 1 << 17
MOST_MEMORY = 16


def test_costly_streams_are_refused(tmp_path: Path) -> None:
    """A stream that is too deep, or whose keys are costly, is refused in little time."""
    paths = [tmp_path / f"{number}.pkl" for number in range(len(hostile.COSTLY))]
    for path, stream in zip(paths, hostile.COSTLY.values(), strict=True):
        path.write_bytes(hostile.dict_of(stream))
    command = [sys.executable, str(program("hostile_script.py")), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    found: list[list[tuple[str, float]]] = json.loads(done.stdout)
    for name, ((kind, seconds), (_, inspected)) in zip(hostile.COSTLY, found, strict=True):
        assert kind == "CorruptSnapshotError", name
        assert max(seconds, inspected) < MOST_SECONDS, name


READERS: dict[str, Callable[[io.BytesIO, int], object]] = {
    "vetting": lambda file, size: vet(file, size, frozenset()),
    "inspecting": lambda file, size: summarize(file, size, "checkpoint_index"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", hostile.FLOODS)
def test_memory_by_the_byte(name: str, reader: str) -> None:
    """A stream of one opcode takes at most 16 bytes of memory for each of its bytes."""
    data = hostile.flood(name, 40_000 // len(hostile.FLOODS[name]))
    file = io.BytesIO(data)
    tracemalloc.start()
    try:
        READERS[reader](file, len(data))
    except MalformedError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < SPARE_MEMORY + MOST_MEMORY * len(data)


def nested(levels: int, wrap: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - any container
    """Make nested containers."""
    value: Any = 1
    for _ in range(levels):
        value = wrap(value)
    return value


SOUND: dict[str, Callable[[], Any]] = {
    "lists, nested": lambda: nested(150, lambda value: [value]),
    "dicts, nested": lambda: nested(150, lambda value: {"a": value}),
    "keys, nested": lambda: {nested(90, lambda value: (value,)): 1},
    "many dicts": lambda: [{"id": number, "name": f"n{number}"} for number in range(5_000)],
    "many pairs as keys": lambda: {(x, y): 1 for x in range(70) for y in range(70)},
    "many sets": lambda: [{number, "a", (number, number)} for number in range(1000)],
    "many frozensets": lambda: {frozenset({number, "a"}): 1 for number in range(1000)},
    "powers of two": lambda: {1 << number: number for number in range(3000)},
    "numbers of one hash": lambda: {number * hostile.PRIME: 1 for number in range(1000)},
    "large numbers": lambda: [10**4000, -(2**100_000)],
    "long texts as keys": lambda: {"x" * 5000 + str(number): 1 for number in range(200)},
    "one key in many dicts": lambda: [{key: 1} for key in [("a", "b", "c")] for _ in range(1000)],
    "shared": lambda: [[1, {"a": 2}]] * 1000,
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_states_are_loaded(name: str, flows: FlowFactory) -> None:
    """A large or deep state is loaded as ever."""
    value = SOUND[name]()
    handler = LocalStateHandler(flows.path, allow=(), fsync=False)
    handler.write({"a": value})
    assert handler.read()["a"] == value


def test_the_bound_of_depth() -> None:
    """A stream of 4,900 levels is vetted, and one of 5,100 is refused."""
    for opcode in (b"]", b"(l"):
        deep = [opcode * levels + b"a" * (levels - 1) + b"." for levels in (4900, 5100)]
        assert vet(io.BytesIO(deep[0]), len(deep[0]), frozenset()) == set()
        with pytest.raises(BeyondBoundsError):
            vet(io.BytesIO(deep[1]), len(deep[1]), frozenset())


def test_the_bound_of_depth_through_calls() -> None:
    """Calls in arguments of calls are levels as well: two for each, as each has a tuple."""
    allow = frozenset({"hostile_pickles:Order"})
    start = b"\x80\x05" + hostile.named("Order") + b"\x94"
    sound, deep = (start + b"h\x00" * calls + b"N" + b"\x85R" * calls for calls in (2450, 2550))
    assert vet(io.BytesIO(sound + b"."), len(sound) + 1, allow) == set()
    with pytest.raises(BeyondBoundsError):
        vet(io.BytesIO(deep + b"."), len(deep) + 1, allow)
