"""Under `secret=` nothing is loaded that was not signed for this flow and this run."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dill  # type: ignore[import-untyped]
import pytest
from forging import OTHER, SECRET, Canary, Pieces
from support import load_bare

from aiocheckpoint import (
    CheckpointError,
    CorruptSnapshotError,
    IncompatibleSnapshotError,
    InvalidValueError,
    LocalStateHandler,
    UntrustedSnapshotError,
    inspect,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import Door, Lab

FAST: dict[str, Any] = {"fsync": False}


@pytest.fixture
def signed(lab: Lab, mark: Path) -> bytes:
    """Store a signed unfinished snapshot with a canary in it, and give its bytes."""
    lab.flow("a", "b", secret=SECRET, **FAST).run({"canary": Canary(mark)}, until="a")
    lab.log.clear()
    return lab.path.read_bytes()


def ways_in(lab: Lab, door: Door, run_id: str | None = None) -> dict[str, Callable[[], object]]:
    """Give everything that reads a stored snapshot, by name."""
    cp = lab.flow("a", "b", secret=SECRET, **FAST)
    handler = LocalStateHandler(lab.path, secret=SECRET, **FAST)
    return {
        "run": lambda: door(cp, {"n": 2}, run_id=run_id),
        "restart": lambda: door(cp, {"n": 2}, checkpoint=0, run_id=run_id),
        "plan": lambda: door.plan(cp, run_id=run_id),
        "read": lambda: handler.read(run_id),
        "aread": lambda: asyncio.run(handler.aread(run_id)),
        "header": lambda: handler.header(run_id),
        "write": lambda: handler.write({"n": 2}, run_id),
    }


def check_refused(
    lab: Lab, door: Door, data: bytes, kind: type[CheckpointError], run_id: str | None = None
) -> str:
    """Put bytes in the file's place, see that every way in is barred, and give the last words."""
    path = lab.path if run_id is None else lab.path.with_stem(f"{lab.path.stem}.{run_id}")
    path.write_bytes(data)
    words = ""
    for name, way in ways_in(lab, door, run_id).items():
        with pytest.raises(CheckpointError) as info:
            way()
        assert type(info.value) is kind, name
        words = str(info.value)
        assert str(path) in words
        assert SECRET.decode() not in words
    with contextlib.suppress(CorruptSnapshotError, IncompatibleSnapshotError):
        inspect(path)
    assert path.read_bytes() == data
    assert (lab.log, (lab.path.parent / "mark").exists()) == ([], False)
    return words


def test_the_canary_sings(signed: bytes, lab: Lab, mark: Path) -> None:
    """Loading the signed file with its secret leaves the mark that the other tests look for."""
    assert Pieces.of(signed).joined() == signed
    assert LocalStateHandler(lab.path, secret=SECRET).read()["trail"] == ["a"]
    assert mark.exists()


FORGERIES: dict[str, tuple[Callable[[Pieces], Pieces], str]] = {
    "signature stripped": (Pieces.unsigned, "not signed"),
    "half a signature": (lambda p: replace(p, signature=p.signature[:16]), "signature is wrong"),
    "a bit of the signature": (
        lambda p: replace(p, signature=p.signature[:-1] + bytes([p.signature[-1] ^ 1])),
        "signature is wrong",
    ),
    "signature of nothing": (
        lambda p: replace(p, signature=hmac.digest(b"", p.header, "sha256")),
        "signature is wrong",
    ),
    "id of an unknown secret": (lambda p: replace(p, key=b"\1" * 8), "0101010101010101"),
    "other payload": (lambda p: replace(p, payload=pickle.dumps({"n": 1})), "signature is wrong"),
    "other position": (lambda p: p.telling(position=0), "signature is wrong"),
    "other sequence": (lambda p: p.telling(sequence=99), "signature is wrong"),
    "other number": (lambda p: p.telling(number=99), "signature is wrong"),
    "other run": (lambda p: p.telling(run_id="other"), "signature is wrong"),
    "other flow": (lambda p: p.telling(flow="other"), "signature is wrong"),
    "other steps": (lambda p: p.telling(steps=["a", "c"]), "signature is wrong"),
    "finished": (lambda p: p.telling(status="finished"), "signature is wrong"),
    "no code": (lambda p: p.telling(code=True), "signature is wrong"),
    "same in other words": (lambda p: replace(p, header=p.header + b" "), "signature is wrong"),
    "stripped and retold": (lambda p: p.unsigned().telling(position=0), "not signed"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forgeries(name: str, signed: bytes, lab: Lab, door: Door) -> None:
    """What is put together by the format but without the secret is not trusted, and says why."""
    forge, words = FORGERIES[name]
    data = forge(Pieces.of(signed)).joined()
    assert data != signed
    assert words in check_refused(lab, door, data, UntrustedSnapshotError)


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], type[CheckpointError]]] = {
    "signature of zeros": (
        lambda data: replace(Pieces.of(data), signature=bytes(32)).joined(),
        CorruptSnapshotError,
    ),
    "key id of zeros": (
        lambda data: replace(Pieces.of(data), key=bytes(8)).joined(),
        CorruptSnapshotError,
    ),
    "flags": (lambda data: replace(Pieces.of(data), flags=1).joined(), CorruptSnapshotError),
    "version 0": (
        lambda data: replace(Pieces.of(data), version=0).joined(),
        IncompatibleSnapshotError,
    ),
    "version 2": (
        lambda data: replace(Pieces.of(data), version=2).joined(),
        IncompatibleSnapshotError,
    ),
    "signature cut out": (lambda data: data[:-72] + data[-40:], CorruptSnapshotError),
    "signature cut short": (lambda data: data[:-41] + data[-40:], CorruptSnapshotError),
    "header altered": (lambda data: data[:-150] + b"?" + data[-149:], CorruptSnapshotError),
    "footer cut off": (lambda data: Pieces.of(data).payload, UntrustedSnapshotError),
    "footer cut short": (lambda data: data[:-1], UntrustedSnapshotError),
    "byte appended": (lambda data: data + b"\0", UntrustedSnapshotError),
    "text": (lambda data: b"hello", UntrustedSnapshotError),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage(name: str, signed: bytes, lab: Lab, door: Door) -> None:
    """Damage is told apart from forgery where the seal tells it; nothing is loaded either way."""
    damage, kind = DAMAGES[name]
    check_refused(lab, door, damage(signed), kind)


def test_altered_payload_is_not_loaded(signed: bytes, lab: Lab, mark: Path, door: Door) -> None:
    """A payload altered behind a signed header shows only when it is loaded, which it is not."""
    data = signed.replace(b"trail", b"tra1l", 1)
    lab.path.write_bytes(data)
    for name, way in ways_in(lab, door).items():
        if name in {"run", "read", "aread"}:
            with pytest.raises(CorruptSnapshotError, match="digest"):
                way()
    assert (lab.log, lab.path.read_bytes(), mark.exists()) == ([], data, False)


def test_bare_pickle_is_not_trusted(lab: Lab, mark: Path, door: Door) -> None:
    """A file as gumly writes it has no signature."""
    bare = dill.dumps({"canary": Canary(mark), "checkpoint_index": 1})
    assert "not signed" in check_refused(lab, door, bare, UntrustedSnapshotError)


WRITERS: dict[str, dict[str, Any]] = {
    "unsigned": {},
    "another secret": {"secret": OTHER},
    "another flow": {"secret": SECRET, "flow": "other"},
    "another flow of a like name": {"secret": SECRET, "flow": "checkpoint\1"},
    "no flow": {"secret": SECRET, "flow": ""},
}


@pytest.mark.parametrize("name", WRITERS)
def test_written_by_others(name: str, lab: Lab, mark: Path, door: Door, tmp_path: Path) -> None:
    """A sound snapshot of another flow, or by another secret, is not trusted when copied over."""
    options: dict[str, Any] = {"flow": "checkpoint", **WRITERS[name]}
    writer = LocalStateHandler(tmp_path / "other.pkl", **FAST, **options)
    writer.write({"canary": Canary(mark), "checkpoint_index": 1})
    data = (tmp_path / "other.pkl").read_bytes()
    words = check_refused(lab, door, data, UntrustedSnapshotError)
    assert "adopt" in words
    assert all(key in words for key in writer.key_ids if name == "another secret")


@pytest.mark.parametrize("ids", [(None, "a"), ("a", None), ("a", "b")], ids=str)
def test_copied_from_another_run(
    ids: tuple[str | None, str | None], lab: Lab, mark: Path, door: Door
) -> None:
    """A snapshot signed for one run is not trusted as that of another run of the same flow."""
    handler = LocalStateHandler(lab.path, secret=SECRET, **FAST)
    handler.write({"canary": Canary(mark), "checkpoint_index": 1}, ids[0])
    with open(handler.locate(ids[0]), "rb") as file:  # noqa: PTH123
        data = file.read()
    assert "another run" in check_refused(lab, door, data, UntrustedSnapshotError, ids[1])


def test_reset_forgets_what_is_not_trusted(lab: Lab, mark: Path, door: Door) -> None:
    """After a reset the flow begins anew, and what it stores is signed."""
    lab.path.write_bytes(dill.dumps({"canary": Canary(mark), "checkpoint_index": 1}))
    cp = lab.flow("a", secret=SECRET, **FAST)
    door.reset(cp)
    assert door(cp, {"n": 1})["trail"] == ["a"]
    assert lab.header().signed_by == cp.handler.key_ids[0]
    assert not mark.exists()


def test_a_kept_forgery_is_passed_over(lab: Lab, mark: Path, door: Door) -> None:
    """With `keep=` a forged newest snapshot gives way to the signed one before it, unloaded."""
    options = {"secret": SECRET, "keep": 3, **FAST}
    lab.flow("a", "b", "c", **options).run({"n": 1}, until="b")
    pieces = Pieces.of(lab.path.read_bytes()).unsigned()
    forged = replace(pieces, payload=pickle.dumps({"canary": Canary(mark)})).joined()
    lab.path.unlink()
    lab.path.write_bytes(forged)
    lab.log.clear()
    assert door(lab.flow("a", "b", "c", **options))["trail"] == ["a", "b", "c"]
    assert lab.ran() == ["c"]
    assert not mark.exists()


@pytest.mark.parametrize("run_id", [None, "order-42", "\ud800"], ids=["none", "id", "surrogate"])
def test_signed_runs_resume(run_id: str | None, lab: Lab, door: Door) -> None:
    """Every snapshot of a run is signed, that of a failure too, and the run goes on from it."""
    cp = lab.flow("a", "b", secret=SECRET, **FAST)
    lab.faults["step b"] = error = OSError("broken")
    with pytest.raises(OSError, match="broken") as info:
        door(cp, {"n": 1}, run_id=run_id)
    assert info.value is error
    failed = cp.handler.header(run_id)
    assert (failed.status, failed.signed_by) == ("failed", cp.handler.key_ids[0])
    lab.faults.clear()
    assert door(cp, run_id=run_id)["trail"] == ["a", "b"]
    assert cp.handler.header(run_id).signed_by == cp.handler.key_ids[0]


@pytest.mark.parametrize("run_id", [None, "order-42"])
def test_states_written_by_hand(run_id: str | None, lab: Lab, mark: Path) -> None:
    """A state patched by hand is signed for the flow and the run, and for nothing else."""
    handler = LocalStateHandler(lab.path, secret=SECRET, **FAST)
    handler.write({"n": 1, "checkpoint_index": 1}, run_id)
    handler.write({**handler.read(run_id), "n": 2}, run_id)
    again = LocalStateHandler(lab.path, secret=SECRET, **FAST)
    assert again.read(run_id) == {"n": 2, "checkpoint_index": 1}
    renamed = LocalStateHandler(lab.path, secret=SECRET, flow="other", **FAST)
    with pytest.raises(UntrustedSnapshotError, match="another name"):
        renamed.read(run_id)


def test_readers_without_a_secret(lab: Lab) -> None:
    """Whoever asks for no signature reads a signed file as any other: plain dill, too."""
    lab.flow("a", secret=SECRET, **FAST).run({"n": 1})
    plain = LocalStateHandler(lab.path).read()
    assert plain == load_bare(lab.path) == LocalStateHandler(lab.path, secret=SECRET).read()
    assert pickle.loads(lab.path.read_bytes()) == plain


def test_handler_that_signs_for_another_flow(lab: Lab) -> None:
    """A handler made apart must sign for the flow that it is given to; else the remedy is told."""
    handler = LocalStateHandler(lab.path, secret=SECRET)
    with pytest.raises(InvalidValueError, match="flow='other'") as info:
        lab.flow(handler=handler, name="other")
    assert "'checkpoint'" in str(info.value)
    assert lab.flow(handler=handler).handler is handler
    unsigned = LocalStateHandler(lab.path)
    assert lab.flow(handler=unsigned, name="other").handler is unsigned
