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
from forged_snapshots import OTHER, SECRET, Canary, Pieces
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

    from support import FlowFactory, Runner

FAST: dict[str, Any] = {"fsync": False}


@pytest.fixture
def signed(flows: FlowFactory, canary_file: Path) -> bytes:
    """Store a signed unfinished snapshot with a canary in it, and give its bytes."""
    flows.flow("a", "b", secret=SECRET, **FAST).run({"canary": Canary(canary_file)}, until="a")
    flows.log.clear()
    return flows.path.read_bytes()


def ways_in(
    flows: FlowFactory, runner: Runner, run_id: str | None = None
) -> dict[str, Callable[[], object]]:
    """Give every reader of a stored snapshot, by name."""
    cp = flows.flow("a", "b", secret=SECRET, **FAST)
    handler = LocalStateHandler(flows.path, secret=SECRET, **FAST)
    return {
        "run": lambda: runner(cp, {"n": 2}, run_id=run_id),
        "restart": lambda: runner(cp, {"n": 2}, checkpoint=0, run_id=run_id),
        "plan": lambda: runner.allowed_plan(cp, run_id=run_id),
        "read": lambda: handler.read(run_id),
        "aread": lambda: asyncio.run(handler.aread(run_id)),
        "header": lambda: handler.header(run_id),
        "write": lambda: handler.write({"n": 2}, run_id),
    }


def check_refused(
    flows: FlowFactory,
    runner: Runner,
    data: bytes,
    kind: type[CheckpointError],
    run_id: str | None = None,
) -> str:
    """Write bytes to the file, check that every reader refuses them, and give the last error."""
    path = flows.path if run_id is None else flows.path.with_stem(f"{flows.path.stem}.{run_id}")
    path.write_bytes(data)
    words = ""
    for name, way in ways_in(flows, runner, run_id).items():
        with pytest.raises(CheckpointError) as info:
            way()
        assert type(info.value) is kind, name
        words = str(info.value)
        assert str(path) in words
        assert SECRET.decode() not in words
    with contextlib.suppress(CorruptSnapshotError, IncompatibleSnapshotError):
        inspect(path)
    assert path.read_bytes() == data
    assert (flows.log, (flows.path.parent / "mark").exists()) == ([], False)
    return words


def test_the_canary_sings(signed: bytes, flows: FlowFactory, canary_file: Path) -> None:
    """Loading the signed file with its secret leaves the mark that the other tests look for."""
    assert Pieces.of(signed).joined() == signed
    assert LocalStateHandler(flows.path, secret=SECRET).read()["trail"] == ["a"]
    assert canary_file.exists()


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
    "other position": (lambda p: p.with_fields(position=0), "signature is wrong"),
    "other sequence": (lambda p: p.with_fields(sequence=99), "signature is wrong"),
    "other number": (lambda p: p.with_fields(number=99), "signature is wrong"),
    "other run": (lambda p: p.with_fields(run_id="other"), "signature is wrong"),
    "other flow": (lambda p: p.with_fields(flow="other"), "signature is wrong"),
    "other steps": (lambda p: p.with_fields(steps=["a", "c"]), "signature is wrong"),
    "finished": (lambda p: p.with_fields(status="finished"), "signature is wrong"),
    "no code": (lambda p: p.with_fields(code=True), "signature is wrong"),
    "same in other words": (lambda p: replace(p, header=p.header + b" "), "signature is wrong"),
    "stripped and rewritten": (lambda p: p.unsigned().with_fields(position=0), "not signed"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forgeries(name: str, signed: bytes, flows: FlowFactory, runner: Runner) -> None:
    """A valid file made without the secret is not trusted, and the error says why."""
    forge, words = FORGERIES[name]
    data = forge(Pieces.of(signed)).joined()
    assert data != signed
    assert words in check_refused(flows, runner, data, UntrustedSnapshotError)


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
def test_damage(name: str, signed: bytes, flows: FlowFactory, runner: Runner) -> None:
    """Damage is distinguished from forgery if the digest shows it. Nothing is loaded either way."""
    damage, kind = DAMAGES[name]
    check_refused(flows, runner, damage(signed), kind)


def test_altered_payload_is_not_loaded(
    signed: bytes, flows: FlowFactory, canary_file: Path, runner: Runner
) -> None:
    """A payload altered under a signed header is refused when it is read, and not loaded."""
    data = signed.replace(b"trail", b"tra1l", 1)
    flows.path.write_bytes(data)
    for name, way in ways_in(flows, runner).items():
        if name in {"run", "read", "aread"}:
            with pytest.raises(CorruptSnapshotError, match="digest"):
                way()
    assert (flows.log, flows.path.read_bytes(), canary_file.exists()) == ([], data, False)


def test_bare_pickle_is_not_trusted(flows: FlowFactory, canary_file: Path, runner: Runner) -> None:
    """A file of gumly's has no signature."""
    bare = dill.dumps({"canary": Canary(canary_file), "checkpoint_index": 1})
    assert "not signed" in check_refused(flows, runner, bare, UntrustedSnapshotError)


WRITERS: dict[str, dict[str, Any]] = {
    "unsigned": {},
    "another secret": {"secret": OTHER},
    "another flow": {"secret": SECRET, "flow": "other"},
    "another flow of a like name": {"secret": SECRET, "flow": "checkpoint\1"},
    "no flow": {"secret": SECRET, "flow": ""},
}


@pytest.mark.parametrize("name", WRITERS)
def test_written_by_others(
    name: str, flows: FlowFactory, canary_file: Path, runner: Runner, tmp_path: Path
) -> None:
    """A valid snapshot of another flow, or signed by another secret, is not trusted."""
    options: dict[str, Any] = {"flow": "checkpoint", **WRITERS[name]}
    writer = LocalStateHandler(tmp_path / "other.pkl", **FAST, **options)
    writer.write({"canary": Canary(canary_file), "checkpoint_index": 1})
    data = (tmp_path / "other.pkl").read_bytes()
    words = check_refused(flows, runner, data, UntrustedSnapshotError)
    assert "adopt" in words
    assert all(key in words for key in writer.key_ids if name == "another secret")


@pytest.mark.parametrize(
    "ids", [(None, "a"), ("a", None), ("a", "b"), ("a1", "a2"), ("a1", "a10")], ids=str
)
def test_copied_from_another_run(
    ids: tuple[str | None, str | None], flows: FlowFactory, canary_file: Path, runner: Runner
) -> None:
    """A snapshot signed for one run is not trusted as that of another run of the same flow."""
    handler = LocalStateHandler(flows.path, secret=SECRET, **FAST)
    handler.write({"canary": Canary(canary_file), "checkpoint_index": 1}, ids[0])
    with open(handler.locate(ids[0]), "rb") as file:  # noqa: PTH123
        data = file.read()
    assert "another run" in check_refused(flows, runner, data, UntrustedSnapshotError, ids[1])


def test_reset_forgets_what_is_not_trusted(
    flows: FlowFactory, canary_file: Path, runner: Runner
) -> None:
    """After `reset` the flow begins anew, and signs its snapshots."""
    flows.path.write_bytes(dill.dumps({"canary": Canary(canary_file), "checkpoint_index": 1}))
    cp = flows.flow("a", secret=SECRET, **FAST)
    runner.reset(cp)
    assert runner(cp, {"n": 1})["trail"] == ["a"]
    assert flows.header().signed_by == cp.handler.key_ids[0]
    assert not canary_file.exists()


def test_a_kept_forgery_is_passed_over(
    flows: FlowFactory, canary_file: Path, runner: Runner
) -> None:
    """With `keep=` a forged newest snapshot is skipped, unloaded, for the signed one before it."""
    options = {"secret": SECRET, "keep": 3, **FAST}
    flows.flow("a", "b", "c", **options).run({"n": 1}, until="b")
    pieces = Pieces.of(flows.path.read_bytes()).unsigned()
    forged = replace(pieces, payload=pickle.dumps({"canary": Canary(canary_file)})).joined()
    flows.path.unlink()
    flows.path.write_bytes(forged)
    flows.log.clear()
    assert runner(flows.flow("a", "b", "c", **options))["trail"] == ["a", "b", "c"]
    assert flows.ran() == ["c"]
    assert not canary_file.exists()


@pytest.mark.parametrize("run_id", [None, "order-42", "\ud800"], ids=["none", "id", "surrogate"])
def test_signed_runs_resume(run_id: str | None, flows: FlowFactory, runner: Runner) -> None:
    """Every snapshot of a run is signed, that of a failure too, and the run resumes from it."""
    cp = flows.flow("a", "b", secret=SECRET, **FAST)
    flows.faults["step b"] = error = OSError("broken")
    with pytest.raises(OSError, match="broken") as info:
        runner(cp, {"n": 1}, run_id=run_id)
    assert info.value is error
    failed = cp.handler.header(run_id)
    assert (failed.status, failed.signed_by) == ("failed", cp.handler.key_ids[0])
    flows.faults.clear()
    assert runner(cp, run_id=run_id)["trail"] == ["a", "b"]
    assert cp.handler.header(run_id).signed_by == cp.handler.key_ids[0]


@pytest.mark.parametrize("run_id", [None, "order-42"])
def test_states_written_by_hand(run_id: str | None, flows: FlowFactory, canary_file: Path) -> None:
    """A state patched by hand is signed for the flow and the run, and for nothing else."""
    handler = LocalStateHandler(flows.path, secret=SECRET, **FAST)
    handler.write({"n": 1, "checkpoint_index": 1}, run_id)
    handler.write({**handler.read(run_id), "n": 2}, run_id)
    again = LocalStateHandler(flows.path, secret=SECRET, **FAST)
    assert again.read(run_id) == {"n": 2, "checkpoint_index": 1}
    renamed = LocalStateHandler(flows.path, secret=SECRET, flow="other", **FAST)
    with pytest.raises(UntrustedSnapshotError, match="another name"):
        renamed.read(run_id)


def test_readers_without_a_secret(flows: FlowFactory) -> None:
    """Readers without a secret load a signed file as any other, plain dill included."""
    flows.flow("a", secret=SECRET, **FAST).run({"n": 1})
    plain = LocalStateHandler(flows.path).read()
    assert plain == load_bare(flows.path) == LocalStateHandler(flows.path, secret=SECRET).read()
    assert pickle.loads(flows.path.read_bytes()) == plain


def test_handler_that_signs_for_another_flow(flows: FlowFactory) -> None:
    """A separate handler must sign for its flow. Otherwise the error names the remedy."""
    handler = LocalStateHandler(flows.path, secret=SECRET)
    with pytest.raises(InvalidValueError, match="flow='other'") as info:
        flows.flow(handler=handler, name="other")
    assert "'checkpoint'" in str(info.value)
    assert flows.flow(handler=handler).handler is handler
    unsigned = LocalStateHandler(flows.path)
    assert flows.flow(handler=unsigned, name="other").handler is unsigned
