"""Damaged and foreign files: refused before anything is unpickled, and left as they are."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import struct
import sys
from typing import TYPE_CHECKING, Any

import dill  # type: ignore[import-untyped]
import pytest
from forged_snapshots import PNG, Canary, surviving_bits
from streams import footer_of, snapshot_of

from aiocheckpoint import (
    CheckpointError,
    CorruptSnapshotError,
    IncompatibleSnapshotError,
    LocalStateHandler,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support import FlowFactory, Runner

REFUSALS = (CorruptSnapshotError, IncompatibleSnapshotError)


@pytest.fixture
def sound(flows: FlowFactory, canary_file: Path) -> bytes:
    """Store a small unfinished snapshot with a canary in it, and give its bytes."""
    flows.flow("a", "b").run({"canary": Canary(canary_file), "n": 1}, until="a")
    flows.log.clear()
    return flows.path.read_bytes()


def check_refused(
    flows: FlowFactory, canary_file: Path, data: bytes, runner: Runner | None = None
) -> CheckpointError:
    """Write bytes to the file, and check that they are refused, not unpickled, and left alone."""
    flows.path.write_bytes(data)
    handler = LocalStateHandler(flows.path)
    with pytest.raises(REFUSALS) as info:
        handler.read()
    if runner is not None:
        with contextlib.suppress(*REFUSALS):  # a plan needs the header alone
            runner.allowed_plan(flows.flow("a", "b"))
        with pytest.raises(REFUSALS):
            runner(flows.flow("a", "b"), {"n": 2})
        assert flows.log == []
    assert not canary_file.exists()
    assert flows.path.read_bytes() == data
    assert str(flows.path) in str(info.value)
    return info.value


def test_the_canary_sings(sound: bytes, flows: FlowFactory, canary_file: Path) -> None:
    """Loading the valid file leaves the mark that the other tests look for."""
    assert flows.stored()["n"] == 1
    assert canary_file.exists()


def test_truncated_at_every_length(sound: bytes, flows: FlowFactory, canary_file: Path) -> None:
    """A file truncated anywhere is refused. An empty file counts as no snapshot."""
    for length in range(1, len(sound)):
        check_refused(flows, canary_file, sound[:length])
    flows.path.write_bytes(b"")
    assert flows.stored() == {}


def test_every_single_bit_flip(sound: bytes, flows: FlowFactory, canary_file: Path) -> None:
    """If any bit of a snapshot is flipped, the file is refused and nothing of it is loaded."""
    flows.path.write_bytes(sound)
    handler = LocalStateHandler(flows.path)
    assert surviving_bits(flows.path, handler.read, REFUSALS) == []
    assert not canary_file.exists()


@pytest.mark.parametrize("place", ["payload", "header", "digest", "magic"])
def test_a_flip_stops_a_run(
    place: str, sound: bytes, flows: FlowFactory, canary_file: Path, runner: Runner
) -> None:
    """Either runner refuses a damaged file. The error names the file and a remedy."""
    payload, _ = footer_of(sound)
    at = {"payload": 10, "header": len(payload) + 5, "digest": -100, "magic": -1}[place]
    data = bytearray(sound)
    data[at] ^= 4
    error = check_refused(flows, canary_file, bytes(data), runner)
    assert "reset()" in str(error)
    runner.reset(flows.flow("a"))
    assert flows.stored() == {}


def test_flips_in_a_large_file(flows: FlowFactory, canary_file: Path) -> None:
    """In a large snapshot no flipped bit is accepted either."""
    flows.flow("a").run({"rows": list(range(50_000)), "canary": Canary(canary_file)})
    sound = flows.path.read_bytes()
    handler = LocalStateHandler(flows.path)
    with flows.path.open("r+b", buffering=0) as file:
        for bit in range(0, 8 * len(sound), 8 * 263 + 1):
            os.pwrite(file.fileno(), bytes([sound[bit // 8] ^ (1 << bit % 8)]), bit // 8)
            with pytest.raises(REFUSALS):
                handler.read()
            os.pwrite(file.fileno(), sound[bit // 8 : bit // 8 + 1], bit // 8)
    assert not canary_file.exists()


def damaged(name: str, sound: bytes) -> bytes:
    """Damage a valid snapshot in a way that is neither a flip nor a truncation."""
    payload, header = footer_of(sound)
    encoded = json.dumps(header).encode()
    ways: dict[str, Any] = {
        "byte appended": lambda: sound + b"\0",
        "line appended": lambda: sound + b"\n",
        "page appended": lambda: sound + bytes(4096),
        "byte put before": lambda: b"\0" + sound,
        "twice": lambda: sound + sound,
        "footer twice": lambda: sound + sound[len(payload) :],
        "payload twice": lambda: payload + sound,
        "two pickles": lambda: payload + payload,
        "footer alone": lambda: sound[len(payload) :],
        "trailer alone": lambda: sound[-136:],
        "header gone": lambda: payload + sound[-136:],
        "zeros at the end": lambda: sound[:-200] + bytes(200),
        "zeros at the start": lambda: bytes(50) + sound[50:],
        "zeros": lambda: bytes(len(sound)),
        "half a page lost": lambda: sound[:20] + sound[60:],
        "length of the payload 2^63": lambda: snapshot_of(payload, encoded, lengths=(1 << 63, 5)),
        "length of the header 2^63": lambda: snapshot_of(payload, encoded, lengths=(5, 1 << 63)),
        "lengths that overflow to the right sum": lambda: snapshot_of(
            payload, encoded, lengths=((1 << 64) - 136, len(payload) + len(encoded) + 136)
        ),
        "lengths shifted": lambda: snapshot_of(
            payload, encoded, lengths=(len(payload) + 5, len(encoded) - 5)
        ),
        "no payload": lambda: snapshot_of(b"", encoded),
        "no header": lambda: snapshot_of(payload, b""),
        "header is no JSON": lambda: snapshot_of(payload, b"{'a': 1}"),
        "header of another kind": lambda: snapshot_of(payload, b"[1, 2]"),
        "header without position": lambda: snapshot_of(payload, b'{"flow": "a"}'),
        "payload is no pickle": lambda: snapshot_of(b"hello", encoded),
        "version 0": lambda: snapshot_of(payload, encoded, version=0),
        "version 2": lambda: snapshot_of(payload, encoded, version=2),
        "unknown flags": lambda: snapshot_of(payload, encoded, flags=1),
        "older magic": lambda: sound[:-8] + b"aiockpt\r",
    }
    made: bytes = ways[name]()
    return made


WAYS = [
    *("byte appended", "line appended", "page appended", "byte put before", "twice"),
    *("footer twice", "payload twice", "two pickles", "footer alone", "trailer alone"),
    *("header gone", "zeros at the end", "zeros at the start", "zeros", "half a page lost"),
    *("length of the payload 2^63", "length of the header 2^63", "lengths shifted"),
    *("lengths that overflow to the right sum", "no payload", "no header", "header is no JSON"),
    *("header of another kind", "header without position", "payload is no pickle"),
    *("version 0", "version 2", "unknown flags", "older magic"),
]


@pytest.mark.parametrize("way", WAYS)
def test_damage(
    way: str, sound: bytes, flows: FlowFactory, canary_file: Path, runner: Runner
) -> None:
    """With bytes added, lost, swapped or forged, nothing is loaded and nothing runs."""
    error = check_refused(flows, canary_file, damaged(way, sound), runner)
    if way == "version 2":
        assert isinstance(error, IncompatibleSnapshotError)
        assert "version 2" in str(error)


def test_header_of_ten_megabytes(sound: bytes, flows: FlowFactory) -> None:
    """A header with a great many step names is a header like any other."""
    payload, header = footer_of(sound)
    header["steps"] = ["a", *(f"step {n:090}" for n in range(100_000))]
    flows.path.write_bytes(snapshot_of(payload, json.dumps(header).encode()))
    found = flows.header()
    assert found.steps is not None
    assert len(found.steps) == 100_001
    assert flows.flow("a", *header["steps"][1:3]).plan().start == 1


FOREIGN: dict[str, bytes] = {
    "PNG": PNG,
    "text": b"hello\n",
    "JSON": b'{"a": 1}',
    "gzip": b"\x1f\x8b\x08\0\0\0\0\0",
    "one zero": b"\0",
    "zeros": bytes(5000),
    "0xff": b"\xff" * 500,
    "dot": b".",
    "pickle of a list": pickle.dumps([1]),
    "pickle of a dict's subclass's name": pickle.dumps(dict),
    "pickle with a wrong position": pickle.dumps({"checkpoint_index": "1"}),
    "pickle with a negative position": pickle.dumps({"checkpoint_index": -1}),
    "two pickles": pickle.dumps({"a": 1}) * 2,
    "pickle and a line": pickle.dumps({"a": 1}) + b"\n",
    "stack underflow": b"\x80\x04.",
    "mark missing": b"\x80\x04}u.",
    "memo of 2^31": b"\x80\x04}r\xff\xff\xff\x7f.",
    "memo in text": b"\x80\x04}p99999999999\n.",
    "bytes of 2^62": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b".",
    "long integer": b"\x80\x04\x8b" + struct.pack("<i", 1 << 30) + b".",
    "no such module": b"\x80\x04cno_such_module\nname\n.",
    "no such name": b"\x80\x04cos\nno_such_name\n.",
    "persistent id": b"\x80\x04Pid\n.",
    "extension": b"\x80\x04\x82\x01.",
    "protocol 99": b"\x80\x63}.",
}


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Limit the process to little more memory than it has."""
    resource = pytest.importorskip("resource", reason="limits are of POSIX")
    before = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform.startswith("linux"):
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + (1 << 29), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.usefixtures("little_memory")
def test_foreign_files(name: str, flows: FlowFactory, canary_file: Path, runner: Runner) -> None:
    """A file of another program is no checkpoint. The error names it, and it is not overwritten."""
    check_refused(flows, canary_file, FOREIGN[name], runner)


def test_damaged_bare_pickle(flows: FlowFactory) -> None:
    """A truncated or extended file of gumly's is refused. A flipped bit may be accepted."""
    sound = dill.dumps({"a": [1, "text"], "checkpoint_index": 1})
    handler = LocalStateHandler(flows.path)
    for bad in (*(sound[:length] for length in range(1, len(sound))), sound + b"\0", sound * 2):
        flows.path.write_bytes(bad)
        with pytest.raises(REFUSALS):
            handler.read()
    flows.path.write_bytes(sound)
    assert handler.read()["a"] == [1, "text"]


@pytest.mark.usefixtures("little_memory")
def test_flips_in_a_bare_pickle(flows: FlowFactory) -> None:
    """A flipped bit of a bare pickle, which has no digest, gives a dict or a documented error."""
    sound = dill.dumps({"a": [1, "text"], "b": (1.5, b"bytes", {2}), "checkpoint_index": 1})
    handler = LocalStateHandler(flows.path)
    for bit in range(8 * len(sound)):
        bad = bytearray(sound)
        bad[bit // 8] ^= 1 << bit % 8
        flows.path.write_bytes(bad)
        try:
            assert isinstance(handler.read(), dict)
        except REFUSALS:
            continue
