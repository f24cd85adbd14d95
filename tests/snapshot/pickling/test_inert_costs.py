"""What takes long in few bytes is counted before it is done, and is shown as cut or by its parts.

The bounds count values. A clock that goes on with each look at it counts the looks.
"""

from __future__ import annotations

import itertools
import sys
import time
import tracemalloc
from typing import TYPE_CHECKING

import hostile_pickles as hostile
import pytest
from inert_trees import PATIENT, decoded, decoded_value, stream_of

from aiocheckpoint._snapshot.pickling import inert_json, inert_known
from aiocheckpoint._snapshot.pickling.inert import InertBounds, diff_trees, to_json, type_name
from aiocheckpoint._snapshot.pickling.opcodes import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint._snapshot.pickling.inert_values import Known, Placeholder

NUMBER = b"\x8b" + (4_096).to_bytes(4, "little") + b"\x7f" * 4_096 + b"\x940"
"""An integer of 4 KiB in the memo."""
PATH = hostile.text("pathlib") + hostile.text("PosixPath") + b"\x93"
CUT = {"$type": "?"}


@pytest.fixture
def slow_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each look at the clock take a second."""
    ticks = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(ticks)))


@pytest.fixture
def few_digits() -> Iterator[None]:
    """Set the lowest limit that Python has for the digits of an integer."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    yield
    sys.set_int_max_str_digits(before)


@pytest.mark.parametrize("count", [1_500, 20_000])
@pytest.mark.parametrize("levels", [1, 2])
def test_a_key_of_many_long_numbers(count: int, levels: int) -> None:
    """A tuple that is a key is not hashed where it holds a long integer many times."""
    key = NUMBER + b"(" + b"h\0" * count + b"t" + b"\x85" * (levels - 1)
    for value in (b"}" + key + b"Ns", b"\x8f(" + key + b"\x90", b"(" + key + b"\x91"):
        (member,) = decoded_value(value)
        assert type_name(member) == "builtins.tuple"


def test_a_short_key_of_a_long_number() -> None:
    """A tuple that holds a long integer a few times is a tuple."""
    ((first, *_),) = decoded_value(b"}" + NUMBER + b"h\0h\0h\0\x87Ns")
    assert first.bit_length() > 32_000


LONG_KEYS = {
    "members": b"\x8f(" + b"h\0" * 1_000 + b"\x90",
    "frozensets": b"(" + (b"(" + b"h\0" * 100 + b"\x91") * 10 + b"t",
    "sets by a call": hostile.text("builtins")
    + hostile.text("set")
    + (b"\x93(" + b"h\0" * 1_000 + b"t\x85R"),
    "keys": b"}(" + b"h\0N" * 1_000 + b"u",
    "keys one by one": b"}" + b"h\0Ns" * 1_000,
}


@pytest.mark.parametrize("name", LONG_KEYS)
def test_long_numbers_as_keys(name: str) -> None:
    """A long integer counts as many values each time it is hashed."""
    data = stream_of(NUMBER + LONG_KEYS[name])
    found = decoded(data, PATIENT._replace(items=3_500))
    assert not found.complete
    assert [to_json(one.tree) for one in found.keys] == [CUT]
    assert decoded(data, PATIENT._replace(items=30_000)).complete


@pytest.mark.usefixtures("slow_clock")
def test_a_large_set_is_made_in_pieces() -> None:
    """The time is looked at between the pieces of a set that is made."""
    value = b"\x8f(" + b"".join(b"M" + n.to_bytes(2, "little") for n in range(12_000)) + b"\x90"
    found = decoded(stream_of(value), InertBounds(seconds=30))
    assert [to_json(one.tree) for one in found.keys] == [CUT]


OBJECTS = {
    "set": b"\x8f(" + b"h\0K\7\x85R" * 500 + b"\x90",
    "list": b"](" + b"h\0K\7\x85R" * 500 + b"e",
    "dict": b"}(" + b"h\0K\7\x85RN" * 500 + b"u",
    "list of lists": b"](" + (b"](" + b"h\0K\7\x85R" * 50 + b"e") * 10 + b"e",
}


@pytest.mark.usefixtures("slow_clock")
@pytest.mark.parametrize("name", OBJECTS)
def test_objects_are_digested_one_by_one(name: str) -> None:
    """The time is looked at before each object that is digested."""
    data = stream_of(PATH + b"\x940" + OBJECTS[name])
    found = decoded(data, InertBounds(seconds=400))
    assert not found.complete
    assert [one.digest for one in found.keys] == [""]
    assert len(found.keys[0].tree) >= 10
    found = decoded(data, InertBounds(seconds=4_000))
    assert found.complete
    assert not diff_trees(found, found, InertBounds(seconds=-1)).complete


LONG_TEXT = b"X" + (900).to_bytes(4, "little") + b"x" * 900


@pytest.mark.parametrize(("count", "is_known"), [(10, True), (12, False)])
def test_a_long_path_in_parts(count: int, is_known: bool) -> None:  # noqa: FBT001
    """A path is shown as one text only where all its parts together are short."""
    found = decoded_value(PATH + b"(" + LONG_TEXT * count + b"tR")
    assert ("$value" in to_json(found)) == is_known


def test_a_path_of_many_parts() -> None:
    """A path of more parts than any file has is shown by its parts."""
    found = decoded_value(PATH + b"(" + hostile.text("a") * 1_001 + b"tR")
    assert len(to_json(found)["$args"]) == 1_001
    found = decoded_value(PATH + b"(" + hostile.text("a") * 1_000 + b"tR")
    assert len(to_json(found)["$value"]) == 1_999


def test_members_are_put_in_order_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The members of a set that are not shown are not looked into."""
    looked: list[Placeholder] = []

    def recognize(found: Placeholder) -> Known | None:
        looked.append(found)
        return inert_known.recognize(found)

    tree = decoded_value(PATH + b"\x940" + OBJECTS["set"])
    monkeypatch.setattr(inert_json, "recognize", recognize)
    shown = to_json(tree, PATIENT._replace(shown=20))
    assert shown["$items"][-1]["$cut"] > 400
    assert len(looked) < 50


@pytest.mark.parametrize("longest", [0, 1, 2, 3, 4, 100, 501, 502, 503, 504, 10_000])
@pytest.mark.parametrize("number", [1 << 2_001, -(1 << 2_004), -(0xABCDE << 2_000)])
def test_digits_that_are_left_out(number: int, longest: int) -> None:
    """As many digits of a long integer as may be shown are its first."""
    digits, shown = hex(number), to_json(number, PATIENT._replace(shown_text=longest))
    assert shown["$value"] == digits[:longest]
    assert shown.get("$cut", 0) == max(0, len(digits) - longest)


def test_long_numbers_that_are_shown() -> None:
    """A long integer counts as many values when it is shown, as a long text does."""
    shown = to_json([1 << 40_000] * 2_000)
    assert 90 < len(shown) < 110
    assert shown[-1]["$cut"] == 2_000 - len(shown) + 1


def test_names_of_names() -> None:
    """The name of a member of a member, and so on, does not grow without end."""
    levels, name = 1_000, b"X" + (500).to_bytes(4, "little") + b"y" * 500
    begin = hostile.text("builtins") + hostile.text("getattr") + b"\x93\x940" + name + b"\x940"
    owner = hostile.text("shop") + hostile.text("Place") + b"\x93"
    data = stream_of(begin + b"h\0" * levels + owner + b"h\1\x86R\x94" * levels)
    tracemalloc.start()
    found = decoded(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.complete
    assert peak < 32 << 20


def test_types_of_arrays_of_many_parts() -> None:
    """An array whose type has more parts than any is no known array."""
    dtype = hostile.text("numpy") + hostile.text("dtype") + b"\x93" + hostile.text("f8") + b"\x85R"
    state = b"(K\3" + hostile.text("<") + b"N" * 20 + b"tb"
    maker = hostile.text("numpy._core.numeric") + hostile.text("_frombuffer") + b"\x93"
    array = maker + b"(C\x08" + bytes(8) + dtype + state + b"K\1\x85" + hostile.text("C") + b"tR"
    assert "$shape" not in to_json(decoded_value(array))
    few = array.replace(b"N" * 20, b"N" * 5)
    assert to_json(decoded_value(few))["$shape"] == [1]


@pytest.mark.usefixtures("few_digits")
@pytest.mark.parametrize("exponent", [2_000, 2_038, 2_048, 2_120, 2_130, 8_000])
def test_few_digits(exponent: int) -> None:
    """Integers are digested and shown where Python may give but few digits of an integer."""
    length = exponent // 8 + 1
    content = (-(1 << exponent)).to_bytes(length, "little", signed=True)
    number = b"\x8b" + length.to_bytes(4, "little") + content
    found = decoded(
        b"\x80\x05}(" + hostile.text("a") + number + number + b"](K\1" + number + b"eu."
    )
    assert found.complete
    assert all(one.digest and to_json(one.key) and to_json(one.tree) for one in found.keys)
    assert not diff_trees(found, found).changes


@pytest.mark.parametrize("opcode", [b"\x85", b"\x86", b"\x87", b"R", b"\x81", b"b", b"s", b"a"])
def test_values_below_a_mark(opcode: bytes) -> None:
    """No opcode takes the values below a mark."""
    below = b"]N}" if opcode == b"s" else b"]N"
    with pytest.raises(MalformedError):
        decoded(stream_of(below + b"(" + opcode + b"1" + b"0" * (len(below) - 1)))
    with pytest.raises(MalformedError):
        decoded(stream_of(b"N(" + opcode + b"1"))


def test_a_line_beyond_the_bound() -> None:
    """A text in a line that is too long to be kept is cut, as the reader cannot go on behind it."""
    data = stream_of(b"V" + b"x" * 200_000 + b"\n")
    found = decoded(data, PATIENT._replace(text=70_000))
    assert [(one.key, to_json(one.tree)) for one in found.keys] == [("k", CUT)]
    assert not found.complete
    (whole,) = decoded(data, PATIENT._replace(text=300_000)).keys
    assert len(whole.tree) == 200_000
    with pytest.raises(MalformedError):
        decoded(data[:-3])
