"""Random damage to large snapshots, twenty thousand times: no damaged state is ever loaded."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import pytest
from forged_snapshots import SECRET, Canary

from aiocheckpoint import (
    CheckpointError,
    CorruptSnapshotError,
    IncompatibleSnapshotError,
    LocalStateHandler,
    UntrustedSnapshotError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from support import FlowFactory

pytestmark = [pytest.mark.torture, pytest.mark.timeout(1800)]

TIMES = 20_000
ROWS = 20_000
REFUSALS = (CorruptSnapshotError, IncompatibleSnapshotError, UntrustedSnapshotError)
OPTIONS: dict[str, dict[str, Any]] = {
    "unsigned": {},
    "signed": {"secret": SECRET},
    "listed": {"allow": ("posix:mkdir",)},
}


def make_large(flows: FlowFactory, canary_file: Path, options: dict[str, Any]) -> bytes:
    """Store a large state with a canary in it, and give the bytes of the file."""
    handler = LocalStateHandler(flows.path, fsync=False, **options)
    rows = [{"n": n, "text": str(n)} for n in range(ROWS)]
    handler.write({"rows": rows, "canary": Canary(canary_file), "checkpoint_index": 1})
    return flows.path.read_bytes()


def kind_of_refusal(handler: LocalStateHandler) -> type[CheckpointError] | None:
    """Return the kind of the error that reading raises, or None without an error."""
    try:
        handler.read()
    except REFUSALS as error:
        return type(error)
    return None


@pytest.mark.parametrize("name", OPTIONS)
def test_random_flips(name: str, flows: FlowFactory, canary_file: Path) -> None:
    """A large snapshot with any bit flipped is refused, and its canary is silent."""
    sound = make_large(flows, canary_file, OPTIONS[name])
    handler = LocalStateHandler(flows.path, **OPTIONS[name])
    chosen = random.Random(1)  # noqa: S311 - no secrets
    survived = list[int]()
    with flows.path.open("r+b", buffering=0) as file:
        for _ in range(TIMES):
            at, bit = chosen.randrange(len(sound)), 1 << chosen.randrange(8)
            os.pwrite(file.fileno(), bytes([sound[at] ^ bit]), at)
            if kind_of_refusal(handler) is None:
                survived.append(at)
            os.pwrite(file.fileno(), sound[at : at + 1], at)
    assert survived == []
    assert not canary_file.exists()
    assert flows.path.read_bytes() == sound


@pytest.mark.parametrize("name", OPTIONS)
def test_random_damage(name: str, flows: FlowFactory, canary_file: Path) -> None:
    """Snapshots with parts lost, zeroed, doubled or swapped are refused as well."""
    sound = make_large(flows, canary_file, OPTIONS[name])
    handler = LocalStateHandler(flows.path, **OPTIONS[name])
    chosen = random.Random(2)  # noqa: S311
    survived = list[bytes]()
    for _ in range(TIMES // 10):
        data = damaged(sound, chosen)
        flows.path.write_bytes(data)
        if data != sound and kind_of_refusal(handler) is None:
            survived.append(data)
    assert survived == []
    assert not canary_file.exists()


def damaged(sound: bytes, chosen: random.Random) -> bytes:
    """Damage a random stretch of bytes in one way."""
    start = chosen.randrange(len(sound))
    end = min(len(sound), start + chosen.choice([1, 8, 136, 4096, 1 << 16]))
    part = sound[start:end]
    ways = (b"", bytes(len(part)), part * 2, part[::-1], chosen.randbytes(len(part)))
    return sound[:start] + chosen.choice(ways) + sound[end:]
