"""`adopt` and `adopt_all` sign the runs of any store, so that a secret can be introduced later."""

from __future__ import annotations

import contextlib
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dill  # type: ignore[import-untyped]
import pytest
from forged_snapshots import OTHER, SECRET, Canary
from locations import program
from run_factories import Runs, active_run, sql

from aiocheckpoint import (
    CheckpointFlow,
    CorruptSnapshotError,
    ForeignFileError,
    InvalidTypeError,
    InvalidValueError,
    RunInProgressError,
    StorageError,
    UntrustedSnapshotError,
    adopt,
    adopt_all,
    inspect,
)

if TYPE_CHECKING:
    from support import Runner, State

SCRIPT = program("adopt_script.py")
NAMES = {"file": "orders.pkl", "directory": "orders/", "sqlite": "orders.db"}
IDS = ("x", "A/b", "ü" * 200)
DAMAGE = "UPDATE runs SET payload = CAST('x' || substr(payload, 2) AS BLOB)"
by_kind = pytest.mark.parametrize("kind", NAMES)


def place_of(kind: str, folder: Path) -> str:
    """The path of a store of a kind."""
    return f"{folder}/{NAMES[kind]}"


def make(kind: str, folder: Path, **options: Any) -> CheckpointFlow:  # noqa: ANN401 - passed on
    """Make a flow of two steps in a store of a kind."""
    handler = "sqlite" if kind == "sqlite" else "local"
    named: dict[str, Any] = {"name": "orders", "fsync": False, **options}
    cp = CheckpointFlow(place_of(kind, folder), handler, **named)
    cp.add_step(name="a")(lambda state: state.update(a=1))
    cp.add_step(name="b")(lambda state: state.update(b=1))
    return cp


def leave_runs(kind: str, folder: Path, **options: Any) -> CheckpointFlow:  # noqa: ANN401
    """Leave three unsigned runs behind their first step."""
    cp = make(kind, folder, **options)
    for run_id in IDS:
        cp.run({"n": run_id}, run_id=run_id, until="a")
    return cp


@by_kind
def test_a_secret_is_introduced(kind: str, tmp_path: Path, runner: Runner) -> None:
    """All runs are signed as they are, execute nothing of theirs, and resume under the secret."""
    plain = leave_runs(kind, tmp_path)
    plain.handler.write({"canary": Canary(tmp_path / "mark"), "checkpoint_index": 1}, "canary")
    with contextlib.suppress(FileNotFoundError):
        (tmp_path / "mark").rmdir()  # The first of its type is loaded back when it is stored.
    before = {header.run_id: header for header in plain.runs()}
    assert adopt_all(place_of(kind, tmp_path), secret=SECRET) == 4
    assert not (tmp_path / "mark").exists()
    cp = make(kind, tmp_path, secret=SECRET)
    for header in cp.runs():
        found = before[header.run_id]
        assert header.signed_by == cp.handler.key_ids[0]
        assert header == replace(
            found,
            sequence=found.sequence + 1,
            signed_by=header.signed_by,
            initial_digest=header.initial_digest,
        )
    for run_id in IDS:
        assert {"n": run_id, "a": 1, "b": 1}.items() <= runner(cp, run_id=run_id).items()
    assert adopt_all(place_of(kind, tmp_path), secret=SECRET) == 0


@by_kind
def test_what_the_error_recommends_works(kind: str, tmp_path: Path) -> None:
    """`adopt` takes the path that the refusal names, with the name of the flow."""
    leave_runs(kind, tmp_path, name="other")
    cp = make(kind, tmp_path, name="other", secret=SECRET)
    with pytest.raises(UntrustedSnapshotError) as info:
        cp.run(run_id="A/b")
    assert f"aiocheckpoint.adopt({info.value.path!r}, flow=..., secret=...)" in str(info.value)
    assert adopt(info.value.path, flow="other", secret=SECRET).run_id == "A/b"
    assert cp.run(run_id="A/b")["b"] == 1
    with pytest.raises(UntrustedSnapshotError):
        cp.run(run_id="x")


@by_kind
@pytest.mark.parametrize("by", ["run_id", "location"])
def test_one_run(kind: str, by: str, tmp_path: Path) -> None:
    """A run is adopted by the path of its store and its id, or by its location."""
    plain = leave_runs(kind, tmp_path)
    if by == "run_id":
        header = adopt(place_of(kind, tmp_path), run_id="x", secret=SECRET)
    else:
        header = adopt(plain.handler.locate("x"), secret=SECRET)
    cp = make(kind, tmp_path, secret=SECRET)
    assert (header.flow, header.run_id) == ("orders", "x")
    assert header == cp.header("x")
    assert cp.run(run_id="x")["b"] == 1
    assert inspect(cp.handler.locate("A/b")).signed_by is None


@by_kind
def test_other_secrets(kind: str, tmp_path: Path) -> None:
    """A secret is changed by giving both. A run that the new one has signed is left alone."""
    leave_runs(kind, tmp_path, secret=OTHER)
    place = place_of(kind, tmp_path)
    adopt(place, run_id="x", secret=[SECRET, OTHER])
    before = make(kind, tmp_path, secret=SECRET).header("x")
    assert adopt_all(place, secret=[SECRET, OTHER]) == 2
    cp = make(kind, tmp_path, secret=SECRET)
    assert cp.count() == len(cp.runs()) == 3
    assert cp.header("x") == before


@by_kind
def test_an_unknown_secret(
    kind: str, tmp_path: Path, runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """What is signed with a secret that is not given is left alone, and its flow still runs it."""
    cp = leave_runs(kind, tmp_path, secret=OTHER)
    place = place_of(kind, tmp_path)
    plain = make(kind, tmp_path)
    plain.run({"n": "y"}, run_id="y", until="a")
    signed_by = cp.handler.key_ids[0]
    with pytest.raises(InvalidValueError, match=rf"{signed_by}.*secret=\[new, old\].*lost"):
        adopt(place, run_id="x", secret=SECRET)
    assert adopt_all(place, secret=SECRET) == 1
    assert "3 runs are signed with a secret that is not among" in caplog.text
    assert {inspect(place, run_id=run_id).signed_by for run_id in IDS} == {signed_by}
    for run_id in IDS:
        assert runner(cp, run_id=run_id)["b"] == 1


@by_kind
def test_a_lost_secret(kind: str, tmp_path: Path) -> None:
    """The remedy of the refusal works: what a handler without a secret stores is adopted."""
    leave_runs(kind, tmp_path, secret=OTHER)
    handler = make(kind, tmp_path).handler
    handler.write(handler.read("x"), "x")
    adopt(place_of(kind, tmp_path), run_id="x", secret=SECRET)
    assert make(kind, tmp_path, secret=SECRET).run(run_id="x")["b"] == 1


@by_kind
def test_without_a_secret(kind: str, tmp_path: Path) -> None:
    """Unsigned runs need nothing. Signed ones do not lose their signature."""
    leave_runs(kind, tmp_path)
    place = place_of(kind, tmp_path)
    assert adopt_all(place) == 0
    adopt(place, run_id="x", secret=SECRET)
    with pytest.raises(InvalidValueError, match="signature would be lost") as info:
        adopt_all(place)
    assert "0 runs were adopted" in info.value.__notes__[0]
    assert inspect(place, run_id="x").signed_by is not None


@by_kind
def test_what_is_refused_keeps_nobody_else(kind: str, tmp_path: Path) -> None:
    """A run in progress is refused and named, and all others are adopted. Later it is too."""
    runs = Runs(Path(place_of(kind, tmp_path)), kind="sqlite" if kind == "sqlite" else "pattern")
    leave_runs(kind, tmp_path)
    cp, place = runs.flow("a"), place_of(kind, tmp_path)
    with active_run(cp, "busy"), pytest.raises(RunInProgressError) as info:
        adopt_all(place, secret=SECRET)
    (note,) = info.value.__notes__
    assert "3 runs were adopted" in note
    assert cp.handler.locate("busy") in note
    assert adopt_all(place, secret=SECRET) == 1
    signed = make(kind, tmp_path, secret=SECRET)
    assert {header.run_id for header in signed.runs()} == {"busy", *IDS}


def test_damaged_and_foreign_files(tmp_path: Path) -> None:
    """A damaged snapshot and somebody's pickle stay as they are. A gumly file is adopted."""
    leave_runs("directory", tmp_path)
    folder = tmp_path / "orders"
    damaged = folder / "x.pkl"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    (folder / "gumly.pkl").write_bytes(dill.dumps({"n": 1, "checkpoint_index": 1}))
    (folder / "mine.pkl").write_bytes(pickle.dumps({"n": 1}))
    stays = {path: path.read_bytes() for path in (damaged, folder / "mine.pkl")}
    with pytest.raises((CorruptSnapshotError, ForeignFileError)) as info:
        adopt_all(f"{folder}/", secret=SECRET)
    assert "3 runs were adopted" in info.value.__notes__[0]
    for path, content in stays.items():
        assert str(path) in info.value.__notes__[0]
        assert path.read_bytes() == content
    cp = make("directory", tmp_path, secret=SECRET)
    assert cp.handler.read("gumly") == {"n": 1, "checkpoint_index": 1}
    assert adopt(f"{folder}/", run_id="mine", secret=SECRET).position == 0


def test_damaged_rows(tmp_path: Path) -> None:
    """A damaged row stays as it is, and the others are adopted."""
    leave_runs("sqlite", tmp_path)
    path = tmp_path / "orders.db"
    sql(
        path, "UPDATE runs SET payload = CAST('x' || substr(payload, 2) AS BLOB) WHERE run_id = 'x'"
    )
    with pytest.raises(CorruptSnapshotError, match="digest") as info:
        adopt_all(path, secret=SECRET)
    assert "2 runs were adopted" in info.value.__notes__[0]
    assert len(make("sqlite", tmp_path).runs()) == 3


def test_each_flow_of_a_database(tmp_path: Path) -> None:
    """The runs of each flow are signed for it. One flow alone can be named."""
    for name in ("orders", "invoices"):
        leave_runs("sqlite", tmp_path, name=name)
    path = tmp_path / "orders.db"
    with pytest.raises(InvalidValueError, match=r"'invoices', 'orders'.*flow="):
        adopt(path, run_id="x", secret=SECRET)
    assert adopt_all(path, flow="invoices", secret=SECRET) == 3
    assert adopt_all(f"sqlite:///{path}", secret=SECRET) == 3
    for name in ("orders", "invoices"):
        cp = make("sqlite", tmp_path, name=name, secret=SECRET)
        assert {header.run_id for header in cp.runs()} == set(IDS)
        assert cp.run(run_id="x")["b"] == 1


@pytest.mark.parametrize("kind", ["file", "directory"])
@pytest.mark.parametrize("given", ["ordres", None])
def test_files_of_another_flow(kind: str, given: str | None, tmp_path: Path) -> None:
    """A name that is not that of the stored runs signs nothing. `adopt` renames one run."""
    cp = leave_runs(kind, tmp_path, name="shop")
    place, name = place_of(kind, tmp_path), given or "orders"
    with pytest.raises(InvalidValueError, match=f"'shop'.*'{name}'.*flow='shop'") as info:
        adopt_all(place, flow=given, secret=SECRET)
    assert "0 runs were adopted" in info.value.__notes__[0]
    assert {header.signed_by for header in cp.runs()} == {None}
    assert adopt(cp.handler.locate("x"), flow=name, secret=SECRET).flow == name
    assert make(kind, tmp_path, name=name, secret=SECRET).run(run_id="x")["b"] == 1
    with pytest.raises(InvalidValueError, match=f"'{name}'.*'shop'"):
        adopt_all(place, flow="shop", secret=SECRET)
    assert len(make(kind, tmp_path, name="shop", secret=SECRET).runs()) == 2


@by_kind
def test_nothing_there(kind: str, tmp_path: Path) -> None:
    """A path at which nothing is makes nothing. Neither does an unknown run."""
    place = place_of(kind, tmp_path)
    for path in (place, f"sqlite:///{tmp_path}/orders.db"):
        for act in (adopt, adopt_all):
            with pytest.raises(StorageError, match="nothing is stored"):
                act(path, secret=SECRET)
    assert list(tmp_path.iterdir()) == []
    leave_runs(kind, tmp_path)
    before = {str(path) for path in tmp_path.rglob("*")}
    for run_id in (None, "other"):
        with pytest.raises(StorageError, match="nothing is stored"):
            adopt(place, run_id=run_id, secret=SECRET)
    left = {str(path) for path in tmp_path.rglob("*")} - before
    assert not [path for path in left if "-wal" not in path and "-shm" not in path]


def test_bad_arguments(tmp_path: Path) -> None:
    """Invalid arguments are refused by name."""
    cp = leave_runs("sqlite", tmp_path)
    path = tmp_path / "orders.db"
    for given, kind, words in (
        ({"path": None}, InvalidTypeError, "path"),
        ({"secret": "short"}, InvalidValueError, "32 bytes"),
        ({"secret": None}, InvalidTypeError, "secret= is None"),
        ({"path": cp.handler.locate("x")}, InvalidValueError, "location of one run"),
    ):
        arguments: dict[str, Any] = {"path": path, "secret": SECRET, **given}
        with pytest.raises(kind, match=words):
            adopt_all(**arguments)
    assert len(cp.runs()) == 3


@pytest.mark.leaves_files
@by_kind
def test_killed_in_between(kind: str, tmp_path: Path) -> None:
    """A killed `adopt_all` loses no run, and the next one signs the rest."""
    cp = make(kind, tmp_path)
    for number in range(12):
        cp.run({"n": number}, run_id=f"{number}", until="a")
    states: dict[str | None, State] = {one.run_id: cp.read(one.run_id) for one in cp.runs()}
    cp.handler.close()
    place = place_of(kind, tmp_path)
    command = [sys.executable, str(SCRIPT), place, SECRET.decode(), "5"]
    ended = subprocess.run(command, check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    signed = [f"{one}" for one in range(12) if inspect(place, run_id=f"{one}").signed_by]
    assert 3 <= len(signed) <= 5
    assert 12 - 5 <= adopt_all(place, secret=SECRET) <= 12 - 3
    cp = make(kind, tmp_path, secret=SECRET)
    assert {one.run_id: cp.read(one.run_id) for one in cp.runs()} == states
    assert len(states) == 12
    cp.handler.close()


def kill_owner(place: str) -> None:
    """Leave the run "a" with a lock file of a killed owner by a lease."""
    code = (
        "import os, sys, signal, aiocheckpoint as A; "
        "A.LocalStateHandler(sys.argv[1], lock='lease', lease=3.0).lock('a').acquire(); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", code, place], check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform == "win32", reason="has no lock='lease'")
@pytest.mark.parametrize("options", [{}, {"lock": "lease", "lease": 3.0}])
def test_owners_by_a_lease(options: dict[str, Any], tmp_path: Path) -> None:
    """A killed owner of `lock="lease"` is succeeded, a living one named, and the rest adopted."""
    cp = make("directory", tmp_path, lock="lease")
    for name in "abc":
        cp.run({"n": 1}, run_id=name, until="a")
    place = place_of("directory", tmp_path)
    kill_owner(place)
    assert adopt(place, flow=cp.name, run_id="a", secret=OTHER, **options).signed_by
    kill_owner(place)
    with cp.handler.locked("b"), pytest.raises(RunInProgressError) as info:
        adopt_all(place, flow=cp.name, secret=[SECRET, OTHER], **options)
    assert "2 runs were adopted" in str(info.value.__notes__)
    assert cp.handler.locate("b") in str(info.value.__notes__)
    assert adopt_all(place, flow=cp.name, secret=[SECRET, OTHER], **options) == 1
    assert not list(tmp_path.rglob(".*"))


def test_digest_of_another_flow(tmp_path: Path) -> None:
    """A run that is adopted for another flow has no digest: with a secret it would never fit."""
    cp = make("file", tmp_path)
    cp.run({"n": 1}, until="a")
    assert cp.handler.header().initial_digest is not None
    path = place_of("file", tmp_path)
    assert adopt(path, secret=SECRET).initial_digest is not None
    assert adopt(path, flow="other", secret=SECRET).initial_digest is None
    assert inspect(path).flow == "other"
