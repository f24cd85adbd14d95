"""Looks at a PostgreSQL store: as at every store, and with no right but that to read."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from forged_snapshots import Canary
from looked_at import SERVER, make_store
from postgres_runs import PostgresRuns, execute
from run_factories import active_run
from shared_tests import shared_tests
from standby import standby

from aiocheckpoint import (
    CheckpointFlow,
    IncompatibleSnapshotError,
    InvalidValueError,
    StorageError,
    UntrustedSnapshotError,
    inspect,
    inspect_all,
)
from aiocheckpoint.handlers import RunFilter
from aiocheckpoint.look import check_store, open_store, store_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pgbouncer import PgBouncer
    from postgres_server import PostgresServer

CHOSEN = shared_tests("look", "test_choosing_runs")
STATES = shared_tests("look", "test_states_shown")
DIFFS = shared_tests("look", "test_step_diffs")
DAMAGED = shared_tests("look", "test_damaged_stores")
FOLLOWING = shared_tests("look", "test_following")
KILLED = """
import os, sys
from aiocheckpoint import CheckpointFlow
cp = CheckpointFlow(sys.argv[1], name="orders")
cp.add_step(name="reserve")(lambda state: os.kill(os.getpid(), 9))
cp.run({}, run_id="killed")
"""


@pytest.fixture
def folder(store_url: str, tmp_path: Path) -> Path:
    """Give a folder with the URL of a store, which takes the place of a store there."""
    (tmp_path / SERVER).write_text(store_url, "utf-8")
    return tmp_path


@pytest.mark.parametrize(
    "shared",
    [
        CHOSEN.test_filters_and_counts,
        CHOSEN.test_bad_arguments,
        STATES.test_history,
        STATES.test_values_and_sizes,
        STATES.test_differences,
        STATES.test_lists_are_those_of_the_flow,
        DIFFS.test_a_finished_and_a_failed_run,
        DIFFS.test_values_on_demand,
        DIFFS.test_runs_that_were_steered,
        DAMAGED.test_signatures,
        DAMAGED.test_unsigned_where_secrets_are_given,
    ],
    ids=lambda test: test.__name__,
)
def test_as_at_every_store(shared: Callable[..., None], folder: Path) -> None:
    """Runs, counts, states and differences are shown as those of any other store."""
    shared(SERVER, folder)


@pytest.mark.parametrize(
    "shared",
    [
        FOLLOWING.test_runs_of_a_store,
        FOLLOWING.test_a_claim_is_a_change,
        FOLLOWING.test_a_filter_chooses_the_runs,
        FOLLOWING.test_one_run,
        FOLLOWING.test_progress_of_one_run,
    ],
    ids=lambda test: test.__name__,
)
def test_following_as_of_every_store(shared: Callable[..., None], store_url: str) -> None:
    """Claims, steps, ends and deletions are seen as changes, each once."""
    shared(store_url)


@pytest.mark.parametrize(
    "shared",
    [DAMAGED.test_a_damaged_header, DAMAGED.test_a_damaged_payload, DAMAGED.test_a_copied_run],
    ids=lambda test: test.__name__,
)
def test_damage_as_in_every_store(
    shared: Callable[..., None], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged header, payload or row is named, and the other runs are shown."""
    monkeypatch.setattr(DAMAGED, "change", change)
    shared(SERVER, folder)


def test_damaged_runs_in_a_choice(folder: Path, store_url: str) -> None:
    """A damaged run is in a choice by columns, and in none that its header would decide."""
    make_store(folder, SERVER)
    change(folder, SERVER, "order-3", lambda data: data[:-9] + b"?" + data[-8:])
    with open_store(store_url) as store:
        failed = RunFilter(statuses=frozenset({"failed"}))
        assert [run.status for run in store.runs(failed)] == ["damaged"]
        assert list(store.runs(failed, damaged=False)) == []
        assert list(store.runs(RunFilter(error="*TimeoutError"))) == []


def change(folder: Path, kind: str, run_id: str, mend: Callable[[bytes], bytes]) -> None:
    """Change the stored bytes of a run."""
    url = (folder / kind).read_text("utf-8")
    ((payload, footer),) = execute(
        url, "SELECT payload, footer FROM runs WHERE run_id = %s", run_id.encode()
    )
    changed = mend(payload + footer)
    parts = changed[: len(payload)], changed[len(payload) :]
    execute(
        url,
        "UPDATE runs SET payload = %s, footer = %s WHERE run_id = %s",
        *parts,
        run_id.encode(),
    )


def test_nothing_there(store_url: str) -> None:
    """A schema that is missing is no store, and no look makes it."""
    with pytest.raises(StorageError, match="Is it the URL that the flow was given") as caught:
        open_store(store_url)
    assert caught.value.errno == errno.ENOENT
    with pytest.raises(StorageError, match="nothing is stored"):
        inspect(store_url, run_id="x")
    with pytest.raises(StorageError, match="nothing is stored"):
        inspect_all(store_url)
    schema = store_url.partition("schema=")[2]
    assert execute(store_url, "SELECT 1 FROM pg_namespace WHERE nspname = %s", schema) == []


def test_headers_without_a_flow(folder: Path, store_url: str) -> None:
    """`inspect` reads the header of a run with its sizes, and `inspect_all` those of all."""
    cp = make_store(folder, SERVER)
    header = inspect(store_url, run_id="order-1")
    assert header.sizes is not None
    assert header.sizes.keys() == {"n", "paid"}
    assert [one.run_id for one in inspect_all(store_url)] == [f"order-{n}" for n in (3, 2, 1, 0)]
    with pytest.raises(StorageError, match="nothing is stored"):
        inspect(store_url, run_id="order-9")
    with pytest.raises(InvalidValueError, match="location of one run"):
        inspect(cp.handler.locate("order-1"))


def test_nothing_is_executed_or_written(folder: Path, store_url: str) -> None:
    """No canary comes true, and no row changes, while each method of a store looks."""
    make_store(folder, SERVER, keep=3, more={"canary": Canary(folder / "mark")})
    before = rows_and_changes(store_url)
    with open_store(store_url) as store:
        assert len(store.flows()) == 1
        for run in store.runs():
            store.run(run.run_id, values=True, sizes=True, diffs=True)
            store.history(run.run_id, keys=True)
            store.diff(run.run_id, values=True)
        assert len(list(store.verify())) == 4
        store.count(("status", "error"))
    inspect_all(store_url)
    assert rows_and_changes(store_url) == before
    assert not (folder / "mark").exists()


def rows_and_changes(url: str) -> list[Any]:
    """All rows of runs and owners, and which transactions have changed them."""
    tables = ("runs", "kept", "owners", "meta")
    return [
        execute(url, f"SELECT xmin::text, xmax::text, {table}::text FROM {table} ORDER BY ctid")  # noqa: S608
        for table in tables
    ]


def test_connections_of_a_look_refuse_writes(folder: Path, store_url: str) -> None:
    """The server itself keeps a look from writing."""
    make_store(folder, SERVER)
    with open_store(store_url) as store:
        reader: Any = store._reader  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        with pytest.raises(StorageError, match="25006"):
            reader.database.read("UPDATE SCHEMA.runs SET token = 0 RETURNING id")
        assert len(list(store.runs())) == 4


@pytest.fixture
def reading_role(postgres: PostgresServer, folder: Path, store_url: str) -> str:
    """Give the URL of a store for a user who may read its tables, and nothing else."""
    make_store(folder, SERVER, keep=3).handler.close()
    schema = store_url.partition("schema=")[2]
    role = f"reader_of_{schema}"
    postgres.sql(f'CREATE ROLE "{role}" LOGIN')
    postgres.sql(f'GRANT USAGE ON SCHEMA "{schema}" TO "{role}"')
    postgres.sql(f'GRANT SELECT ON ALL TABLES IN SCHEMA "{schema}" TO "{role}"')
    return store_url.replace("postgres@", f"{role}@")


def test_with_the_right_to_select_alone(reading_role: str) -> None:
    """A user who may only select sees all of it, and is refused to write at once."""
    with open_store(reading_role) as store:
        assert store.flows()[0].counts == {"finished": 3, "failed": 1}
        assert store.run("order-1", values=True).damage is None
        assert len(store.history("order-1")) == 3
        assert len(list(store.verify())) == 4
    cp: CheckpointFlow[Any] = CheckpointFlow(reading_role, name="orders")
    cp.add_step(name="reserve")(lambda state: None)
    assert len(cp.runs()) == 4
    assert cp.read("order-1")["n"] == 1
    with pytest.raises(StorageError, match=r"docs/postgres\.md"):
        cp.run({}, run_id="new")
    cp.handler.close()


def test_on_a_standby(own_postgres: PostgresServer, tmp_path: Path) -> None:
    """A standby shows the store of its primary, an owner that is alive there too."""
    (tmp_path / SERVER).write_text(own_postgres.url())
    make_store(tmp_path, SERVER)
    cp: CheckpointFlow[Any] = CheckpointFlow(own_postgres.url(), name="orders")
    with standby(own_postgres) as second, active_run(cp, "held"):
        with open_store(second.url()) as store:
            assert store.count().total == 5
            held = store.run("held")
            assert (held.status, held.stale) == ("running", False)
            hints = [one.kind for one in check_store(store) if one.hint]
            assert hints == ["standby"]
        assert len(inspect_all(second.url())) == 5
    cp.handler.close()


def test_behind_a_pooler(folder: Path, store_url: str, pooler: PgBouncer) -> None:
    """A look goes through a pooler, whose sessions change with each transaction."""
    make_store(folder, SERVER, keep=3)
    with open_store(pooler.url(schema=store_url.partition("schema=")[2])) as store:
        assert [run.run_id for run in store.runs()] == [f"order-{n}" for n in (3, 2, 1, 0)]
        assert store.run("order-1", values=True, diffs=True).damage is None
        assert store.count(("status", "step")).total == 4


def test_a_run_in_progress_and_a_killed_one(folder: Path, store_url: str) -> None:
    """The owner of a run in progress is shown at once, and so is that another one is gone."""
    runs = PostgresRuns.on(store_url)
    cp = runs.empty_flow(name="orders")
    with active_run(cp, "held"), open_store(store_url) as store:
        done = subprocess.run([sys.executable, "-c", KILLED, store_url], check=False)
        assert done.returncode == -9
        held, killed = store.run("held"), store.run("killed")
        assert held.owner is not None
        assert f"process {os.getpid()}" in held.owner
        assert (held.status, held.stale) == ("running", False)
        assert (killed.status, killed.owner, killed.stale) == ("running", None, True)
    cp.handler.close()


def test_the_server_was_away_between_two_looks(
    own_postgres: PostgresServer, tmp_path: Path
) -> None:
    """A store that is open looks on after a restart of the server, over another connection."""
    (tmp_path / SERVER).write_text(own_postgres.url())
    make_store(tmp_path, SERVER)
    with open_store(own_postgres.url()) as store:
        assert store.count().total == 4
        own_postgres.restart()
        assert store.count().total == 4
        own_postgres.stop()
        with pytest.raises(StorageError, match="out of reach"):
            store.count()


def test_tables_of_others_and_of_later_releases(folder: Path, store_url: str) -> None:
    """A look refuses tables that it does not know, as a flow does."""
    make_store(folder, SERVER)
    execute(store_url, "UPDATE meta SET value = '99' WHERE name = 'needed'")
    with pytest.raises(IncompatibleSnapshotError, match="install a later release"):
        open_store(store_url)
    execute(store_url, "UPDATE meta SET value = 'another' WHERE name = 'program'")
    with pytest.raises(StorageError, match="another program"):
        open_store(store_url)


def test_several_flows(store_url: str) -> None:
    """Of a schema with several flows, a list needs the name of one."""
    for name in ("orders", "refunds"):
        cp: CheckpointFlow[Any] = CheckpointFlow(store_url, name=name)
        cp.add_step(name="reserve")(lambda state: None)
        cp.run({}, run_id="order-1")
        cp.handler.close()
    store = open_store(store_url)
    assert [flow.flow for flow in store.flows()] == ["orders", "refunds"]
    with pytest.raises(InvalidValueError, match="'orders', 'refunds'"):
        store.run("order-1")
    assert store.run("order-1", flow="refunds").flow == "refunds"


def test_a_flows_own_store(folder: Path) -> None:
    """`store_of` looks with the secrets of a flow, and says which store it is."""
    secret = "s" * 32
    cp = make_store(folder, SERVER, secret=secret)
    with store_of(cp.handler) as store:
        assert {run.verified for run in store.runs()} == {True}
        assert "127.0.0.1" in repr(store)
    other: CheckpointFlow[Any] = CheckpointFlow(
        (folder / SERVER).read_text(), name="orders", secret="o" * 32
    )
    with closing(other.handler), pytest.raises(UntrustedSnapshotError):
        other.read("order-1")
    assert {run.status for run in store_of(other.handler).runs()} == {"damaged"}
