"""`adopt` signs a stored snapshot unchanged. It refuses damaged snapshots and other runs' ones."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dill  # type: ignore[import-untyped]
import pytest
from forged_snapshots import OTHER, SECRET, Canary, Pieces
from support import load_bare

import aiocheckpoint
from aiocheckpoint import (
    CheckpointError,
    CorruptSnapshotError,
    IncompatibleSnapshotError,
    InvalidTypeError,
    InvalidValueError,
    LocalStateHandler,
    RunInProgressError,
    StorageError,
    UntrustedSnapshotError,
    adopt,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from support import FlowFactory, Runner, State

FAST: dict[str, Any] = {"fsync": False}


def write_by(**options: Any) -> Callable[[FlowFactory, Canary], None]:  # noqa: ANN401 - passed on
    """Make a function that runs the first of two steps with these options."""

    def write(flows: FlowFactory, canary: Canary) -> None:
        flows.flow("a", "b", **FAST, **options).run({"canary": canary}, until="a")
        flows.log.clear()

    return write


def write_bare(protocol: int) -> Callable[[FlowFactory, Canary], None]:
    """Make a function that writes a file as gumly does."""

    def write(flows: FlowFactory, canary: Canary) -> None:
        state = {"canary": canary, "trail": ["a"], "checkpoint_index": 1}
        flows.path.write_bytes(dill.dumps(state, protocol))

    return write


SOURCES: dict[str, Callable[[FlowFactory, Canary], None]] = {
    **{f"bare {protocol}": write_bare(protocol) for protocol in range(6)},
    "unsigned": write_by(),
    "unsigned, renamed": write_by(name="of old"),
    "other secret": write_by(secret=OTHER),
    "other flow": write_by(secret=SECRET, name="of old"),
    "own signature": write_by(secret=SECRET),
}


@pytest.mark.parametrize("name", SOURCES)
def test_what_is_adopted_is_trusted(
    name: str, runner: Runner, flows: FlowFactory, tmp_path: Path
) -> None:
    """`adopt` signs an earlier file unchanged and executes nothing of it. Its run then resumes."""
    SOURCES[name](flows, Canary(tmp_path / "mark"))
    data = flows.path.read_bytes()
    payload = data if name.startswith("bare") else Pieces.of(data).payload
    before = LocalStateHandler(flows.path, flow="").header()  # of any flow
    reported = adopt(flows.path, secret=[SECRET, OTHER])
    assert not (tmp_path / "mark").exists()
    cp = flows.flow("a", "b", secret=SECRET, **FAST)
    assert replace(reported, signed_by=cp.handler.key_ids[0]) == cp.handler.header()
    assert before is not None
    assert reported.flow == "checkpoint"
    assert (reported.position, reported.sequence) == (before.position, before.sequence + 1)
    assert (reported.steps, reported.python, reported.code) == (
        before.steps,
        before.python,
        before.code,
    )
    assert reported.library == aiocheckpoint.__version__
    assert Pieces.of(flows.path.read_bytes()).payload == payload
    assert flows.path.stat().st_mode & 0o777 == 0o600
    assert runner(cp)["trail"] == ["a", "b"]
    assert (tmp_path / "mark").exists()


def test_the_header_returned_is_the_one_stored(flows: FlowFactory) -> None:
    """The returned header names the secret that the snapshot is signed with now."""
    flows.flow("a", **FAST).run({"n": 1})
    reported = adopt(flows.path, secret=SECRET)
    assert reported == LocalStateHandler(flows.path, secret=SECRET).header()


def test_a_flow_of_another_name(flows: FlowFactory) -> None:
    """A snapshot adopted for a flow is trusted only by the flow of that name."""
    flows.flow("a", "b", **FAST).run({"n": 1}, until="a")
    assert adopt(str(flows.path), secret=SECRET, flow="orders").flow == "orders"
    assert flows.flow("a", "b", secret=SECRET, name="orders", **FAST).run()["trail"] == ["a", "b"]
    with pytest.raises(UntrustedSnapshotError, match="another name"):
        flows.flow("a", "b", secret=SECRET, **FAST).run()


@pytest.mark.parametrize("run_id", ["order-42", "../x", "😀", "\ud83d"])
def test_one_run_of_many(run_id: str, flows: FlowFactory, runner: Runner) -> None:
    """`adopt` with a run id signs that run only. The other runs stay as they are."""
    cp = flows.flow("a", "b", **FAST)
    for one in (run_id, "other", None):
        cp.run({"n": one}, until="a", run_id=one)
    others = {
        path: data for path, data in flows.files().items() if path != cp.handler.locate(run_id)
    }
    assert adopt(flows.path, secret=SECRET, run_id=run_id).run_id == run_id
    signing = flows.flow("a", "b", secret=SECRET, **FAST)
    assert runner(signing, run_id=run_id)["trail"] == ["a", "b"]
    for one in ("other", None):
        with pytest.raises(UntrustedSnapshotError, match="not signed"):
            runner(signing, run_id=one)
    assert others.items() <= flows.files().items()


def test_a_bare_file_becomes_a_run(flows: FlowFactory) -> None:
    """A gumly file in a run's path is adopted for that run."""
    handler = LocalStateHandler(flows.path, secret=SECRET, **FAST)
    with open(handler.locate("order-42"), "wb") as file:  # noqa: PTH123
        dill.dump({"n": 1, "checkpoint_index": 2}, file)
    assert adopt(flows.path, secret=SECRET, run_id="order-42").position == 2
    assert handler.read("order-42") == {"n": 1, "checkpoint_index": 2}


def test_a_finished_run_and_a_failure(flows: FlowFactory) -> None:
    """The adopted snapshot keeps the run's status and its failure."""
    flows.faults["step b"] = OSError("broken")
    with pytest.raises(OSError, match="broken"):
        flows.flow("a", "b", **FAST).run({"n": 1})
    reported = adopt(flows.path, secret=SECRET)
    assert reported.failure is not None
    assert (reported.status, reported.failure.message, reported.number) == ("failed", "broken", 1)
    assert set(reported.durations) == {"a"}


def test_adopted_twice_with_two_secrets(flows: FlowFactory) -> None:
    """The second `adopt` signs with its own secret, if it is given the first one too."""
    flows.flow("a", **FAST).run({"n": 1})
    adopt(flows.path, secret=OTHER)
    adopt(flows.path, secret=[SECRET, OTHER])
    assert LocalStateHandler(flows.path, secret=SECRET).read()["n"] == 1
    with pytest.raises(UntrustedSnapshotError):
        LocalStateHandler(flows.path, secret=OTHER).read()


def test_through_a_link(flows: FlowFactory, tmp_path: Path) -> None:
    """A link stays a link, and the file that it points to is signed."""
    flows.flow("a", **FAST).run({"n": 1})
    link = tmp_path / "link.pkl"
    link.symlink_to(flows.path.name)
    adopt(link, secret=SECRET, flow="checkpoint")
    assert link.is_symlink()
    assert LocalStateHandler(flows.path, secret=SECRET).read()["n"] == 1


def damage(at: int) -> Callable[[Path], object]:
    """Make a function that flips one bit of a file."""

    def turn(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)

    return turn


def cut(path: Path) -> None:
    """Cut the end off a file."""
    os.truncate(path, path.stat().st_size - 1)


def of_later_format(path: Path) -> None:
    """Mark a file as one of a later format."""
    pieces = Pieces.of(path.read_bytes())
    path.write_bytes(Pieces(pieces.payload, pieces.header, version=2).joined())


def of_another_run(path: Path) -> None:
    """Mark a file as one of another run."""
    path.write_bytes(Pieces.of(path.read_bytes()).with_fields(run_id="other").joined())


def replaced_by(make: Callable[[Path], object]) -> Callable[[Path], object]:
    """Make a function that replaces the file by something else."""

    def put(path: Path) -> None:
        path.unlink()
        make(path)

    return put


BAD: dict[str, tuple[Callable[[Path], object], type[CheckpointError], str]] = {
    "gone": (os.unlink, StorageError, "locate"),
    "empty": (lambda path: os.truncate(path, 0), StorageError, "nothing is stored"),
    "payload altered": (damage(5), CorruptSnapshotError, "digest"),
    "header altered": (damage(-150), CorruptSnapshotError, "seal"),
    "signature altered": (damage(-70), CorruptSnapshotError, "seal"),
    "cut": (cut, CorruptSnapshotError, "cut off|other bytes"),
    "later format": (of_later_format, IncompatibleSnapshotError, "version 2"),
    "another run's": (of_another_run, CorruptSnapshotError, "another run"),
    "no snapshot": (lambda path: path.write_text("hello"), CorruptSnapshotError, "no snapshot"),
    "a directory": (replaced_by(os.mkdir), StorageError, "nothing is stored"),
    "a FIFO": (replaced_by(os.mkfifo), StorageError, "no regular file"),
    "link to nothing": (replaced_by(lambda path: path.symlink_to("x")), StorageError, "locate"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_adopted(name: str, flows: FlowFactory) -> None:
    """A missing, damaged or foreign file is refused, and stays as it is."""
    corrupt, kind, words = BAD[name]
    flows.flow("a", **FAST).run({"n": 1})
    corrupt(flows.path)
    before = flows.files()
    with pytest.raises(kind, match=words) as info:
        adopt(flows.path, secret=SECRET)
    assert str(flows.path) in str(info.value)
    assert flows.files() == before


def test_a_missing_path(tmp_path: Path) -> None:
    """`adopt` makes no directory when nothing is stored."""
    with pytest.raises(StorageError, match="locate"):
        adopt(tmp_path / "deep" / "er" / "checkpoint.pkl", secret=SECRET)
    assert list(tmp_path.iterdir()) == []


@contextlib.contextmanager
def running_run(flows: FlowFactory) -> Generator[None, None, None]:
    """Hold a run in the middle of its second step."""
    reached, go_on = threading.Event(), threading.Event()
    cp = flows.flow("a", **FAST)

    @cp.add_step()
    def wait(state: State) -> None:
        reached.set()
        assert go_on.wait(60)

    thread = threading.Thread(target=cp.run, args=({"n": 1},))
    thread.start()
    try:
        assert reached.wait(60)
        yield
    finally:
        go_on.set()
        thread.join()


def test_a_running_run(flows: FlowFactory) -> None:
    """A snapshot cannot be adopted while its run is running. It can be afterwards."""
    with running_run(flows):
        before = flows.path.read_bytes()
        with pytest.raises(RunInProgressError, match=str(os.getpid())):
            adopt(flows.path, secret=SECRET)
        assert flows.path.read_bytes() == before
    assert adopt(flows.path, secret=SECRET).finished


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"path": None}, InvalidTypeError, "path"),
        ({"path": ""}, InvalidTypeError, "path"),
        ({"run_id": 5}, InvalidTypeError, "run_id"),
        ({"run_id": ""}, InvalidValueError, "run_id"),
    ],
)
def test_bad_arguments(
    arguments: dict[str, Any], kind: type[CheckpointError], words: str, flows: FlowFactory
) -> None:
    """Invalid arguments are refused by name."""
    flows.flow("a", **FAST).run({"n": 1})
    before = flows.files()
    given: dict[str, Any] = {"path": flows.path, "secret": SECRET, **arguments}
    with pytest.raises(kind, match=words):
        adopt(**given)
    assert flows.files() == before


def test_plain_dill_reads_what_is_adopted(flows: FlowFactory) -> None:
    """`dill.load` reads a signed file."""
    flows.path.write_bytes(dill.dumps({"n": 1, "checkpoint_index": 1}))
    adopt(flows.path, secret=SECRET)
    assert load_bare(flows.path) == {"n": 1, "checkpoint_index": 1}
