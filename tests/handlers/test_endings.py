"""The requests to terminate runs as they are stored: whole or not at all, and of one run alone."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from run_factories import Runs, sql
from terminated_runs import REASON, assert_terminated, given

from aiocheckpoint import (
    CheckpointFlow,
    LocalStateHandler,
    RunNotFoundError,
    RunTerminatedError,
    StorageError,
)
from aiocheckpoint.handlers._query import Query
from aiocheckpoint.handlers.local import _ending_file
from aiocheckpoint.handlers.sqlite import SqliteStateHandler

if TYPE_CHECKING:
    from pathlib import Path

    from support import Runner


def failed(cp: CheckpointFlow) -> CheckpointFlow:
    """Make a flow whose run "x" has failed in its second step, and would work now."""
    broken = [True]
    cp.add_step(name="first")(lambda state: state["trail"].append("first"))

    @cp.add_step()
    def second(state: dict[str, Any]) -> None:
        if broken:
            broken.clear()
            raise ConnectionError("down")
        state["trail"].append("second")

    with pytest.raises(ConnectionError):
        cp.run(given(), run_id="x")
    return cp


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a directory of runs."""
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


def in_folder(folder: Path, **options: Any) -> CheckpointFlow:  # noqa: ANN401
    """Make a flow in a directory."""
    return CheckpointFlow(folder, fsync=False, **options)


@pytest.mark.parametrize("content", ["", '"half a rea', '"a reason"'])
def test_request_that_was_not_written_whole(folder: Path, content: str) -> None:
    """A process that was killed while it asked has not asked, and another one may ask."""
    cp = failed(in_folder(folder))
    (folder / ".x.pkl.end").write_text(content)
    assert cp.handler.read_ending("x") is None
    cp.handler.write_ending("x", REASON)
    assert cp.handler.read_ending("x") in {REASON, "a reason"}
    (folder / ".x.pkl.end").write_text(content)
    assert cp.run(run_id="x") == {"trail": ["first", "second"]}
    assert cp.runs()[0].status == "finished"
    assert not (folder / ".x.pkl.end").exists()


@pytest.mark.parametrize("content", [b"{}\n", b"[" * 100_000 + b"\n", b"\xff\xfe\n", b"3\n"])
def test_request_of_another_program(folder: Path, content: bytes) -> None:
    """Whatever else is a line of the file is a request without a reason."""
    cp = failed(in_folder(folder))
    (folder / ".x.pkl.end").write_bytes(content)
    with pytest.raises(RunTerminatedError) as info:
        cp.run(run_id="x")
    assert (info.value.by, info.value.reason) == ("hand", "")
    assert [path.name for path in folder.iterdir()] == ["x.pkl"]


def test_something_else_in_its_place(folder: Path) -> None:
    """A directory in the place of a request is named, and the run is as it was."""
    cp = failed(in_folder(folder))
    before = cp.header("x")
    (folder / ".x.pkl.end").mkdir()
    with pytest.raises(StorageError, match=r"x\.pkl\.end"):
        cp.run(run_id="x")
    assert cp.header("x") == before
    (folder / ".x.pkl.end").rmdir()
    cp.run(run_id="x")


def test_file_of_a_request(folder: Path) -> None:
    """It is a line of JSON in ASCII between two newlines, which nobody else may read."""
    cp = failed(in_folder(folder))
    reason = "caf\u00e9 \ud800\nand more"
    cp.handler.write_ending("x", reason)
    file = folder / ".x.pkl.end"
    assert file.read_text("ascii") == "\n" + json.dumps(reason) + "\n"
    assert file.stat().st_mode & 0o077 == 0
    assert cp.handler.endings(["y", "x", None]) == {"x": reason}
    link = folder.with_name("link.pkl")
    link.symlink_to(folder / "x.pkl")
    linked = LocalStateHandler(link, fsync=False)
    assert linked.read_ending(None) == reason
    assert [header.run_id for header in cp.runs()] == ["x"]
    file.unlink()


@pytest.mark.leaves_files
def test_requests_of_two_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two processes that both see no request, neither cuts the line of the other."""
    cp = failed(in_folder(folder))
    with monkeypatch.context() as patch:
        patch.setattr(_ending_file, "read_ending", lambda _: None)
        cp.handler.write_ending("x", "a longer reason")
        cp.handler.write_ending("x", "short")
    assert cp.handler.read_ending("x") == "a longer reason"


@pytest.mark.leaves_files
@pytest.mark.parametrize("piece", [b"", b"\n", b'\n"half of a rea', b'\n"\xff'], ids=repr)
def test_request_behind_a_piece_of_one(folder: Path, piece: bytes) -> None:
    """What a process left that was killed while it wrote is no request, and spoils no other."""
    cp = failed(in_folder(folder))
    (folder / ".x.pkl.end").write_bytes(piece)
    assert cp.handler.read_ending("x") is None
    cp.handler.write_ending("x", REASON)
    assert cp.handler.read_ending("x") == REASON


@pytest.mark.leaves_files
def test_request_on_a_full_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is not written whole is an error."""
    cp = failed(in_folder(folder))
    whole = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, line: whole(file, line[:5]))
        with pytest.raises(StorageError, match="space"):
            cp.handler.write_ending("x", REASON)
    assert cp.handler.read_ending("x") is None


def test_request_behind_a_finished_run(durable_runs: Runs, runner: Runner) -> None:
    """A request that a killed owner or 0.5 left behind a finished run does not end the next one."""
    cp = failed(durable_runs.empty_flow())
    runner(cp, run_id="x")
    if durable_runs.kind == "sqlite":
        sql(durable_runs.path, "UPDATE runs SET ending = ?", json.dumps(REASON) + "\n")
    else:
        cp.handler.write_ending("x", REASON)
    assert runner(cp, given(), run_id="x") == {"trail": ["first", "second"]}
    header = cp.header("x")
    assert header is not None
    assert (header.status, header.number) == ("finished", 2)
    assert cp.handler.read_ending("x") is None


def test_list_deletes_it_behind_a_finished_run(folder: Path) -> None:
    """A list deletes what a killed owner has left behind a finished run, and nothing else."""
    cp = failed(in_folder(folder))
    cp.handler.write_ending("x", REASON)
    cp.handler.runs(Query())
    assert (folder / ".x.pkl.end").exists()
    with pytest.raises(RunTerminatedError):
        cp.run(run_id="x")
    cp.run(run_id="x", checkpoint=1)
    cp.handler.write_ending("x", REASON)
    cp.handler.runs(Query())
    assert [path.name for path in folder.iterdir()] == ["x.pkl"]


@pytest.mark.parametrize("value", [b"\xff", 3, 1.5, "no line"])
def test_odd_values_in_the_row(tmp_path: Path, value: object) -> None:
    """Another type in the column is a request without a reason."""
    cp = failed(CheckpointFlow(tmp_path / "runs.db", "sqlite", fsync=False))
    sql(tmp_path / "runs.db", "UPDATE runs SET ending = ?", value)
    with pytest.raises(RunTerminatedError) as info:
        cp.run(run_id="x")
    assert (info.value.by, info.value.reason) == ("hand", "")
    assert sql(tmp_path / "runs.db", "SELECT ending FROM runs") == [(None,)]


def test_row_without_a_run(tmp_path: Path) -> None:
    """There is no request for a run that is not stored, and none for a finished one."""
    handler = SqliteStateHandler(tmp_path / "runs.db", fsync=False)
    with handler.locked("x"):
        handler.write_ending("x", REASON)
        assert handler.read_ending("x") is None
    cp = CheckpointFlow(tmp_path / "runs.db", "sqlite", fsync=False)
    cp.add_step(name="first")(lambda state: None)
    with pytest.raises(RunNotFoundError):
        cp.terminate("x")
    cp.run({}, run_id="x")
    cp.handler.write_ending("x", REASON)
    assert cp.handler.read_ending("x") is None
    assert SqliteStateHandler(tmp_path / "none.db").endings(["x"]) == {}
    assert not (tmp_path / "none.db").exists()


def test_copy_of_a_store(durable_runs: Runs, tmp_path: Path) -> None:
    """A run that was terminated is so in a copy, and goes on there by `checkpoint=`."""
    cp = failed(durable_runs.empty_flow())
    cp.terminate("x", REASON)
    target = tmp_path / ("copy.db" if durable_runs.kind == "sqlite" else "copy")
    cp.handler.backup(target)
    kind = "sqlite" if durable_runs.kind == "sqlite" else "local"
    copied = CheckpointFlow(target, kind, name=cp.name)
    copied.add_step(name="first")(lambda state: None)
    copied.add_step(name="second")(lambda state: state["trail"].append("there"))
    assert_terminated(copied, 1, ["first"])
    assert copied.run(run_id="x", checkpoint=1) == {"trail": ["first", "there"]}
    assert_terminated(cp, 1, ["first"])
