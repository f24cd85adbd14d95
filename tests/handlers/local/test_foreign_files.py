"""A user's own file at the path of a checkpoint is refused, and nothing changes or deletes it."""

from __future__ import annotations

import gzip
import json
import pickle
import sqlite3
import zipfile
from contextlib import closing
from io import BytesIO
from typing import TYPE_CHECKING, Any

import dill  # type: ignore[import-untyped]
import pytest
from forged_snapshots import PNG, SECRET
from support import load_bare

from aiocheckpoint import (
    CheckpointError,
    CheckpointFlow,
    CorruptSnapshotError,
    ForeignFileError,
    InvalidTypeError,
    InvalidValueError,
    LocalStateHandler,
    StorageError,
    adopt,
    inspect,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import Runner

POSITION_KEY = "checkpoint_index"
MINE = {"best": {"alpha": 0.3, "auc": 0.91}}
PICKLES: dict[str, bytes] = {
    **{f"dict {protocol}": pickle.dumps(MINE, protocol) for protocol in range(6)},
    "dict by dill": dill.dumps(MINE),
    "empty dict": pickle.dumps({}),
    "list": pickle.dumps([1, 2, 3]),
    "text": pickle.dumps("checkpoint_index"),
    "dict in a dict": pickle.dumps({"state": {"checkpoint_index": 1}}),
}


def zipped() -> bytes:
    """Make a zip archive, as frameworks of machine learning save their models."""
    whole = BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("checkpoint_index.txt", "mine")
    return whole.getvalue()


OTHERS: dict[str, bytes] = {
    "text": b"the checkpoint_index of my thesis\n",
    "JSON": json.dumps({"checkpoint_index": 1}).encode(),
    "PNG": PNG,
    "gzip": gzip.compress(pickle.dumps(MINE)),
    "zip": zipped(),
    "two pickles": pickle.dumps(MINE) * 2,
    "array behind a pickle": pickle.dumps(MINE) + b"\x93NUMPY" + bytes(100),
    "cut pickle": pickle.dumps(MINE)[:-3],
    "source": b"from aiocheckpoint import CheckpointFlow\nstate['checkpoint_index']\n",
}
OTHERS.update(
    {f"no index: {value!r}": pickle.dumps({POSITION_KEY: value}) for value in ("x", None, True, -1)}
)
OTHERS.update(
    {
        "cut pickle with the word": pickle.dumps({**MINE, "key": POSITION_KEY})[:-3],
        "cut pickle without an index": pickle.dumps({POSITION_KEY: "x", **MINE})[:-3],
        "two pickles with the word": pickle.dumps({"key": POSITION_KEY}) * 2,
        "two pickles of lists": pickle.dumps([POSITION_KEY, 1]) * 2,
        "two pickles without an index": pickle.dumps({POSITION_KEY: None}) * 2,
    }
)
WAYS: dict[str, Callable[[CheckpointFlow], object]] = {
    "run": lambda cp: cp.run({"a": 1}),
    "run with checkpoint=": lambda cp: cp.run({"a": 1}, checkpoint=0),
    "run with once=": lambda cp: cp.run({"a": 1}, once=True),
    "patch": lambda cp: cp.patch({"a": 1}),
    "write": lambda cp: cp.handler.write({"a": 1}),
    "read": lambda cp: cp.read(),
    "reset": lambda cp: cp.reset(),
    "remove": lambda cp: cp.handler.remove(),
}


def make_flow(path: Path, **options: Any) -> CheckpointFlow:  # noqa: ANN401 - passed on
    """Make a flow of one step."""
    cp = CheckpointFlow(path, fsync=False, **options)
    cp.add_step(name="one")(lambda state: state.update(done=True))
    return cp


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("keep", [1, 3, "all"])
@pytest.mark.parametrize("name", PICKLES)
def test_pickle_of_a_user(name: str, keep: Any, way: str, tmp_path: Path) -> None:  # noqa: ANN401
    """No call overwrites, empties or deletes a user's pickle. A dict is offered to `adopt`."""
    file = tmp_path / "params.pkl"
    file.write_bytes(PICKLES[name])
    with pytest.raises(ForeignFileError, match="another path") as info:
        WAYS[way](make_flow(file, keep=keep))
    assert file.read_bytes() == PICKLES[name]
    assert ("adopt(" in str(info.value)) == ("dict" in name)
    assert [path.name for path in tmp_path.iterdir()] == ["params.pkl"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OTHERS)
def test_other_files_of_a_user(name: str, way: str, tmp_path: Path) -> None:
    """A file that nothing shows to be ours is left alone, and no error advises to delete it."""
    file = tmp_path / "notes"
    file.write_bytes(OTHERS[name])
    with pytest.raises(CorruptSnapshotError, match="another path") as info:
        WAYS[way](make_flow(file))
    assert info.value.of_unknown_origin
    assert file.read_bytes() == OTHERS[name]
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


@pytest.mark.parametrize("way", WAYS)
def test_database(way: str, tmp_path: Path) -> None:
    """A database is told to be one, and stays."""
    file = tmp_path / "orders.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE mine (a)")
    before = file.read_bytes()
    with pytest.raises(StorageError, match=r"is a SQLite database.*sqlite:///"):
        WAYS[way](make_flow(file))
    assert file.read_bytes() == before


@pytest.mark.parametrize("run_id", ["x", "order-42"])
def test_file_of_a_run_id(run_id: str, runner: Runner, tmp_path: Path) -> None:
    """The same holds for the file of a run with an id: it is not deleted, nor pruned."""
    cp = make_flow(tmp_path / "c.pkl")
    file = tmp_path / f"c.{run_id}.pkl"
    file.write_bytes(PICKLES["dict 4"])
    for call in (lambda: cp.delete(run_id), lambda: runner(cp, {"a": 1}, run_id=run_id)):
        with pytest.raises(ForeignFileError):
            call()
    assert cp.prune(0) == 0
    assert file.read_bytes() == PICKLES["dict 4"]


def test_put_over_a_snapshot(tmp_path: Path) -> None:
    """A user's pickle over a snapshot is not replaced by an older generation of the run."""
    file = tmp_path / "c.pkl"
    make_flow(file, keep=3).run({"a": 1})
    file.write_bytes(PICKLES["dict 4"])
    with pytest.raises(ForeignFileError):
        make_flow(file, keep=3).run()
    assert file.read_bytes() == PICKLES["dict 4"]


@pytest.mark.parametrize("end", [None, -1, -9, -60, -200])
def test_damaged_snapshot_is_ours(end: int | None, tmp_path: Path) -> None:
    """A snapshot that is cut behind its payload, or flipped, is known as ours, and reset."""
    file = tmp_path / "c.pkl"
    make_flow(file).run({"a": 1}, run_id=None)
    damaged = bytearray(file.read_bytes()[:end])
    damaged[5] ^= 1
    file.write_bytes(damaged)
    cp = make_flow(file)
    with pytest.raises(CorruptSnapshotError, match=r"reset\(\)") as info:
        cp.run()
    assert not info.value.of_unknown_origin
    cp.reset()
    assert cp.run({"b": 1}) == {"b": 1, "done": True}


@pytest.mark.parametrize("content", [b"", bytes(4096)], ids=["empty", "zeros"])
def test_empty_file_is_deleted(content: bytes, tmp_path: Path) -> None:
    """A file without content, as power cuts leave it, is deleted by `reset`."""
    file = tmp_path / "c.pkl"
    file.write_bytes(content)
    make_flow(file).reset()
    assert not file.exists()


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("position", [0, 3, 300, 1 << 20])
def test_cut_file_of_gumly_is_ours(position: int, protocol: int, tmp_path: Path) -> None:
    """A bare pickle that is cut behind its position is reset, and so is one with bytes behind."""
    whole = pickle.dumps({POSITION_KEY: position, **MINE}, protocol)
    for damaged in (whole[:-3], whole + b"garbage"):
        file = tmp_path / "c.pkl"
        file.write_bytes(damaged)
        make_flow(file).reset()
        assert not file.exists()


def test_damaged_beside_generations_is_ours(tmp_path: Path) -> None:
    """Where older generations are kept beside a file, garbage in its place is damage."""
    file = tmp_path / "c.pkl"
    make_flow(file, keep=3).run({"a": 1})
    file.write_bytes(b"garbage")
    assert make_flow(file, keep=3).read()["a"] == 1
    make_flow(file, keep=3).reset()
    assert list(tmp_path.iterdir()) == []


def test_other_files_among_generations_stay(tmp_path: Path) -> None:
    """`reset` deletes its generations, and no other file in their directory."""
    file = tmp_path / "c.pkl"
    make_flow(file, keep=3).run({"a": 1})
    (tmp_path / ".c.pkl.kept" / "mine.txt").write_text("mine")
    make_flow(file, keep=3).reset()
    assert [path.name for path in tmp_path.rglob("*")] == [".c.pkl.kept", "mine.txt"]


def test_snapshot_of_another_flow_is_not_deleted(tmp_path: Path) -> None:
    """`reset` of one flow leaves the checkpoint of another at the same path."""
    file = tmp_path / "c.pkl"
    make_flow(file, name="first").run({"a": 1})
    with pytest.raises(CorruptSnapshotError, match="of the flow 'first'"):
        make_flow(file, name="second").reset()
    assert make_flow(file, name="first").read()["a"] == 1


def test_under_a_secret(tmp_path: Path) -> None:
    """A flow with a secret does not delete a user's file either."""
    file = tmp_path / "params.pkl"
    file.write_bytes(PICKLES["dict 4"])
    cp = make_flow(file, secret=SECRET)
    for way in ("run", "reset", "write"):
        with pytest.raises(CheckpointError):
            WAYS[way](cp)
    assert file.read_bytes() == PICKLES["dict 4"]


# --- adopt


@pytest.mark.parametrize("options", [{}, {"secret": SECRET}], ids=["plain", "signed"])
def test_dict_is_adopted_as_first_state(
    options: dict[str, Any], runner: Runner, tmp_path: Path
) -> None:
    """`adopt` takes a pickled dict as the state of a first run, and changes no byte of it."""
    file = tmp_path / "params.pkl"
    file.write_bytes(PICKLES["dict 4"])
    header = adopt(file, **options)
    assert (header.position, header.status, header.flow) == (0, "finished", "params")
    assert file.read_bytes().startswith(PICKLES["dict 4"])
    assert load_bare(file) == MINE == LocalStateHandler(file, **options).read()
    assert runner(make_flow(file, **options)) == {**MINE, "done": True}


@pytest.mark.parametrize("name", ["list", "text"])
def test_other_pickles_are_not_adopted(name: str, tmp_path: Path) -> None:
    """Only a dict can be a state."""
    file = tmp_path / "mine.pkl"
    file.write_bytes(PICKLES[name])
    with pytest.raises(ForeignFileError, match="something else"):
        adopt(file)
    assert file.read_bytes() == PICKLES[name]


def test_adopt_drops_no_signature(tmp_path: Path) -> None:
    """Without a secret, a signed snapshot stays as it is, and None is no secret."""
    file = tmp_path / "c.pkl"
    make_flow(file, secret=SECRET).run({"a": 1})
    before = file.read_bytes()
    with pytest.raises(InvalidValueError, match="signature would be lost"):
        adopt(file)
    with pytest.raises(InvalidTypeError):
        adopt(file, secret=None)  # type: ignore[arg-type]
    assert file.read_bytes() == before


def test_inspect_tells_of_it(tmp_path: Path) -> None:
    """`inspect` refuses a user's dict in the same words."""
    file = tmp_path / "mine.pkl"
    file.write_bytes(PICKLES["dict 4"])
    with pytest.raises(ForeignFileError, match="adopt"):
        inspect(file)
