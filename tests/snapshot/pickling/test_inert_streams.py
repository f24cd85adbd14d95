"""Streams of any opcodes, whole, cut off or hostile, are decoded or refused, and run nothing."""

from __future__ import annotations

import collections
import io
import json
import pickle
import pickletools
import random
import subprocess
import sys
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import hostile_pickles as hostile
import known_objects
import pytest
from inert_trees import PATIENT, decoded, decoded_value, is_same, stream_of
from locations import program

from aiocheckpoint._snapshot.pickling.inert import InertBounds, decode_inert, to_json
from aiocheckpoint._snapshot.pickling.inert_handlers import HANDLERS
from aiocheckpoint._snapshot.pickling.opcodes import CODES, MalformedError

if TYPE_CHECKING:
    from collections.abc import Callable

LEVELS = 10_000
OBJECT = hostile.text("shop") + hostile.text("Place") + b"\x93"


def test_every_opcode_has_a_handler() -> None:
    """All opcodes that exist are known, and no other byte is."""
    unknown = HANDLERS[0]
    known = {code for code in range(256) if HANDLERS[code] is not unknown}
    assert known == set(CODES.values()) == {ord(op.code) for op in pickletools.opcodes}


PLAIN = [
    *(b"N", b"\x88", b"\x89", b"K\x01", b"M\x01\x02", b"J\xff\xff\xff\xff", b"G" + bytes(8), b")"),
    *(b"I7\n", b"I01\n", b"L7L\n", b"F1.5\n", b"V\\u00e9\n", b"S'\\x41\\n'\n", b'S"a"\n'),
    *(b"\x8a\x02\x01\x02", b"\x8b\x01\0\0\0\x05", b"T\x01\0\0\0a", b"U\x01a", b"X\x01\0\0\0a"),
    *(b"\x8c\x01a", b"\x8d\x01" + bytes(7) + b"b", b"B\x01\0\0\0a", b"C\x01a"),
    *(b"\x8e\x01" + bytes(7) + b"b", b"\x96\x01" + bytes(7) + b"b", b"]", b"}", b"\x8f"),
    *(b"(", b"(", b"(", b"0", b"1", b"2", b"\x85", b"\x86", b"\x87", b"t", b"l", b"d", b"\x91"),
    *(b"a", b"e", b"s", b"u", b"\x90", b"\x94", b"h\0", b"h\1", b"g0\n", b"j\1\0\0\0"),
    *(b"p1\n", b"q\2", b"r\3\0\0\0", b"\x95" + bytes(8), b"\x80\x02", b"b"),
]
"""Opcodes of plain data alone. Unpickling them executes nothing."""


def test_random_opcodes_are_as_unpickled() -> None:
    """What is decoded is equal to what is unpickled. What cannot be unpickled is refused.

    The decoder also refuses what no pickler writes: values that are left on the stack, and changes
    of a value that cannot be changed by nothing.
    """
    chance, counts = random.Random(5), {"both": 0, "unpickled": 0}  # noqa: S311
    for _ in range(5_000):
        length = chance.randrange(1, 9)
        data = stream_of(b"(]}\x8f" + b"".join(chance.choices(PLAIN, k=length)) + b"l")
        expected, found = unpickled(data), tree_of(data)
        if found is not None and expected != MARKED:
            assert is_same(found, expected)
            counts["both"] += 1
        counts["unpickled"] += isinstance(expected, dict)
    assert counts["both"] > 200
    assert counts["both"] > 0.9 * counts["unpickled"]


MARKED = "unexpected MARK found"
"""The one error that the decoder does not share: it remembers the value below a mark instead."""


def unpickled(data: bytes) -> object:
    """Unpickle plain opcodes. The words of the error where it fails."""
    try:
        return pickle.loads(data)
    except Exception as error:  # noqa: BLE001 - whatever a stream does
        return str(error)


def tree_of(data: bytes) -> dict[Any, Any] | None:
    """Decode a stream. None where it is refused."""
    try:
        return {one.key: one.tree for one in decoded(data).keys}
    except MalformedError:
        return None


def test_cut_off_streams() -> None:
    """A stream that ends too early is refused, wherever it ends."""
    for data in known_objects.streams()[::4]:
        for end in range(len(data) % 17, len(data), 17):
            with pytest.raises(MalformedError) as caught:
                decoded(data[:end])
            assert 0 <= caught.value.at <= end


def test_windows() -> None:
    """Values of all lengths are whole wherever the windows of the reader end."""
    chance = random.Random(3)  # noqa: S311
    lengths = [0, 1, 255, 256, 65_000, 65_530, 65_536, 70_000, 200_000]
    state: dict[str, Any] = {}
    for number in range(40):
        length = chance.choice(lengths) + chance.randrange(300)
        value: Any = chance.choice(["é" * length, bytes(length), 1 << length, [number] * length])
        state[f"key {number}" * chance.randrange(1, 40)] = value
    for protocol in (2, 5):
        data = pickle.dumps(state, protocol)
        assert is_same({one.key: one.tree for one in decoded(data).keys}, pickle.loads(data))


def old_lines(length: int) -> bytes:
    """Give a value of lines across a window."""
    return b"(lVx" + b"y" * length + b"\naI5\naL7L\naF1.5\naS'z'\na(dp1\nVa\ng1\nsa"


@pytest.mark.parametrize("length", [0, 65_490, 65_500, 65_510, 65_520, 65_530, 70_000])
def test_lines_across_windows(length: int) -> None:
    """Arguments in lines are whole wherever the windows of the reader end."""
    tree = decoded_value(old_lines(length))
    ring = tree.pop()
    assert ring["a"] is ring
    assert tree == ["x" + "y" * length, 5, 7, 1.5, "z"]


DEEP: dict[str, bytes] = {
    "lists": b"]" * 100_000 + b"N" + b"a" * 100_000,
    "dicts": b"}" + (hostile.text("a") + b"}") * LEVELS + b"s" * LEVELS,
    "tuples": b"N" + b"\x85" * LEVELS,
    "marks": b"(" * LEVELS + b"t" * LEVELS,
    "frozensets": b"(" * LEVELS + b"\x91" * LEVELS,
    "objects": OBJECT + b"\x940" + b"h\0)\x81" * LEVELS + b"b" * (LEVELS - 1),
    "calls": OBJECT + b"\x940" + b"h\0" * LEVELS + b"N" + b"\x85R" * LEVELS,
    "keys": b"}" + b"N" + b"\x85" * LEVELS + b"Ns",
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_streams(name: str) -> None:
    """Any depth is decoded, digested, shown and freed without recursion."""
    one = decoded(stream_of(DEEP[name]))
    assert one.complete
    assert len(one.keys[0].digest) == 16
    assert json.dumps(to_json(one.keys[0].tree)).count('"$cut"') == 1


def pairs(levels: int) -> bytes:
    """Give a value that holds each of its levels twice."""
    return b"N\x85" + b"2\x86" * levels


SHARED: dict[str, bytes] = {
    "pairs": pairs(5_000),
    "pairs as a key": b"}" + pairs(60) + b"Ns",
    "pairs in a set": b"\x8f(" + pairs(60) + b"\x90",
    "lists": b"(]\x94(K\1K\1e"
    + b"".join(b"]\x94(" + b"h%c" % level * 10 + b"e" for level in range(250))
    + b"t",
    "objects": OBJECT + b"\x940N\x94" + b"0h\0h\1h\1\x86Rq\1" * 5_000,
    "a long text": b"X"
    + (1 << 16).to_bytes(4, "little")
    + b"x" * (1 << 16)
    + b"\x940]("
    + b"h\0" * 20_000
    + b"e",
    "a short text": b"X"
    + (900).to_bytes(4, "little")
    + b"x" * 900
    + b"\x940]("
    + b"h\0" * 20_000
    + b"e",
    "a long name": b"X"
    + (1 << 16).to_bytes(4, "little")
    + b"x" * (1 << 16)
    + b"\x940("
    + b"h\0h\0\x93" * 12_000
    + b"t",
    "a path": (
        (b"X" + (1 << 16).to_bytes(4, "little") + b"x" * (1 << 16) + b"\x940")
        + (hostile.text("pathlib") + hostile.text("PosixPath") + b"\x93(")
        + (b"h\0" * 20_000 + b"tR")
    ),
}


@pytest.mark.parametrize("name", SHARED)
def test_shared_values(name: str) -> None:
    """A value that is shared many times is digested once, and shown as often as bounds allow."""
    found = decoded(stream_of(SHARED[name]))
    assert found.complete
    assert len(json.dumps(to_json(found.keys[0].tree))) < 2_000_000


BEYOND: dict[str, bytes] = {
    "sets": b"(" + b"\x8f" * 90_000 + b"t",
    "memo": b"N" + b"\x94" * 90_000,
    "stack": b"(" + b"N" * 90_000 + b"t",
    "objects": OBJECT + b"\x940(" + b"h\0)\x81" * 30_000 + b"t",
    "sets of one list": (
        b"](" + b"K\1" * 5_000 + b"e\x940" + hostile.text("builtins") + hostile.text("set")
    )
    + (b"\x93\x940(" + b"h\1h\0\x85R" * 500 + b"t"),
    "bytes of one text": (
        (b"X" + (1 << 16).to_bytes(4, "little") + b"x" * (1 << 16) + b"\x940")
        + (hostile.text("_codecs") + hostile.text("encode") + b"\x93\x940")
        + (b"(" + b"h\1h\0" + hostile.text("latin1") + b"\x86R") * 5_000
    )
    + b"t" * 5_000,
}


@pytest.mark.parametrize("name", BEYOND)
def test_bounds_of_memory(name: str) -> None:
    """A stream that makes much of little is cut, in bounded memory, and its key is known."""
    stream = io.BytesIO(stream_of(BEYOND[name]))
    tracemalloc.start()
    found = decode_inert(stream, PATIENT._replace(items=20_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not found.complete
    assert [(one.key, to_json(one.tree), one.digest) for one in found.keys] == [
        ("k", {"$type": "?"}, "")
    ]
    assert peak < 32 << 20


def test_bounds() -> None:
    """The keys before a bound are given. A bound of time or bytes is one as well."""
    state = {"a": [1], "b": list(range(100_000)), "c": 3}
    for bounds in (PATIENT._replace(items=2_000), PATIENT._replace(memory=150_000)):
        found = decoded(pickle.dumps(state), bounds)
        assert [(one.key, bool(one.digest)) for one in found.keys] == [("a", True), ("b", False)]
        assert found.keys[0].size > 3
        assert not found.complete
    ordered = collections.OrderedDict(state)
    found = decoded(pickle.dumps(ordered), PATIENT._replace(items=2_000))
    assert [(one.key, bool(one.digest)) for one in found.keys] == [("a", True), ("b", False)]
    found = decoded(pickle.dumps(state), InertBounds(seconds=-1))
    assert (found.keys, found.complete) == ((), False)


def test_a_bound_of_time_behind_some_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where time runs out in the middle, the keys so far have their sizes, and no digests."""
    state = {"a": [1], "b": (2, 3), "c": list(range(100_000))}
    data = pickle.dumps(state, 0)  # Each item is set in the dict at once.
    moments = iter([0.0, 0.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(moments, 100.0))
    found = decoded(data, InertBounds(seconds=50))
    assert not found.complete
    assert [(one.key, one.digest) for one in found.keys] == [("a", ""), ("b", ""), ("c", "")]
    assert [one.tree for one in found.keys[:2]] == [[1], (2, 3)]
    assert all(one.size > 5 for one in found.keys[:2])


def test_keys_that_are_set_twice() -> None:
    """The last value of a key counts, also in an object that is a kind of dict."""
    items = hostile.text("a") + b"K\1s" + hostile.text("b") + b"K\2s" + hostile.text("a") + b"K\3s"
    for begin in (b"}", hostile.text("shop") + hostile.text("Cart") + b"\x93)R"):
        found = decoded(b"\x80\x05" + begin + items + b".")
        assert [(one.key, one.tree) for one in found.keys] == [("a", 3), ("b", 2)]


def test_large_values_are_not_kept() -> None:
    """A value that is too long is read piece by piece, and has the digest that it has anyway."""
    content = bytes(range(256)) * 40_000
    state = {"a": content, "b": content.decode("latin-1"), "c": 1, "d": 1 << 9_000_000}
    data = pickle.dumps(state)
    tracemalloc.start()
    cut = decode_inert(io.BytesIO(data), PATIENT._replace(text=1 << 16))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 << 20
    assert cut.complete
    whole = decoded(data)
    digests = [[one.digest for one in inert.keys] for inert in (cut, whole)]
    assert digests[0] == digests[1]


@pytest.mark.parametrize("name", ["frame of 2^63", "memo of 2^31", "memo of 2^31 in decimal"])
def test_large_numbers(name: str) -> None:
    """A number that no pickler writes is refused before anything is made of it."""
    with pytest.raises(MalformedError):
        decoded(hostile.dict_of(hostile.COSTLY[name]))


PREFIXES: dict[str, Callable[[int], bytes]] = {
    "BINUNICODE8": lambda count: b"\x8d" + count.to_bytes(8, "little"),
    "BINBYTES8": lambda count: b"\x8e" + count.to_bytes(8, "little"),
    "BYTEARRAY8": lambda count: b"\x96" + count.to_bytes(8, "little"),
    "BINBYTES": lambda count: b"B" + (count & 0xFFFFFFFF).to_bytes(4, "little"),
    "LONG4": lambda count: b"\x8b" + (count & 0xFFFFFFFF).to_bytes(4, "little"),
    "BINSTRING": lambda count: b"T" + (count & 0xFFFFFFFF).to_bytes(4, "little"),
}


@pytest.mark.parametrize("count", [1 << 20, (1 << 31) - 1, (1 << 64) - 1])
@pytest.mark.parametrize("name", PREFIXES)
def test_prefixes_beyond_the_stream(name: str, count: int) -> None:
    """A length that is longer than the stream is refused, and nothing is allocated for it."""
    with pytest.raises(MalformedError):
        decoded(stream_of(PREFIXES[name](count) + b"abc"))


def test_nothing_is_executed() -> None:
    """Under an audit hook, hostile and random streams cause no event and no other error.

    No import, open, exec, compile, call of the system or search for a class: nothing but `id`.
    """
    script = [sys.executable, str(program("inert_audit_script.py")), "1", "60"]
    done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["events"] == []
    assert report["errors"] == []
    assert report["decoded"] > 80
    assert report["refused"] > 50
