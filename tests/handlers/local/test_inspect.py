"""`inspect` reads the header of any file, and executes nothing of it."""

from __future__ import annotations

import json
import os
import pickle
import platform
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dill  # type: ignore[import-untyped]
import pytest
from forged_snapshots import PNG, SECRET, Canary, Pieces
from golden import write as golden
from locations import GOLDEN

import aiocheckpoint
from aiocheckpoint import (
    CheckpointError,
    CorruptSnapshotError,
    InvalidTypeError,
    LocalStateHandler,
    StorageError,
    inspect,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import FlowFactory, Runner

FAST: dict[str, Any] = {"fsync": False}


def test_from_a_running_run_to_its_end(runner: Runner, flows: FlowFactory) -> None:
    """Status, position, steps and durations are those of the last snapshot."""
    cp = flows.flow("a", "b", "c", **FAST)
    runner(cp, {"n": 1}, until="b")
    stopped = inspect(flows.path)
    assert (stopped.status, stopped.position, stopped.steps) == ("stopped", 2, ("a", "b", "c"))
    assert (stopped.flow, stopped.run_id, stopped.number) == ("checkpoint", None, 1)
    assert set(stopped.durations) == {"a", "b"}
    assert all(seconds >= 0 for seconds in stopped.durations.values())
    assert (stopped.failure, stopped.signed_by, stopped.code) == (None, None, False)
    runner(cp)
    finished = inspect(str(flows.path))
    assert (finished.status, finished.position, finished.finished) == ("finished", 0, True)
    assert (finished.sequence, finished.number) == (stopped.sequence + 1, 1)
    assert finished.written_at >= stopped.written_at > 0


def test_of_versions(flows: FlowFactory) -> None:
    """The header holds the versions of the software that wrote the file."""
    flows.flow("a", **FAST).run({"n": 1})
    header = inspect(flows.path)
    assert header.python == platform.python_version().rstrip("+")
    assert (header.dill, header.library) == (dill.__version__, aiocheckpoint.__version__)


def test_of_a_failure(runner: Runner, flows: FlowFactory) -> None:
    """The header holds the failed step, the error, and the traceback of the user's own code."""
    flows.faults["save b"] = OSError("the world was not ready")
    with pytest.raises(OSError, match="ready"):
        runner(flows.flow("a", "b", **FAST), {"n": 1})
    header = inspect(flows.path)
    assert (header.status, header.position) == ("failed", 1)
    assert header.failure is not None
    assert (header.failure.step, header.failure.part) == ("b", "save")
    assert header.failure.type == "builtins.OSError"
    assert header.failure.message == "the world was not ready"
    assert header.failure.traceback.startswith("Traceback")
    assert "support.py" in header.failure.traceback
    assert header.failure.seconds >= 0


def test_of_a_signed_run(flows: FlowFactory) -> None:
    """The secret's id is readable without the secret. A run's file is found by its run id."""
    cp = flows.flow("a", secret=SECRET, name="orders", **FAST)
    cp.run({"n": 1}, run_id="Order/42")
    header = inspect(cp.handler.locate("Order/42"))
    assert (header.flow, header.run_id) == ("orders", "Order/42")
    assert (header.signed_by,) == cp.handler.key_ids


def test_a_claimed_key_is_only_shown(flows: FlowFactory) -> None:
    """Without a secret the signature is not verified, and the key id is returned as written."""
    flows.flow("a", secret=SECRET, **FAST).run({"n": 1})
    pieces = Pieces.of(flows.path.read_bytes()).with_fields(flow="forged")
    flows.path.write_bytes(pieces.joined())
    header = inspect(flows.path)
    assert (header.flow, header.signed_by) == ("forged", pieces.key.hex())


def test_of_sizes(flows: FlowFactory) -> None:
    """Sizes add up to nearly the payload. A large value is listed, and a shared one counts once."""
    shared = ["x" * 20_000]
    state = {"small": 1, "large": b"y" * 300_000, "one": shared, "other": shared, 5: "z", 1j: 2}
    LocalStateHandler(flows.path, **FAST).write({**state, "checkpoint_index": 3})  # type: ignore[dict-item]
    header = inspect(flows.path)
    payload = Pieces.of(flows.path.read_bytes()).payload
    assert header.sizes is not None
    assert set(header.sizes) == {"small", "large", "one", "other", "5", "<other>"}
    assert 0 <= len(payload) - sum(header.sizes.values()) < 64
    assert header.sizes["large"] == pytest.approx(300_000, abs=30)
    assert header.sizes["one"] == pytest.approx(20_000, abs=50)
    assert header.sizes["other"] < 30
    assert LocalStateHandler(flows.path).header() != header  # without sizes


@pytest.mark.parametrize("protocol", range(6))
def test_of_bare_pickles(protocol: int, flows: FlowFactory, tmp_path: Path) -> None:
    """A gumly file yields its position and sizes, and nothing of it is executed."""
    canary = Canary(tmp_path / "mark")
    state = {"rows": list(range(999)), "canary": canary, "checkpoint_index": 2, "last": "x"}
    flows.path.write_bytes(dill.dumps(state, protocol))
    header = inspect(flows.path)
    assert (header.position, header.status, header.steps) == (2, "stopped", None)
    assert (header.flow, header.python, header.library, header.signed_by) == ("", "", "", None)
    assert header.sizes is not None
    assert set(header.sizes) == {"rows", "canary", "last"}
    assert header.sizes["rows"] > 999 > header.sizes["last"]
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.glob("*.snapshot")))
def test_of_other_pythons(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of another Python version is inspected like any other, with or without code in it."""
    monkeypatch.chdir(tmp_path)
    header = inspect(GOLDEN / name)
    version = name.removesuffix(".snapshot").rpartition("-")[2]
    assert header.python.startswith(f"{version}.")
    assert header.code == ("code" in name)
    made = golden.make_code() if header.code else golden.make_plain()
    assert header.sizes is not None
    assert set(header.sizes) == set(made) - {"checkpoint_index"}
    assert header.position == made["checkpoint_index"]
    assert not Path("mark").exists()


def test_a_canary_does_not_sing(flows: FlowFactory, tmp_path: Path) -> None:
    """Nothing of a payload is executed, even under a valid footer."""
    flows.flow("a", **FAST).run({"n": 1})
    pieces = Pieces.of(flows.path.read_bytes())
    for made in (Canary(tmp_path / "mark"), {"a": Canary(tmp_path / "mark")}):
        forged = Pieces(pickle.dumps(made), pieces.header).joined()
        flows.path.write_bytes(forged)
        assert inspect(flows.path).steps == ("a",)
        assert flows.path.read_bytes() == forged
    assert not (tmp_path / "mark").exists()


NOTHING_LEFT = [b"", b"hello", b"(", b"\x80\x04}", b"\x80\x04}.", b"." * 99, b"\x80\x63."]


@pytest.mark.parametrize("payload", NOTHING_LEFT)
def test_any_payload_under_a_sound_footer(payload: bytes, flows: FlowFactory) -> None:
    """A payload that is no pickle is reported as damage, even if all digests are right."""
    flows.flow("a", **FAST).run({"n": 1})
    header = Pieces.of(flows.path.read_bytes()).header
    flows.path.write_bytes(Pieces(payload, header).joined())
    if payload.endswith(b"}."):
        assert inspect(flows.path).sizes == {}
        return
    with pytest.raises(CorruptSnapshotError) as info:
        inspect(flows.path)
    assert str(flows.path) in str(info.value)


def make_socket(path: Path) -> None:
    """Bind a socket at a path, and leave it there."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(path))


BAD: dict[str, tuple[Callable[[Path], object], type[CheckpointError], str]] = {
    "nothing": (lambda path: None, StorageError, "locate"),
    "directory": (Path.mkdir, StorageError, "inspect_all"),
    "empty file": (Path.touch, CorruptSnapshotError, "empty"),
    "FIFO": (os.mkfifo, StorageError, "no regular file"),
    "device": (lambda path: path.symlink_to("/dev/null"), StorageError, "no regular file"),
    "terminal": (lambda path: path.symlink_to("/dev/ptmx"), StorageError, "no regular file"),
    "endless device": (lambda path: path.symlink_to("/dev/zero"), StorageError, "regular"),
    "socket": (make_socket, StorageError, "checkpoint"),
    "link to nothing": (lambda path: path.symlink_to("nowhere"), StorageError, "locate"),
    "link to itself": (lambda path: path.symlink_to(path), StorageError, "checkpoint"),
    "PNG": (lambda path: path.write_bytes(PNG), CorruptSnapshotError, "no snapshot"),
    "text": (lambda path: path.write_text("hi"), CorruptSnapshotError, "no snapshot|neither"),
    "JSON": (lambda path: path.write_text(json.dumps({})), CorruptSnapshotError, "pickle"),
    "a list": (lambda path: path.write_bytes(pickle.dumps([])), CorruptSnapshotError, "dict"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(name: str, flows: FlowFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is no snapshot is refused at once, with its path and a remedy, and left alone."""
    make, kind, words = BAD[name]
    monkeypatch.chdir(flows.path.parent)
    make(flows.path)
    before = flows.files()
    with pytest.raises(kind, match=words) as info:
        inspect(flows.path)
    assert str(flows.path) in str(info.value)
    assert flows.files() == before


@pytest.mark.parametrize("path", [None, 5, b"bytes", "", ["a"]], ids=repr)
def test_what_is_no_path(path: Any) -> None:  # noqa: ANN401
    """A path of another type is refused, as in a flow."""
    with pytest.raises(InvalidTypeError, match="path"):
        inspect(path)


def test_damage_is_named(flows: FlowFactory) -> None:
    """A damaged file is refused. The error names the damaged part and its bytes."""
    flows.flow("a", **FAST).run({"n": 1})
    sound = flows.path.read_bytes()
    length = len(Pieces.of(sound).payload)
    for at, words in ((3, rf"payload \(bytes 0 to {length}\)"), (length + 3, rf"bytes {length} ")):
        flows.path.write_bytes(sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :])
        with pytest.raises(CorruptSnapshotError, match=words):
            inspect(flows.path)
