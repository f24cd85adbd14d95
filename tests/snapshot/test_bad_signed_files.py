"""Damage to signed snapshots, byte by byte and bit by bit, and other faults."""

from __future__ import annotations

import json
import os
import sys
import types
from typing import TYPE_CHECKING, Any

import pytest
from forged_snapshots import SECRET, Canary, Pieces, surviving_bits
from support import load_bare

from aiocheckpoint import (
    CorruptSnapshotError,
    IncompatibleSnapshotError,
    LocalStateHandler,
    UntrustedSnapshotError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support import FlowFactory, Runner

REFUSALS = (CorruptSnapshotError, IncompatibleSnapshotError, UntrustedSnapshotError)
FAST: dict[str, Any] = {"fsync": False}


@pytest.fixture
def signed(flows: FlowFactory, canary_file: Path) -> bytes:
    """Store a small signed snapshot with a canary in it, and give its bytes."""
    handler = LocalStateHandler(flows.path, secret=SECRET, **FAST)
    handler.write({"canary": Canary(canary_file), "checkpoint_index": 1})
    return flows.path.read_bytes()


def test_signed_and_truncated_at_every_length(
    signed: bytes, flows: FlowFactory, canary_file: Path
) -> None:
    """A signed file truncated anywhere is refused, with a secret or without one."""
    handlers = [LocalStateHandler(flows.path), LocalStateHandler(flows.path, secret=SECRET)]
    for length in range(len(signed) - 1, 0, -1):
        os.truncate(flows.path, length)
        for handler in handlers:
            with pytest.raises(REFUSALS):
                handler.read()
    assert not canary_file.exists()


def test_every_single_bit_of_a_signed_file(
    signed: bytes, flows: FlowFactory, canary_file: Path
) -> None:
    """If any bit is flipped, even of the signature, a reader with the secret refuses the file."""
    handler = LocalStateHandler(flows.path, secret=SECRET)
    assert surviving_bits(flows.path, handler.read, REFUSALS) == []
    assert not canary_file.exists()


OFFSETS: dict[str, tuple[Callable[[int, int], int], str]] = {
    "payload": (lambda payload, size: 5, "payload (bytes 0 to {payload})"),
    "header": (lambda payload, size: payload + 5, "header (bytes {payload} to {end})"),
    "digest": (lambda payload, size: size - 130, "trailer does not match the seal"),
    "seal": (lambda payload, size: size - 100, "trailer does not match the seal"),
    "signature": (lambda payload, size: size - 70, "its signature is wrong"),
    "key id": (lambda payload, size: size - 38, "the secret of id"),
    "length": (lambda payload, size: size - 30, "it has {size} bytes"),
    "version": (lambda payload, size: size - 16, "its format is version"),
    "flags": (lambda payload, size: size - 10, "does not match the seal"),
    "magic": (lambda payload, size: size - 1, "no footer"),
}


@pytest.mark.parametrize("place", OFFSETS)
def test_the_part_that_is_wrong_is_named(
    place: str, signed: bytes, flows: FlowFactory, runner: Runner
) -> None:
    """The error names the damaged bytes, or the part of the trailer."""
    where, words = OFFSETS[place]
    length, size = len(Pieces.of(signed).payload), len(signed)
    at = where(length, size)
    flows.path.write_bytes(signed[:at] + bytes([signed[at] ^ 4]) + signed[at + 1 :])
    with pytest.raises(REFUSALS) as info:
        runner.read(LocalStateHandler(flows.path, secret=SECRET))
    assert words.format(payload=length, end=size - 136, size=size) in str(info.value)


def test_the_offset_of_a_bare_pickle_is_named(flows: FlowFactory) -> None:
    """For a bare pickle the error names the offset of the end, or of the first byte after it."""
    flows.path.write_bytes(b"\x80\x05}\x8c\x01aK\x01s.more")
    with pytest.raises(CorruptSnapshotError, match="from byte 10"):
        LocalStateHandler(flows.path).read()
    flows.path.write_bytes(b"\x80\x05}\x8c\x01aK")
    with pytest.raises(CorruptSnapshotError, match="at byte 6"):
        LocalStateHandler(flows.path).read()


BOMBS = {
    "deep lists": b"[" * (1 << 24),
    "many dicts": b"[" + b"{}," * 1_000_000 + b"{}]",
    "deep failure": b'{"failure":' + b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_001,
    "number of many digits": b'{"position":' + b"9" * 1_000_000 + b"}",
    "key of many letters": b'{"' + b"a" * 10_000_000 + b'":1}',
}


@pytest.mark.parametrize("name", BOMBS)
def test_header_bombs(name: str, flows: FlowFactory, runner: Runner) -> None:
    """A header crafted to break its reader is refused like any other damage."""
    flows.path.write_bytes(Pieces(b"\x80\x05}.", BOMBS[name]).joined())
    with pytest.raises(CorruptSnapshotError, match="header cannot be read"):
        runner(flows.flow("a", **FAST))


def test_a_header_longer_than_any(flows: FlowFactory) -> None:
    """A header of more than 16 MiB is not read at all."""
    flows.path.write_bytes(Pieces(b"\x80\x05}.", b" " * ((1 << 24) + 1)).joined())
    with pytest.raises(CorruptSnapshotError, match="trailer"):
        LocalStateHandler(flows.path).header()


@pytest.mark.parametrize("text", ["null", '"x"', "-1", "1e99", "[]", "{}"])
def test_a_number_of_another_kind(
    text: str, signed: bytes, flows: FlowFactory, canary_file: Path
) -> None:
    """A header whose position has another type is refused."""
    pieces = Pieces.of(signed).unsigned()
    header = json.dumps({**json.loads(pieces.header), "position": "@"})
    forged = Pieces(pieces.payload, header.replace('"@"', text).encode())
    flows.path.write_bytes(forged.joined())
    with pytest.raises(CorruptSnapshotError, match="header cannot be read"):
        LocalStateHandler(flows.path).read()
    assert not canary_file.exists()


@pytest.fixture
def module() -> Iterator[types.ModuleType]:
    """Give a module with a class that a test may change."""
    made = types.ModuleType("passing_module")
    made.Own = type("Own", (), {"__module__": made.__name__})  # type: ignore[attr-defined]
    sys.modules[made.__name__] = made
    yield made
    sys.modules.pop(made.__name__, None)


@pytest.mark.parametrize("gone", ["class", "module"])
@pytest.mark.parametrize("allow", [None, ("passing_module:Own",)], ids=["all", "listed"])
def test_a_class_that_is_gone(
    gone: str,
    allow: tuple[str, ...] | None,
    module: Any,  # noqa: ANN401
    runner: Runner,
    flows: FlowFactory,
) -> None:
    """A class that was renamed or removed is named. The file stays, and loads once it is back."""
    options = {**FAST} if allow is None else {**FAST, "allow": allow}
    runner(flows.flow("a", "b", **options), {"own": module.Own()}, until="a")
    flows.log.clear()
    kept, before = module.Own, flows.path.read_bytes()
    if gone == "class":
        del module.Own
    else:
        del sys.modules[module.__name__]
    with pytest.raises(IncompatibleSnapshotError, match=r"Own|passing_module") as info:
        runner(flows.flow("a", "b", **options))
    assert info.value.written_by.startswith("3.")
    assert (flows.log, flows.path.read_bytes()) == ([], before)
    module.Own, sys.modules[module.__name__] = kept, module
    assert runner(flows.flow("a", "b", **options))["trail"] == ["a", "b"]


def test_a_signed_file_that_is_read_by_others(
    signed: bytes, flows: FlowFactory, canary_file: Path
) -> None:
    """Plain dill loads the valid signed file. The signature protects readers with a secret."""
    assert load_bare(flows.path)["checkpoint_index"] == 1
    assert canary_file.exists()
    assert flows.path.read_bytes() == signed
