"""A snapshot of another flow is refused in every store, signed or not, by every reader."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from typing import TYPE_CHECKING, Any

import dill  # type: ignore[import-untyped]
import pytest

from aiocheckpoint import (
    CheckpointError,
    CheckpointFlow,
    CorruptSnapshotError,
    LocalStateHandler,
    UntrustedSnapshotError,
    adopt,
)
from aiocheckpoint.testing import MemoryStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import Runner

SECRET = "s" * 40
NAMES = r"'fa'.*'fb'.*name='fa'.*directory each"


def flow(
    place: Any,  # noqa: ANN401
    name: str | None = None,
    *,
    fails: bool = False,
    **options: Any,  # noqa: ANN401
) -> CheckpointFlow:
    """Make a flow of two steps."""
    cp = CheckpointFlow(place, name=name, fsync=False, **options)

    @cp.add_step()
    def one(state: dict[str, Any]) -> None:
        state["trail"] = [*state.get("trail", []), "one"]

    @cp.add_step()
    def two(state: dict[str, Any]) -> None:
        if fails:
            raise RuntimeError("broken")
        state["trail"] = [*state.get("trail", []), "two"]

    return cp


def broken(place: Any, name: str | None = None, **options: Any) -> CheckpointFlow:  # noqa: ANN401
    """Make a flow with two runs that broke in the second step, which is mended now."""
    cp = flow(place, name, fails=True, **options)
    for run_id in ("r", None):
        with contextlib.suppress(RuntimeError):
            cp.run({"of": cp.name}, run_id=run_id)
    return flow(place, name, **options)


def copied_row(folder: Path, **options: Any) -> CheckpointFlow:  # noqa: ANN401
    """Copy the rows of one flow of a database over another's."""
    for name in ("fa", "fb"):
        broken(f"sqlite:///{folder}/r.db", name, **options).handler.close()
    with contextlib.closing(sqlite3.connect(folder / "r.db")) as connection, connection:
        connection.execute(
            "UPDATE runs AS mine SET (payload, footer) = (SELECT payload, footer FROM runs "
            "WHERE flow = 'fa' AND run_id = mine.run_id) WHERE flow = 'fb'"
        )
    return flow(f"sqlite:///{folder}/r.db", "fb", **options)


def copied_file(folder: Path, **options: Any) -> CheckpointFlow:  # noqa: ANN401
    """Copy the files of one flow over another's."""
    first, second = (broken(folder / f"{name}.pkl", **options) for name in ("fa", "fb"))
    for run_id in ("r", None):
        shutil.copy(first.handler.locate(run_id), second.handler.locate(run_id))
    return second


def shared_directory(folder: Path, **options: Any) -> CheckpointFlow:  # noqa: ANN401
    """Use one directory for two flows."""
    broken(f"{folder}/runs/", "fa", **options)
    return flow(f"{folder}/runs/", "fb", **options)


def renamed_file(folder: Path, **options: Any) -> CheckpointFlow:  # noqa: ANN401
    """Rename the files of a flow."""
    first, second = broken(folder / "fa.pkl", **options), flow(folder / "fb.pkl", **options)
    for run_id in ("r", None):
        shutil.move(first.handler.locate(run_id), second.handler.locate(run_id))
    return second


WAYS: dict[str, Callable[..., CheckpointFlow]] = {
    "row": copied_row,
    "file": copied_file,
    "directory": shared_directory,
    "renamed": renamed_file,
}


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("way", WAYS)
def test_a_snapshot_of_another_flow(
    way: str, tmp_path: Path, runner: Runner, *, signed: bool
) -> None:
    """Every reader refuses it and names both flows. Nothing runs, and the file stays."""
    cp = WAYS[way](tmp_path, **({"secret": SECRET} if signed else {}))
    kind = UntrustedSnapshotError if signed else CorruptSnapshotError
    for run_id in ("r", None):
        calls: list[Callable[[], object]] = [
            lambda run_id=run_id: cp.read(run_id),  # type: ignore[misc]
            lambda run_id=run_id: cp.header(run_id),  # type: ignore[misc]
            lambda run_id=run_id: runner.allowed_plan(cp, run_id=run_id),  # type: ignore[misc]
            lambda run_id=run_id: runner(cp, {"n": 1}, run_id=run_id),  # type: ignore[misc]
            lambda run_id=run_id: cp.handler.write({"n": 1}, run_id),  # type: ignore[misc]
        ]
        for call in calls:
            with pytest.raises(kind, match=None if signed else NAMES):
                call()
    assert cp.runs() == []


def test_the_remedies(tmp_path: Path, runner: Runner) -> None:
    """A renamed file resumes under its old name, and `adopt` takes it for the new one."""
    renamed_file(tmp_path)
    assert runner(flow(tmp_path / "fb.pkl", "fa"))["trail"] == ["one", "two"]
    adopt(tmp_path / "fb.pkl", secret=SECRET, run_id="r")
    assert runner(flow(tmp_path / "fb.pkl", secret=SECRET), run_id="r")["of"] == "fa"


@pytest.mark.parametrize("place", ["file", "sqlite"])
def test_a_retained_snapshot_of_another_flow(place: str, tmp_path: Path, runner: Runner) -> None:
    """An older snapshot that was replaced by another flow's is passed over."""
    places = [
        f"{'sqlite:///' if place == 'sqlite' else ''}{tmp_path}/{name}" for name in ("a", "b")
    ]
    first, second = (broken(one, keep=5) for one in places)
    entries = second.handler.kept()
    assert entries == first.handler.kept()
    number, sequence = entries[-1]
    if place == "file":
        name = f".{'{}'}.kept/{number}-{sequence}"
        shutil.copy(tmp_path / name.format("a"), tmp_path / name.format("b"))
    else:
        for one in (first, second):
            one.handler.close()
        with contextlib.closing(sqlite3.connect(tmp_path / "b")) as connection, connection:
            connection.execute(f"ATTACH '{tmp_path / 'a'}' AS other")
            connection.execute(
                "UPDATE kept SET (payload, footer) = (SELECT payload, footer FROM other.kept AS o "
                "WHERE o.sequence = kept.sequence AND "
                "o.run = (SELECT id FROM other.runs WHERE run_id = '')) "
                "WHERE sequence = ? AND run = (SELECT id FROM runs WHERE run_id = '')",
                (sequence,),
            )
    with (
        pytest.raises(CorruptSnapshotError, match=r"'a'.*'b'"),
        second.handler.stored(None, (number, sequence)),
    ):
        pass
    assert runner(second)["trail"] == ["one", "two"]


def test_a_handler_of_another_name(tmp_path: Path, runner: Runner) -> None:
    """An unsigned handler object takes the snapshots of the flow that it is given to as well."""
    handler = LocalStateHandler(tmp_path / "c.pkl", fsync=False)
    cp = CheckpointFlow("ignored", handler=handler, name="orders")
    cp.add_step(name="a")(lambda state: state.update(a=1))
    assert runner(cp)["a"] == 1
    assert handler.read()["a"] == 1
    with pytest.raises(CorruptSnapshotError, match="'orders'"):
        LocalStateHandler(tmp_path / "c.pkl").read()


def test_snapshots_without_a_name(tmp_path: Path, runner: Runner) -> None:
    """A file of gumly names no flow, and a handler may be made without one."""
    (tmp_path / "any.pkl").write_bytes(dill.dumps({"trail": ["one"], "checkpoint_index": 1}))
    assert runner(flow(tmp_path / "any.pkl", "other"))["trail"] == ["one", "two"]
    memory = MemoryStateHandler()
    memory.write({"a": 1})
    assert memory.read()["a"] == 1


def test_a_copy_under_another_id_too(tmp_path: Path) -> None:
    """Of a file of another run and another flow, the error names the run, and nothing loads."""
    first, second = broken(tmp_path / "fa.pkl"), broken(tmp_path / "fb.pkl")
    shutil.copy(first.handler.locate("r"), second.handler.locate())
    with pytest.raises(CheckpointError, match="another run"):
        second.read()
