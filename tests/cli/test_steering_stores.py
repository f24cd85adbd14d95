"""Commands that change stored runs by their headers alone, on bare stores too."""

from __future__ import annotations

import io
import json
import sqlite3
import tempfile
from contextlib import closing, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cli import in_pty, invoke
from queued_runs import put_header
from shop import KINDS, Shop, make_shop

from aiocheckpoint import CheckpointFlow, RunTerminatedError, UntrustedSnapshotError

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "a key of more than thirty-two bytes"
ENV = {"SHOP_SECRET": KEY}


def fill(shop: Shop) -> None:
    """Store an order of each status that is steered."""
    cp, quiet = shop.flow(), io.StringIO()
    with redirect_stdout(quiet):
        cp.run({}, run_id="done")
        cp.run({"total": 700}, run_id="asked")
        with suppress(ValueError):
            cp.run({"declined": True}, run_id="bad")
        with suppress(RunTerminatedError):
            cp.run({"fraud": True}, run_id="fraud")
    cp.handler.close()


@pytest.fixture(params=KINDS)
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """A shop with four orders, in a store of each kind."""
    with make_shop(tmp_path, request.param) as shop:
        fill(shop)
        yield shop


@pytest.fixture
def orders(tmp_path: Path) -> Iterator[Shop]:
    """A shop with four orders in a database."""
    with make_shop(tmp_path) as shop:
        fill(shop)
        yield shop


@pytest.fixture(params=KINDS)
def signed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """A shop with four signed orders, in a store of each kind."""
    with make_shop(tmp_path, request.param, f", secret={KEY!r}") as shop:
        fill(shop)
        yield shop


def statuses(shop: Shop) -> dict[str | None, str]:
    """The status of each stored order, as the flow sees it."""
    return {header.run_id: header.status for header in shop.flow().runs()}


def damage_header(shop: Shop, run_id: str) -> None:
    """Damage the header of a stored order."""
    if shop.store == "orders.db":
        with closing(sqlite3.connect(shop.folder / "orders.db")) as connection, connection:
            connection.execute("UPDATE runs SET footer = 'x' WHERE run_id = ?", (run_id,))
    else:
        path = Path(shop.flow().handler.locate(run_id))
        path.write_bytes(path.read_bytes()[:-5])


FILLED = {"done": "finished", "asked": "paused", "bad": "failed", "fraud": "terminated"}


def test_nothing_changes_without_write(shop: Shop) -> None:
    """A bare store is left as it is without `--write`, and by a dry run."""
    for words in (
        "requeue bad",
        "terminate bad --yes",
        "delete bad --yes",
        "prune --older-than 0s --yes",
        "compact",
    ):
        done = shop.bare(*words.split())
        assert (done.code, "Add --write" in done.err) == (2, True), words
    for words in ("requeue bad", "delete bad", "prune --older-than 0s"):
        done = shop.bare(*words.split(), "--dry-run")
        assert (done.code, "would" in done.out) == (0, True), words
    assert statuses(shop) == FILLED


def test_requeue_of_a_bare_store(shop: Shop) -> None:
    """Broken runs are due now, by their headers, and workers take them."""
    done = shop.bare("requeue", "--all", "--write", "--reason", "mended by Ann")
    assert (done.code, done.out, done.err) == (0, "bad  due now, stopped\n", "")
    assert shop.header("bad").actor == "mended by Ann"
    assert statuses(shop) == {**FILLED, "bad": "stopped"}
    assert shop.flow().read("bad") == {"declined": True, "checkpoint_index": 2}
    worked = shop.does("work", "--until-empty")
    assert "bad  failed: ValueError: declined" in worked.out


def test_requeue_of_runs_that_are_named(shop: Shop) -> None:
    """A terminated run is made due when it is named. Finished and paused ones are refused."""
    done = shop.bare("requeue", "-", "--write", input="fraud\ndone\nasked\nnope\n")
    lines = dict(line.split("  ", 1) for line in done.out.splitlines())
    assert lines["fraud"] == "due now, stopped"
    assert "is finished, and there is nothing left to do" in lines["done"]
    assert "waits for the answer to its pause" in lines["asked"]
    assert lines["nope"] == "refused: no such run is stored"
    assert done.code == 6
    dry = shop.bare("requeue", "done", "asked", "bad", "--dry-run")
    assert dry.code == 6
    assert "1 would be due" in dry.err


def test_dry_run_refuses_what_the_command_refuses(shop: Shop) -> None:
    """A dry run of `requeue` has the words and the exit code of the refusal that would come."""
    damage_header(shop, "bad")
    for run_id, code in (("done", 6), ("asked", 6), ("bad", 5), ("nope", 3)):
        dry = shop.bare("requeue", run_id, "--dry-run")
        real = shop.bare("requeue", run_id, "--write")
        assert (dry.code, real.code) == (code, code), run_id
        assert dry.out.startswith(f"{run_id}  refused: "), run_id
        if run_id != "bad":  # A list of runs has other words for a damage.
            assert dry.out == real.out


def test_nothing_left_to_do(shop: Shop) -> None:
    """A finished run is refused, which is no wrong usage."""
    assert shop.bare("terminate", "done", "--write", "--yes").code == 6
    assert shop.bare("requeue", "done", "--write").code == 6


def test_requeue_by_filter(shop: Shop) -> None:
    """Filters choose the runs to make due."""
    done = shop.bare("requeue", "--error", "*.LookupError", "--write")
    assert (done.out, done.err) == ("", "no run.\n")
    done = shop.bare("requeue", "--status", "failed,terminated", "--step", "charge", "--write")
    assert sorted(done.out.splitlines()) == ["bad  due now, stopped", "fraud  due now, stopped"]


def test_requeue_of_runs_that_were_killed(orders: Shop) -> None:
    """`--stale` chooses the runs whose process is gone."""
    put_header(orders.flow().handler, "bad", status="running", failure=None)
    orders.flow().handler.close()
    assert orders.bare("requeue", "--all", "--write").out == ""
    assert orders.bare("requeue", "--stale", "--write").out == "bad  due now, stopped\n"


def test_terminate(shop: Shop) -> None:
    """Runs are ended for good, with the reason."""
    done = shop.bare("terminate", "bad", "asked", "--write", "--yes", "--reason", "by Ann")
    assert sorted(done.out.splitlines()) == [
        "asked  terminated: by Ann",
        "bad  terminated: by Ann",
    ]
    assert (done.code, shop.header("bad").termination) == (0, "by Ann")
    assert shop.header("bad").actor == "by Ann"
    assert shop.does("run", "bad").code == 12
    assert shop.bare("terminate", "nope", "--write", "--yes").code == 3


def test_delete(shop: Shop) -> None:
    """Runs are forgotten, and one that is not there has its own exit code."""
    done = shop.bare("delete", "bad", "nope", "--write", "--yes")
    assert sorted(done.out.splitlines()) == ["bad  deleted", "nope  refused: no such run is stored"]
    assert done.code == 3
    assert statuses(shop) == {key: value for key, value in FILLED.items() if key != "bad"}


def test_prune(shop: Shop) -> None:
    """Finished runs of some age are deleted, or those of the statuses that are named."""
    assert shop.bare("prune", "--older-than", "1d", "--write", "--yes").out == "deleted 0 runs\n"
    assert statuses(shop) == FILLED
    done = shop.bare("prune", "--older-than", "0s", "--write", "--yes")
    assert (done.code, done.out) == (0, "deleted 1 run: done\n")
    words = ["--older-than", "0s", "--status", "Failed,terminated", "--write", "--yes"]
    record = json.loads(shop.bare("prune", *words, "--output", "json").out)["prune"]
    assert (record["deleted"], sorted(record["examples"])) == (2, ["bad", "fraud"])
    assert statuses(shop) == {"asked": "paused"}


def test_run_without_an_id_is_steered(tmp_path: Path) -> None:
    """The run without an id is one of all runs of a store."""
    with make_shop(tmp_path, "file") as shop:
        assert shop.does("run", "--state", '{"declined": true}').code == 1
        done = shop.bare("requeue", "--all", "--write")
        assert done.out == "(the run without an id)  due now, stopped\n"
        assert shop.status(None) == "stopped"


def test_signed_store_without_its_secret(signed: Shop) -> None:
    """Nothing of a signed store is changed without its secret, which would lose the signature."""
    for words in (
        "requeue bad",
        "terminate bad --yes",
        "delete bad --yes",
        "prune --older-than 0s --yes",
    ):
        done = signed.bare(*words.split(), "--write")
        assert (done.code, "--secret-env" in done.out + done.err) == (2, True), words
    for words in ("requeue bad", "delete bad"):
        dry = signed.bare(*words.split(), "--dry-run")
        assert (dry.code, "--secret-env" in dry.out) == (2, True), words
    assert statuses(signed) == FILLED


def test_one_signed_run_among_many(tmp_path: Path) -> None:
    """One signed run is enough to ask for its secret before anything is pruned."""
    with make_shop(tmp_path) as shop:
        place = "sqlite:///" + str(shop.folder / "orders.db")
        given: list[tuple[dict[str, Any], str]] = [({"secret": KEY}, "a"), ({}, "bcdefg")]
        for options, run_ids in given:
            flow = CheckpointFlow[Any](place, name="shop", **options)
            flow.add_step(name="pack")(lambda state: None)
            for run_id in run_ids:
                flow.run({}, run_id=run_id)
            flow.handler.close()
        done = shop.bare("prune", "--older-than", "0s", "--write", "--yes")
        assert (done.code, "--secret-env" in done.err) == (2, True)


def test_signed_store_with_its_secret(signed: Shop) -> None:
    """With the secret, what is written is signed, and its flow goes on with it."""
    secret = ["--secret-env", "SHOP_SECRET", "--write"]
    assert signed.bare("requeue", "bad", *secret, env=ENV).code == 0
    assert signed.bare("terminate", "asked", *secret, "--yes", env=ENV).code == 0
    assert signed.bare("delete", "fraud", *secret, "--yes", env=ENV).code == 0
    assert signed.bare("prune", "--older-than", "0s", *secret, "--yes", env=ENV).code == 0
    assert statuses(signed) == {"bad": "stopped", "asked": "terminated"}
    assert signed.header("bad").signed_by is not None


def test_signed_store_with_another_secret(signed: Shop) -> None:
    """Another secret is no right to change anything but to delete."""
    words = ["--secret-env", "SHOP_SECRET", "--write"]
    env = {"SHOP_SECRET": "another secret of more than thirty-two bytes"}
    done = signed.bare("requeue", "bad", *words, env=env)
    assert done.code == 5
    assert "is not trusted" in done.out
    with suppress(UntrustedSnapshotError):
        signed.flow().header("bad")
    assert statuses(signed) == FILLED


def test_damaged_run_is_deleted(shop: Shop) -> None:
    """A run whose snapshot is damaged is refused by the others, and can be deleted."""
    damage_header(shop, "bad")
    assert shop.bare("requeue", "bad", "--write").code == 5
    assert shop.bare("delete", "bad", "--write", "--yes").code == 0
    assert "bad" not in statuses(shop)


def test_flow_that_works_by_leases(tmp_path: Path) -> None:
    """The lock of a flow by leases is respected, without a word about it on the command line."""
    with make_shop(tmp_path, "directory", ', lock="lease"') as shop:
        fill(shop)
        with shop.flow().handler.locked("bad"):
            done = shop.bare("requeue", "bad", "--write")
            assert done.code == 4
            assert "is in use by" in done.out
            asked = shop.bare("terminate", "bad", "--write", "--yes")
            assert asked.out == "bad  asked to end, and still in progress\n"
            waited = shop.bare("terminate", "bad", "--write", "--yes", "--wait", "0.01")
            assert (asked.code, waited.code) == (0, 4)
        assert shop.bare("requeue", "bad", "--write").code == 0


@pytest.mark.parametrize("kind", KINDS)
def test_kept_snapshots_stay(kind: str, tmp_path: Path) -> None:
    """A bare store does not tell how many snapshots are kept, and so no older one is deleted."""
    with make_shop(tmp_path, kind, ", keep='all'") as shop:
        fill(shop)
        positions = {header.position for header in shop.flow().history("bad")}
        assert positions == {0, 1, 2}
        assert shop.bare("requeue", "bad", "--write").code == 0
        assert {header.position for header in shop.flow().history("bad")} == positions
        assert shop.bare("terminate", "bad", "--write", "--yes").code == 0
        assert {header.position for header in shop.flow().history("bad")} == positions
        retried = shop.does("retry", "bad", "--from", "approve")
        assert "ValueError: declined" in retried.err
        assert shop.bare("delete", "bad", "--write", "--yes").code == 0
        assert shop.flow().history("bad") == []


def test_several_flows(orders: Shop) -> None:
    """Of several flows one has to be named. Without, the flows are the answer."""
    other = CheckpointFlow("sqlite:///" + str(orders.folder / "orders.db"), name="parcels")
    other.add_step(name="send")(lambda state: None)
    other.run({}, run_id="bad")
    other.handler.close()
    done = orders.bare("delete", "bad", "--write", "--yes")
    assert done.code == 2
    assert "Name one of these flows by --flow" in done.err
    named = orders.bare("delete", "bad", "--flow", "parcels", "--write", "--yes")
    assert (named.code, named.out) == (0, "bad  deleted\n")
    assert statuses(orders) == FILLED


def test_gumly_store_without_a_flow(tmp_path: Path) -> None:
    """A store whose files name no flow is steered by the name of its path."""
    (tmp_path / "empty").mkdir()
    done = invoke("requeue", "empty/", "x", "--write", cwd=tmp_path)
    assert done.code == 3


def test_place_that_is_no_store(tmp_path: Path) -> None:
    """Nothing is made where nothing was."""
    for command in ("requeue", "delete", "terminate"):
        words = ["x", "--write"] if command == "requeue" else ["x", "--write", "--yes"]
        assert invoke(command, "nothing.db", *words, cwd=tmp_path).code == 3
    (tmp_path / "notes.txt").write_text("no store")
    assert invoke("requeue", "notes.txt", "x", "--write", cwd=tmp_path).code in {3, 5}
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_questions_on_a_terminal(tmp_path: Path) -> None:
    """A terminal is asked, with the number and the place. More than 100 runs ask for the number."""
    with make_shop(tmp_path) as shop:
        shop.flow().submit((f"x{number}", {}) for number in range(102))
        shop.flow().handler.close()
        one = ["delete", "orders.db", "x0", "--write"]
        yes = in_pty(*one, typed="yes\n", cwd=shop.folder)
        assert "Delete 1 run in orders.db: 'x0'? Type yes to go on:" in yes.out
        assert (yes.code, len(statuses(shop))) == (0, 101)
        many = ["prune", "orders.db", "--older-than", "0s", "--status", "queued", "--write"]
        no = in_pty(*many, typed="yes\n", cwd=shop.folder)
        assert "Delete 101 runs in orders.db: " in no.out
        assert "Type 101 to go on:" in no.out
        assert (no.code, len(statuses(shop))) == (1, 101)


def test_backup_and_compact(shop: Shop) -> None:
    """A copy holds the same runs, and nothing is overwritten."""
    place = "copy/" if shop.store == "orders/" else f"copy-{shop.store}"
    shop.flow().handler.close()
    files = {path: path.read_bytes() for path in shop.folder.rglob("*") if path.is_file()}
    done = shop.bare("backup", place)
    assert (done.code, done.out) == (0, "")
    assert {path: path.read_bytes() for path in files} == files
    assert f"{shop.store} was copied to {place}." in done.err
    copied = json.loads(invoke("runs", place, "--output", "json", cwd=shop.folder).out)
    assert {run["run_id"]: run["status"] for run in copied["runs"]} == FILLED
    assert shop.bare("backup", place).code == 1
    (shop.folder / "a file").touch()
    assert shop.bare("backup", "a file/copy").code == 1  # Nothing can be made in it.
    freed = shop.bare("compact", "--write", "--output", "json")
    assert json.loads(freed.out)["compact"]["bytes"] >= 0
    assert statuses(shop) == FILLED


@pytest.mark.ordinary
def test_store_that_may_not_be_written(shop: Shop) -> None:
    """Without the right to write, a change fails with the place, and dry runs and copies work."""
    store = shop.folder / ("orders" if shop.store == "orders/" else ".")
    files = [path for path in store.iterdir() if path.is_file()]
    for path in files:
        path.chmod(0o400)
    store.chmod(0o500)
    try:
        for words in ("requeue bad", "delete bad --yes", "terminate bad --yes"):
            done = shop.bare(*words.split(), "--write")
            assert done.code == 1, words
            assert str(shop.folder) in done.out + done.err
        assert shop.bare("requeue", "bad", "--dry-run").code == 0
        with tempfile.TemporaryDirectory(dir=shop.folder.parent) as place:
            copy = f"{place}/copy{'/' if shop.store == 'orders/' else ''}"
            assert shop.bare("backup", copy).code == 0
            assert invoke("count", copy).out == shop.bare("count").out
    finally:
        store.chmod(0o700)
        for path in files:
            path.chmod(0o600)
    assert statuses(shop) == FILLED
