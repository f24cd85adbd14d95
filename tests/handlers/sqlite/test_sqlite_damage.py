"""Damaged and forged rows of a database are refused before loading, or replaced by kept ones."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from forged_snapshots import OTHER, SECRET, Canary
from run_factories import Runs, resume_all, sql
from support import NAMES

from aiocheckpoint import (
    CheckpointError,
    CorruptSnapshotError,
    IncompatibleSnapshotError,
    UntrustedSnapshotError,
)
from aiocheckpoint.events import SnapshotSkipped

if TYPE_CHECKING:
    from pathlib import Path

    from support import Runner

COLUMNS = ("payload", "footer")
REFUSALS = (CorruptSnapshotError, UntrustedSnapshotError, IncompatibleSnapshotError)


def leave_stopped(flows: Runs, run_id: str = "x", **options: Any) -> None:  # noqa: ANN401
    """Leave a run that was stopped after b."""
    flows.flow(**options).run({"who": run_id}, run_id=run_id, until="b")
    flows.log.clear()
    flows.events.clear()


def turn_bit(flows: Runs, column: str, bit: int) -> None:
    """Flip a bit in a column of the run "x"."""
    (content,) = sql(flows.path, f"SELECT {column} FROM runs WHERE run_id = 'x'")[0]  # noqa: S608
    corrupted = bytearray(content)
    corrupted[bit // 8 % len(corrupted)] ^= 1 << bit % 8
    statement = f"UPDATE runs SET {column} = ? WHERE run_id = 'x'"  # noqa: S608
    sql(flows.path, statement, bytes(corrupted))


@pytest.mark.parametrize("bit", [0, 300, -3])
@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("secret", [None, SECRET], ids=["plain", "signed"])
def test_turned_bit(
    secret: bytes | None, column: str, bit: int, database: Runs, runner: Runner
) -> None:
    """Every reader of the run detects one flipped bit, and nothing runs or is overwritten."""
    options: dict[str, Any] = {} if secret is None else {"secret": secret}
    leave_stopped(database, **options)
    turn_bit(database, column, bit)
    before, cp = sql(database.path, "SELECT payload, footer FROM runs"), database.flow(**options)
    for act in (
        lambda: runner(cp, {}, run_id="x"),
        lambda: runner.do(cp, "read", "x"),
        lambda: runner.do(cp, "patch", {}, run_id="x"),
        lambda: runner(cp, {}, run_id="x", once=True),
    ):
        with pytest.raises(REFUSALS, match="run 'x'"):
            act()
    assert (database.log, sql(database.path, "SELECT payload, footer FROM runs")) == ([], before)


def test_every_bit_of_a_signed_row(database: Runs) -> None:
    """A signed row with any flipped bit is not loaded. The test tries every 29th bit."""
    leave_stopped(database, secret=SECRET, name="f")
    handler = database.flow(secret=SECRET, name="f").handler
    for column in COLUMNS:
        (length,) = sql(database.path, f"SELECT length({column}) FROM runs")[0]  # noqa: S608
        for bit in range(0, 8 * length, 29):
            turn_bit(database, column, bit)
            with pytest.raises(REFUSALS):
                handler.read("x")
            turn_bit(database, column, bit)
    assert handler.read("x")["who"] == "x"


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("keep", [3, "all"])
def test_kept_one_replaces_it(
    keep: int | str, column: str, database: Runs, runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """With `keep=` the newest sound snapshot is used, with a warning and an event."""
    leave_stopped(database, keep=keep)
    turn_bit(database, column, 300)
    with caplog.at_level(logging.WARNING, "aiocheckpoint"):
        assert runner(database.flow(keep=keep), run_id="x")["trail"] == list(NAMES)
    assert database.ran() == ["b", "c"]
    assert "An older snapshot is used" in caplog.text
    assert [type(one) for one in database.events].count(SnapshotSkipped) == 1


def test_all_kept_ones_damaged(database: Runs, runner: Runner) -> None:
    """Without a sound snapshot the run is refused, and a reset deletes them all."""
    leave_stopped(database, keep=3)
    turn_bit(database, "payload", 300)
    sql(database.path, "UPDATE kept SET payload = zeroblob(length(payload))")
    with pytest.raises(CorruptSnapshotError):
        runner(database.flow(keep=3), run_id="x")
    runner.do(database.flow(keep=3), "reset", run_id="x")
    assert sql(database.path, "SELECT count(*) FROM runs UNION ALL SELECT count(*) FROM kept") == [
        (0,),
        (0,),
    ]


COPY = (
    "UPDATE runs SET (payload, footer) = (SELECT payload, footer FROM runs WHERE run_id = ?) "
    "WHERE run_id = ?"
)


@pytest.mark.parametrize(
    ("options", "kind"),
    [({}, CorruptSnapshotError), ({"secret": SECRET}, UntrustedSnapshotError)],
    ids=["plain", "signed"],
)
@pytest.mark.parametrize("ids", [("x", "y"), ("order-1", "order-2"), ("a1", "a10")], ids=str)
def test_row_of_another_run(
    ids: tuple[str, str],
    options: dict[str, Any],
    kind: type[CheckpointError],
    database: Runs,
    runner: Runner,
) -> None:
    """A snapshot copied over another run's is detected by every reader, also of an alike id."""
    victim, copied = ids
    for run_id in ids:
        leave_stopped(database, run_id, **options)
    sql(database.path, COPY, copied, victim)
    cp = database.flow(**options)
    for act in (lambda: runner(cp, run_id=victim), lambda: runner.do(cp, "read", victim)):
        with pytest.raises(kind, match="another run"):
            act()
    assert [header.run_id for header in runner.do(cp, "runs")] == [copied]
    assert set(resume_all(cp)) == {copied}


def test_row_of_another_flow(database: Runs, runner: Runner) -> None:
    """A row moved to a flow of another name is refused, under the same secret."""
    leave_stopped(database, name="one", secret=SECRET)
    sql(database.path, "UPDATE runs SET flow = 'other'")
    with pytest.raises(UntrustedSnapshotError, match="another name"):
        runner(database.flow(name="other", secret=SECRET), run_id="x")
    assert database.log == []


@pytest.mark.parametrize("secret", [SECRET, OTHER], ids=["unsigned", "other secret"])
def test_untrusted_rows(secret: bytes, database: Runs, runner: Runner, canary_file: Path) -> None:
    """A canary that is unsigned, or signed with another secret, is never unpickled."""
    options = {} if secret is SECRET else {"secret": secret}
    cp = database.empty_flow(**options)
    cp.add_step(name="a")(lambda state: state.update(canary=Canary(canary_file)))
    cp.add_step(name="b")(lambda state: None)
    cp.run({}, run_id="x", until="a")
    trusting = database.flow("a", "b", secret=SECRET)
    for act in (
        lambda: runner(trusting, run_id="x"),
        lambda: runner.do(trusting, "read", "x"),
        lambda: runner.do(trusting, "patch", {}, run_id="x"),
    ):
        with pytest.raises(UntrustedSnapshotError):
            act()
    assert runner.do(trusting, "runs") == []
    assert resume_all(trusting) == {}
    assert not canary_file.exists()


def test_changed_secret(database: Runs, runner: Runner) -> None:
    """With the new secret before the old one, runs resume and are signed with the new one."""
    leave_stopped(database, secret=OTHER)
    cp = database.flow(secret=[SECRET, OTHER])
    runner(cp, run_id="x")
    (header,) = runner.do(database.flow(secret=SECRET), "runs")
    assert (header.signed_by, header.status) == (cp.handler.key_ids[0], "finished")


def test_plain_data_alone(database: Runs, runner: Runner, canary_file: Path) -> None:
    """`allow=()` refuses every global, in storing and in loading."""
    cp = database.empty_flow(allow=())
    cp.add_step(name="a")(lambda state: state.update(canary=Canary(canary_file)))
    with pytest.raises(CheckpointError, match="canary"):
        runner(cp, {"n": 1}, run_id="x")
    assert runner.do(cp, "read", "x") == {"n": 1, "checkpoint_index": 0}
    database.empty_flow().handler.write({"canary": Canary(canary_file), "checkpoint_index": 1}, "y")
    with pytest.raises(UntrustedSnapshotError, match="allow="):
        runner.do(cp, "read", "y")
    assert not canary_file.exists()


def test_columns_decide_nothing_of_a_run(database: Runs, runner: Runner) -> None:
    """The position of a run is read from its snapshot. The columns beside it serve lists only."""
    leave_stopped(database, secret=SECRET)
    sql(database.path, "UPDATE runs SET position = 0, step = 'a', status = 'finished', number = 9")
    assert runner(database.flow(secret=SECRET), run_id="x")["trail"] == list(NAMES)
    assert database.ran() == ["c"]


class Unloadable:
    """A value that can be stored and not loaded again."""

    def __reduce__(self) -> Any:  # noqa: ANN401
        return int, ("no number",)


def test_verify(database: Runs, runner: Runner) -> None:
    """With `verify=True` a state that cannot be loaded again is refused when it is stored."""
    cp = database.empty_flow(verify=True)
    cp.add_step(name="a")(lambda state: None)
    cp.add_step(name="b")(lambda state: state.update(bad=Unloadable()))
    with pytest.raises(CheckpointError, match=r'state\["bad"\]'):
        runner(cp, {"n": 1}, run_id="x")
    assert runner.do(cp, "read", "x") == {"n": 1, "checkpoint_index": 1}
