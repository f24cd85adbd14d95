"""Locations of many runs: their spellings, the files made there, and their options."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import pytest
from run_factories import Runs, active_run, listed, sql
from support import NAMES, FlowFactory, Runner, State

from aiocheckpoint import CheckpointFlow, InvalidTypeError, InvalidValueError, LocalStateHandler
from aiocheckpoint.handlers.sqlite import SqliteStateHandler

if TYPE_CHECKING:
    from pathlib import Path

posix_only = pytest.mark.skipif(os.name != "posix", reason="modes and homes are POSIX's")


def run_at(runner: Runner, path: Any, **options: Any) -> CheckpointFlow:  # noqa: ANN401
    """Run a flow of one step there, with an id."""
    cp = CheckpointFlow(path, **options)
    cp.add_step(name="a")(lambda state: state.update(ran=True))
    assert runner(cp, {}, run_id="x") == {"ran": True}
    return cp


def forms(folder: Path) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Return the spellings of one database, from a working directory of `folder`."""
    return {
        "relative URL": ("sqlite:///runs.db", {}),
        "URL of a path up and down": (f"sqlite:///../{folder.name}/runs.db", {}),
        "absolute URL": (f"sqlite:///{folder}/runs.db", {}),
        "URL and name": ("sqlite:///runs.db", {"handler": "sqlite"}),
        "name and relative path": ("runs.db", {"handler": "sqlite"}),
        "name and path": (str(folder / "runs.db"), {"handler": "sqlite"}),
        "name and Path": (folder / "runs.db", {"handler": "sqlite"}),
        "class": (folder / "runs.db", {"handler": SqliteStateHandler}),
        "object": ("x", {"handler": SqliteStateHandler(folder / "runs.db"), "name": "runs"}),
        "home": ("sqlite:///~/runs.db", {}),
    }


@posix_only
def test_ways_to_write_a_database(
    tmp_path: Path, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every spelling of one file leads to the same runs, and no file is made elsewhere."""
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    ways = forms(folder)
    assert f"sqlite:////{str(folder)[1:]}" in ways["absolute URL"][0]
    for way, (path, options) in ways.items():
        cp = run_at(runner, path, **options)
        assert (cp.name, cp.handler.flow, listed(runner, cp)) == ("runs", "runs", ["x"]), way
        header = cp.handler.header("x")
        assert header.number == list(ways).index(way) + 1, way
    assert {path.name.split("-")[0] for path in folder.iterdir()} == {"runs.db"}
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


def test_working_directory_may_change(
    tmp_path: Path, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path means the working directory in which the flow was made."""
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    for path in ("sqlite:///runs.db", "runs/"):
        monkeypatch.chdir(tmp_path / "one")
        cp = CheckpointFlow(path)
        cp.add_step(name="a")(lambda state: None)
        monkeypatch.chdir(tmp_path / "other")
        runner(cp, {"n": 1}, run_id="x")
        assert runner.do(cp, "read", "x")["n"] == 1
    assert list((tmp_path / "other").iterdir()) == []


@pytest.mark.parametrize("path", ["deep/er/runs.db", "deep/er/runs/"])
def test_missing_directories_are_made(
    path: str, tmp_path: Path, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run makes missing directories. Making the flow and reading make nothing."""
    monkeypatch.chdir(tmp_path)
    handler = "sqlite" if path.endswith("db") else "local"
    cp = CheckpointFlow(path, handler=handler)
    cp.add_step(name="a")(lambda state: None)
    assert (runner.do(cp, "runs"), runner.do(cp, "read", "x")) == ([], {})
    assert runner.plan(cp, run_id="x").start == 0
    assert runner.do(cp, "prune", 0) == 0
    assert list(tmp_path.iterdir()) == []
    runner(cp, {}, run_id="x")
    assert listed(runner, cp) == ["x"]


@posix_only
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_the_owner_may_look(umask: int, tmp_path: Path, runner: Runner) -> None:
    """All files of a database have mode 0600 from the start, in a directory of mode 0700."""
    flows = FlowFactory(tmp_path / "made" / "runs.db")
    modes: list[tuple[str, int]] = []

    def look(state: State) -> None:
        found = flows.path.parent.iterdir()
        modes.extend((path.name, stat.S_IMODE(path.stat().st_mode)) for path in found)

    old = os.umask(umask)
    try:
        cp = CheckpointFlow(flows.path, handler="sqlite")
        cp.add_step(name="look")(look)
        runner(cp, {}, run_id="x")
    finally:
        os.umask(old)
    assert {"runs.db", "runs.db-wal", "runs.db-shm"} < {name for name, _ in modes}
    assert {mode for _, mode in modes} == {0o600}
    assert stat.S_IMODE(flows.path.parent.stat().st_mode) == 0o700


@posix_only
def test_database_behind_a_link(tmp_path: Path, runner: Runner) -> None:
    """Two names of one database share their runs: a run is running under both."""
    real = tmp_path / "real" / "runs.db"
    real.parent.mkdir()
    (tmp_path / "runs.db").symlink_to(real)
    with active_run(CheckpointFlow(tmp_path / "runs.db", handler="sqlite"), "x", {"n": 1}):
        other = CheckpointFlow(real, handler="sqlite")
        assert [header.owner is None for header in runner.do(other, "runs")] == [False]
    assert (tmp_path / "runs.db").is_symlink()


def test_columns_can_be_read_by_anybody(database: Runs, runner: Runner) -> None:
    """Any SQLite shell reads the position of each run without opening a pickle."""
    runner(database.flow(), {}, run_id="x", until="b")
    rows = sql(database.path, "SELECT flow, run_id, status, position, step, owner FROM runs")
    assert rows == [("runs", "x", "stopped", 2, "c", None)]


# --- directories of files


@pytest.mark.parametrize("there", [True, False], ids=["there", "with a slash"])
def test_directory_of_runs(*, there: bool, tmp_path: Path, runner: Runner) -> None:
    """In a directory each run is a file named by its id. A foreign file stays, and is no run."""
    folder = tmp_path / "runs"
    if there:
        folder.mkdir()
    cp = run_at(runner, folder if there else f"{folder}{os.sep}")
    assert cp.name == "runs"
    assert [path.name for path in folder.iterdir()] == ["x.pkl"]
    assert cp.handler.locate("x") == str(folder / "x.pkl")
    (folder / "notes.txt").write_text("mine", encoding="ascii")
    cp.run({}, run_id="../y")
    cp.run({})
    assert listed(runner, cp) == [None, "../y", "x"]
    assert runner.do(cp, "prune", 0) == 3
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_pattern_of_files(tmp_path: Path, runner: Runner) -> None:
    """Runs beside a file have one file per id, and runs of other flows are not listed."""
    cp = run_at(runner, tmp_path / "checkpoint.pkl")
    runner(cp, {})
    run_at(runner, tmp_path / "other.pkl")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["checkpoint.pkl", "checkpoint.x.pkl", "other.x.pkl"]
    assert listed(runner, cp) == [None, "x"]


@pytest.mark.parametrize(
    ("lease", "error"),
    [
        *((lease, InvalidTypeError) for lease in ("30", None, True, [30])),
        *((lease, InvalidValueError) for lease in (0, -1, 0.01, float("nan"), float("inf"))),
    ],
    ids=repr,
)
def test_lease_that_is_none(lease: Any, error: type[Exception], tmp_path: Path) -> None:  # noqa: ANN401
    """A lease is a sensible number of seconds. Anything else is refused, and nothing is made."""
    with pytest.raises(error, match="lease="):
        CheckpointFlow(tmp_path / "runs.db", handler="sqlite", lease=lease)
    assert list(tmp_path.iterdir()) == []


LOCK_OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "lease alone": ({"lease": 10}, "needs lock='lease'"),
    "lease of the kernel": ({"lock": "kernel", "lease": 10}, "needs lock='lease'"),
    "another kind": ({"lock": "flock"}, "'kernel' or 'lease'"),
    "no lease": ({"lock": "lease", "lease": 0}, "lease=0"),
}


@pytest.mark.parametrize("name", LOCK_OPTIONS)
def test_lock_options_of_files(name: str, tmp_path: Path) -> None:
    """Files have leases under `lock="lease"` alone."""
    options, words = LOCK_OPTIONS[name]
    for make in (CheckpointFlow, LocalStateHandler):
        with pytest.raises(InvalidValueError, match=words):
            make(tmp_path / "c.pkl", **options)
    assert repr(LocalStateHandler("c.pkl", lock="lease", lease=2)) == (
        "LocalStateHandler('c.pkl', flow='c', lock='lease', lease=2.0)"
    )


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite://runs.db", "sqlite://host/x"])
def test_url_that_names_no_file(url: str) -> None:
    """A URL with too few slashes, or without a path, is refused with two valid examples."""
    with pytest.raises(InvalidValueError, match=r"sqlite:////var/lib/runs\.db") as info:
        CheckpointFlow(url)
    assert repr(url) in str(info.value)


def test_whole_flow_in_each_location(runs: Runs, runner: Runner) -> None:
    """The same flow ends with the same state in every kind of storage."""
    assert runner(runs.flow(), {}, "always", run_id="x") == {
        "loads": list(NAMES),
        "trail": list(NAMES),
    }
