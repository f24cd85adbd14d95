"""Signed runs of a bare store are changed and deleted with their own secret alone."""

from __future__ import annotations

import io
import json
import os
import sqlite3
from contextlib import closing, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from shop import KINDS, Shop, make_shop

from aiocheckpoint import CheckpointFlow
from aiocheckpoint._cli.chosen import chosen_ids
from aiocheckpoint.handlers import LocalStateHandler
from aiocheckpoint.handlers._query import Query

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint import Header
    from aiocheckpoint._cli.context import Context
    from aiocheckpoint.handlers._run_filter import RunFilter

KEY = "a key of more than thirty-two bytes"
RIGHT = {"SHOP_SECRET": KEY}
WRONG = {"SHOP_SECRET": "another secret of more than thirty-two bytes"}
SECRET = ("--secret-env", "SHOP_SECRET")
PRUNE = ("prune", "--older-than", "0s", "--status", "finished,failed", "--yes")
WITH_IDS = ("database", "directory")


def fill(shop: Shop) -> None:
    """Store an order that finished, and one that failed."""
    flow = shop.flow()
    with redirect_stdout(io.StringIO()):
        flow.run({}, run_id="done")
        with suppress(ValueError):
            flow.run({"declined": True}, run_id="bad")
    flow.handler.close()


@pytest.fixture(params=KINDS)
def signed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """A shop with two signed orders, in a store of each kind."""
    with make_shop(tmp_path, request.param, f", secret={KEY!r}") as shop:
        fill(shop)
        yield shop


@pytest.fixture(params=KINDS)
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """A shop with two orders, in a store of each kind."""
    with make_shop(tmp_path, request.param) as shop:
        fill(shop)
        yield shop


def statuses(shop: Shop) -> dict[str | None, str]:
    """The status of each stored order, as the flow sees it."""
    return {header.run_id: header.status for header in shop.flow().runs()}


def damage_states(shop: Shop) -> None:
    """Damage the states of all orders, and no header."""
    if shop.store == "orders.db":
        with closing(sqlite3.connect(shop.folder / "orders.db")) as connection, connection:
            for table in ("runs", "kept"):
                damage = f"UPDATE {table} SET payload = zeroblob(length(payload))"  # noqa: S608
                connection.execute(damage)
        return
    for path in (shop.folder / "orders").rglob("*"):
        stored = path.read_bytes() if path.is_file() else b""
        if stored.endswith(b"aiockpt\n"):
            path.write_bytes(b"\0" + stored[1:])


FILLED = {"done": "finished", "bad": "failed"}


@pytest.mark.parametrize("words", [("delete", "bad", "--yes"), PRUNE], ids=("delete", "prune"))
def test_wrong_secret(words: tuple[str, ...], signed: Shop) -> None:
    """Another secret deletes nothing, and a dry run says so."""
    for last in ("--write", "--dry-run"):
        done = signed.bare(*words, *SECRET, last, env=WRONG)
        assert (done.code, "refused" in done.out + done.err) == (5, True), last
        assert statuses(signed) == FILLED


def test_right_secret(signed: Shop) -> None:
    """The secret of a store deletes its runs."""
    assert signed.bare("delete", "bad", "--yes", "--write", *SECRET, env=RIGHT).code == 0
    done = signed.bare(*PRUNE, "--write", *SECRET, env=RIGHT)
    assert (done.code, done.out) == (0, "deleted 1 run: done\n")
    assert statuses(signed) == {}


def test_secret_of_a_pipe(signed: Shop) -> None:
    """A secret is read once, so that a shell may give it by a pipe."""
    reading, writing = os.pipe()
    os.write(writing, KEY.encode())
    os.close(writing)
    words = ("delete", "bad", "--yes", "--write", "--secret-file", f"/dev/fd/{reading}")
    done = signed.bare(*words)
    os.close(reading)
    assert (done.code, done.out) == (0, "bad  deleted\n")


def test_empty_secret(signed: Shop) -> None:
    """An empty variable is no secret."""
    done = signed.bare("delete", "bad", "--yes", "--write", *SECRET, env={"SHOP_SECRET": ""})
    assert (done.code, "SHOP_SECRET is not set" in done.err) == (2, True)
    assert statuses(signed) == FILLED


def test_flow_deletes_what_others_signed(tmp_path: Path) -> None:
    """A flow of a module may delete what is in its own store, whoever has signed it."""
    with make_shop(tmp_path, "directory", f", secret={KEY!r}") as shop:
        other = LocalStateHandler(f"{tmp_path}/orders/", flow="orders", fsync=False)
        other.write({}, "odd")
        assert shop.does("delete", "odd", "--yes").code == 0


@pytest.mark.parametrize("kind", WITH_IDS)
def test_mixed_store(kind: str, tmp_path: Path) -> None:
    """Without a secret the unsigned runs are pruned alone, and with one those that it signs."""
    with make_shop(tmp_path, kind) as shop:
        place = KINDS[kind].replace("orders", f"{tmp_path}/orders", 1)
        given: list[tuple[dict[str, Any], str]] = [({"secret": KEY}, "ab"), ({}, "cdefg")]
        for options, run_ids in given:
            flow = CheckpointFlow[Any](place, name="orders", fsync=False, **options)
            flow.add_step(name="reserve")(lambda state: None)
            for run_id in run_ids:
                flow.run({}, run_id=run_id)
            flow.handler.close()
        dry = shop.bare(*PRUNE, "--dry-run")
        assert (dry.code, dry.out) == (2, "would delete 5 runs: g, f, e, ...\n")
        done = shop.bare(*PRUNE, "--write")
        assert (done.code, done.out) == (2, "deleted 5 runs: g, f, e, ...\n")
        assert done.err.startswith("2 runs are refused, being signed. Name the secret by ")
        with redirect_stdout(io.StringIO()):
            shop.flow().run({}, run_id="new")
        signed = shop.bare(*PRUNE, "--write", *SECRET, "--output", "json", env=RIGHT)
        record = json.loads(signed.out)["prune"]
        assert record == {"deleted": 2, "examples": ["b", "a"], "refused": 1}
        assert (signed.code, statuses(shop)) == (5, {"new": "finished"})


@pytest.mark.parametrize("kind", WITH_IDS)
def test_signed_run_that_is_damaged(kind: str, tmp_path: Path) -> None:
    """Damage to the state of a signed run gives nobody the right to delete it."""
    with make_shop(tmp_path, kind, f', secret={KEY!r}, keep="all"') as shop:
        fill(shop)
        damage_states(shop)
        for last in ("--write", "--dry-run"):
            done = shop.bare("delete", "bad", "--yes", last)
            assert (done.code, "--secret-env" in done.out) == (2, True), last
        assert shop.bare("delete", "bad", "--yes", "--write", *SECRET, env=RIGHT).code == 0


def test_damaged_run_is_not_asked_to_end(shop: Shop) -> None:
    """A damaged run is refused before a request to end it is stored."""
    handler: Any = shop.flow().handler
    if shop.store == "orders.db":
        with closing(sqlite3.connect(shop.folder / "orders.db")) as connection, connection:
            connection.execute("UPDATE runs SET footer = 'x' WHERE run_id = 'bad'")
    else:
        path = Path(handler.locate("bad"))
        path.write_bytes(path.read_bytes()[:-5])
    assert shop.bare("terminate", "bad", "--write", "--yes").code == 5
    assert handler.read_ending("bad") is None


def test_age(shop: Shop) -> None:
    """Younger runs are neither counted nor named."""
    for call in (shop.bare, shop.does):
        done = call("prune", "--older-than", "1d", "--dry-run")
        assert (done.code, done.out) == (0, "would delete 0 runs\n")
        done = call("prune", "--older-than", "0s", "--dry-run")
        assert (done.code, done.out) == (0, "would delete 1 run: done\n")


def test_run_that_was_terminated_meanwhile(shop: Shop) -> None:
    """A run that does not fit the filter any more is not made due."""

    def slow(context: Context, *rest: RunFilter | None) -> list[str | None]:
        found = chosen_ids(context, *rest)
        shop.flow().terminate("bad", "by Ann")
        return found

    with mock.patch("aiocheckpoint._cli.commands.requeue.chosen_ids", slow):
        done = shop.bare("requeue", "--status", "failed", "--write")
    assert (done.code, "does not fit the filter any more" in done.out) == (6, True)
    assert statuses(shop)["bad"] == "terminated"


def test_run_that_was_signed_meanwhile(tmp_path: Path) -> None:
    """A run is looked at once more under its lock, before it is pruned."""
    handler = LocalStateHandler(f"{tmp_path}/orders/", flow="orders", fsync=False)
    signing = LocalStateHandler(f"{tmp_path}/orders/", flow="orders", fsync=False, secret=KEY)
    handler.write({}, "a")
    headers = handler.runs(Query())
    handler.remove("a")
    signing.write({}, "a")

    def listed(query: Query) -> list[Header]:
        del query
        return headers

    with mock.patch.object(handler, "runs", listed):
        assert handler.prune_trusted(Query()) == 0
    assert signing.prune_trusted(Query()) == 1
