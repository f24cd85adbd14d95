"""`aiocheckpoint verify`: each bad snapshot with its run, and exit code 5."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cli import invoke

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from support import State

SECRET = "s" * 32
PLACES = {
    "orders.db": "sqlite:///{}/orders.db",
    "orders": "{}/orders/",
    "orders.pkl": "{}/orders.pkl",
}


def make_flow(place: str, **options: Any) -> CheckpointFlow:  # noqa: ANN401
    """A flow of two steps that keeps all snapshots."""
    cp = CheckpointFlow(place, name="orders", keep="all", fsync=False, **options)

    @cp.add_step()
    def reserve(state: State) -> None:
        state["reserved"] = True

    @cp.add_step()
    def charge(state: State) -> None:
        state["cents"] = 13995

    return cp


@pytest.fixture(params=PLACES)
def cp(request: pytest.FixtureRequest, tmp_path: Path) -> CheckpointFlow:
    """A store of three runs."""
    cp = make_flow(PLACES[request.param].format(tmp_path))
    for number in range(3):
        cp.run({"item": f"book {number}"}, run_id=f"order-{number}")
    cp.handler.close()
    return cp


def target_of(cp: CheckpointFlow) -> str:
    """The bare store of a flow."""
    return str(cp.handler.path).removeprefix("sqlite:///")


def damage(cp: CheckpointFlow, run_id: str) -> None:
    """Change a byte of the newest snapshot of a run."""
    if not target_of(cp).endswith(".db"):
        file = Path(cp.handler.locate(run_id))
        file.write_bytes(file.read_bytes().replace(b"book", b"look"))
        return
    statement = "UPDATE runs SET payload = ? WHERE run_id = ?"
    with closing(sqlite3.connect(target_of(cp))) as connection, connection:
        (payload,) = connection.execute(
            "SELECT payload FROM runs WHERE run_id = ?", (run_id,)
        ).fetchone()
        connection.execute(statement, (payload.replace(b"book", b"look"), run_id))


def test_a_sound_store(cp: CheckpointFlow) -> None:
    """Nothing stands on stdout, and the exit code is 0."""
    done = invoke("verify", target_of(cp))
    assert (done.code, done.out) == (0, "")
    assert done.err == "3 runs were checked. All snapshots are sound.\n"


def test_damaged_runs(cp: CheckpointFlow) -> None:
    """Each bad snapshot is a line with its run and its place."""
    damage(cp, "order-1")
    done = invoke("verify", target_of(cp))
    assert done.code == 5
    assert done.err == "3 runs were checked. 1 snapshot is bad.\n"
    (line,) = done.out.splitlines()
    assert line.startswith("! order-1 of orders: ")
    assert cp.handler.locate("order-1") in line


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_json(cp: CheckpointFlow, form: str) -> None:
    """Every run is a record, the sound ones too."""
    damage(cp, "order-2")
    done = invoke("verify", target_of(cp), "--output", form)
    assert (done.code, done.err) == (5, "")
    runs = (
        json.loads(done.out)["runs"]
        if form == "json"
        else [json.loads(line) for line in done.out.splitlines()]
    )
    found = {run["run_id"]: run["damage"] is None for run in runs}
    assert found == {"order-0": True, "order-1": True, "order-2": False}


def test_kept_snapshots(tmp_path: Path) -> None:
    """A kept snapshot that is bad is named by its place."""
    cp = make_flow(f"{tmp_path}/orders/")
    cp.run({"item": "book"}, run_id="a\x1b[2J")
    (kept,) = (tmp_path / "orders").glob(".*.kept/1-1")
    kept.write_bytes(kept.read_bytes()[:-9])
    done = invoke("verify", "orders", cwd=tmp_path)
    assert done.code == 5
    assert done.out.startswith("! a\\x1b[2J of orders: ")
    assert done.out.endswith(".pkl (kept, number 1, sequence 1))\n")
    assert "\x1b" not in done.out
    assert done.err == "1 run was checked. 1 snapshot is bad.\n"


@pytest.mark.parametrize("place", PLACES)
def test_signatures(place: str, tmp_path: Path) -> None:
    """Signatures are checked with a secret, and without one that is said."""
    cp = make_flow(PLACES[place].format(tmp_path), secret=SECRET)
    cp.run({"item": "book"}, run_id="order-1")
    cp.handler.close()
    without = invoke("verify", place, cwd=tmp_path)
    assert without.code == 0
    assert without.err.endswith("1 of them is signed, not verified: no secret given.\n")
    for secret, code in ((SECRET, 0), ("x" * 32, 5)):
        done = invoke("verify", place, "--secret-env", "KEY", cwd=tmp_path, env={"KEY": secret})
        assert done.code == code
        assert "not verified" not in done.err
        assert secret not in done.out + done.err
    make_flow(PLACES[place].format(tmp_path)).run({"item": "book"}, run_id="unsigned")
    done = invoke("verify", place, "--secret-env", "KEY", cwd=tmp_path, env={"KEY": SECRET})
    assert done.code == 5
    assert "! unsigned of orders: " in done.out


def test_nothing_stored(tmp_path: Path) -> None:
    """A place without runs is told from a sound one."""
    done = invoke("verify", ".", cwd=tmp_path)
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith(". has no runs. ")
    assert invoke("verify", "missing.db", cwd=tmp_path).code == 3


def test_a_cut_database(tmp_path: Path) -> None:
    """A database that SQLite finds damaged has the exit code of damage."""
    cp = make_flow(f"sqlite:///{tmp_path}/orders.db")
    for number in range(30):
        cp.run({"item": "book"}, run_id=f"order-{number}")
    cp.handler.close()
    (tmp_path / "orders.db").write_bytes((tmp_path / "orders.db").read_bytes()[:20_000])
    done = invoke("verify", "orders.db", cwd=tmp_path)
    assert done.code == 5
    assert "damaged" in done.err or "bad" in done.err
