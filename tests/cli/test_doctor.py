"""`aiocheckpoint doctor`: one line for each finding, with its remedy, and its exit code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from cli import invoke
from stored_runs import queue_run

from aiocheckpoint import CheckpointFlow
from aiocheckpoint.look import _file_systems

if TYPE_CHECKING:
    from pathlib import Path

MODULE = """
from aiocheckpoint import CheckpointFlow
cp = CheckpointFlow("runs/", name="orders", fsync={})
cp.add_step()(lambda state: None)
"""


@pytest.fixture(autouse=True)
def _no_mounts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a table of mounts, so that the findings do not depend on this machine."""
    monkeypatch.setattr(_file_systems, "_TABLE", str(tmp_path / "missing"))


def make_store(tmp_path: Path, *run_ids: str) -> CheckpointFlow:
    """A directory with runs, of which the files are damaged."""
    cp = CheckpointFlow(f"{tmp_path}/runs/", name="orders", fsync=False)
    queue_run(cp, "sound", {})
    for run_id in run_ids:
        queue_run(cp, run_id, {})
        with open(cp.handler.locate(run_id), "r+b") as file:  # noqa: PTH123 - it is a text
            file.truncate(20)
    return cp


def test_a_sound_store(tmp_path: Path) -> None:
    """Nothing stands on stdout, and the exit code is 0."""
    make_store(tmp_path)
    done = invoke("doctor", "runs", cwd=tmp_path)
    assert (done.code, done.out) == (0, "")
    assert done.err == (
        "runs: nothing is wrong.\nWhether a flow has fsync=False cannot be seen in a bare store.\n"
    )


def test_each_finding_is_a_line(tmp_path: Path) -> None:
    """Each finding is one line, whatever the ids hold, and the exit code is 1."""
    make_store(tmp_path, "a\x1b[2J\nb", "c")
    done = invoke("doctor", "runs", cwd=tmp_path)
    assert done.code == 1
    first, *others = done.out.splitlines()
    assert others == []
    assert first.startswith("! 2 snapshots")
    assert "'a\\x1b[2J\\nb'" in first
    assert first.endswith("With keep= an older snapshot is used.")
    assert "\x1b" not in done.out + done.err


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_json(form: str, tmp_path: Path) -> None:
    """Findings are records, in one document or on a line each."""
    make_store(tmp_path, "damaged")
    done = invoke("doctor", "runs", "--output", form, cwd=tmp_path)
    assert (done.code, done.err) == (1, "")
    found = json.loads(done.out)
    if form == "json":
        assert found.keys() == {"version", "findings"}
        (found,) = found["findings"]
    assert (found["kind"], found["count"], found["runs"]) == ("damaged", 1, ["damaged"])


@pytest.mark.parametrize("fsync", [True, False])
def test_a_flow_says_more(fsync: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a parameter
    """A module target shows `fsync=False`, which no store does."""
    module = f"shop_{fsync}".lower()
    (tmp_path / f"{module}.py").write_text(MODULE.format(fsync))
    make_store(tmp_path)
    done = invoke("doctor", f"{module}:cp", cwd=tmp_path)
    if fsync:
        assert (done.code, done.out) == (0, "")
    else:
        assert done.code == 1
        assert done.out.startswith("! The flow 'orders' has fsync=False")
    assert "cannot be seen" not in done.err


def by_value() -> object:
    """A function that no name finds."""
    return eval("lambda: 1")  # noqa: S307


def test_one_of_several_flows(tmp_path: Path) -> None:
    """With a flow named, the runs of others are not told of."""
    for name in ("mails", "orders"):
        cp = CheckpointFlow(f"sqlite:///{tmp_path}/o.db", name=name, fsync=False)
        cp.add_step(name="keep")(lambda state: state.update(function=by_value()))
        cp.run({}, run_id="one")
    assert len(invoke("doctor", "o.db", cwd=tmp_path).out.splitlines()) == 2
    (line,) = invoke("doctor", "o.db", "--flow", "mails", cwd=tmp_path).out.splitlines()
    assert "'mails'" in line


def test_no_store(tmp_path: Path) -> None:
    """A place where nothing is stored is no sound store."""
    assert invoke("doctor", "nothing.db", cwd=tmp_path).code == 3
