"""The tables in a PostgreSQL database: made once, migrated, refused, and used with few rights."""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING

import psycopg
import pytest
from postgres_connections import connected, server_connection

from aiocheckpoint.errors import IncompatibleSnapshotError, StorageError
from aiocheckpoint.handlers.postgres import PostgresStateHandler, _schema
from aiocheckpoint.handlers.postgres._schema import MIGRATIONS, TABLES, Migration, set_up

if TYPE_CHECKING:
    from pgbouncer import PgBouncer
    from postgres_server import PostgresServer

ROLE = "service"


def execute(url: str, *statements: str) -> None:
    """Execute statements as another program."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def fact(url: str, name: str) -> str | None:
    """Read a row of the table `meta`."""
    with psycopg.connect(url) as connection:
        statement = "SELECT value FROM aiocheckpoint.meta WHERE name = %s"
        found = connection.execute(statement, (name,)).fetchone()
    return None if found is None else found[0]


def test_made_once(database_url: str) -> None:
    """The first connection that writes makes the tables, and later ones leave them as they are."""
    with server_connection(database_url) as first:
        assert not set_up(first, writes=False)
        assert set_up(first, writes=True)
        assert set_up(first, writes=False)
        first.write("INSERT INTO SCHEMA.draining_owners (id) VALUES ('a')")
    with server_connection(database_url) as second:
        assert set_up(second, writes=True)
        assert second.rows("SELECT id FROM SCHEMA.draining_owners") == [("a",)]
    assert fact(database_url, "level") == str(len(MIGRATIONS))


def test_making_is_logged_once(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """The log says where tables were made, so that a mistyped schema is found."""
    caplog.set_level("INFO", logger="aiocheckpoint")
    for _ in range(2):
        with connected(database_url, "jobs"):
            pass
    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert "made the tables of this library in the schema 'jobs' of postgresql://" in caplog.text
    assert caplog.text.count("jobs") == 1


def test_all_tables_are_known(database_url: str) -> None:
    """The names that are looked for in a schema are those of the tables that are made."""
    with connected(database_url) as connection:
        statement = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'aiocheckpoint'"
        assert {name for (name,) in connection.server.rows(statement)} == set(TABLES)


def test_two_processes_make_them_at_once(database_url: str) -> None:
    """Of many connections that find no tables at the same moment, one makes them for all."""
    barrier, failures = threading.Barrier(8), list[BaseException]()

    def make() -> None:
        try:
            with server_connection(database_url) as one:
                barrier.wait()
                assert set_up(one, writes=True)
        except BaseException as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_older_tables_are_migrated(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of an earlier release get what they lack, and keep the runs that are in them."""
    PostgresStateHandler(database_url).write({"n": 1}, "kept")
    added = Migration(
        (
            "ALTER TABLE SCHEMA.runs ADD COLUMN later bigint",
            "UPDATE SCHEMA.runs SET later = 5",
        ),
        needed=False,
    )
    monkeypatch.setattr(_schema, "MIGRATIONS", (*MIGRATIONS, added))
    with connected(database_url) as connection:
        assert connection.server.rows("SELECT later FROM SCHEMA.runs") == [(5,)]
    assert fact(database_url, "level") == str(len(MIGRATIONS) + 1)
    assert PostgresStateHandler(database_url).read("kept") == {"n": 1}


def test_neighbouring_release_uses_them(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of the release before goes on in tables that have only gained a column."""
    added = Migration(("ALTER TABLE SCHEMA.runs ADD COLUMN later bigint",), needed=False)
    with monkeypatch.context() as patch:
        patch.setattr(_schema, "MIGRATIONS", (*MIGRATIONS, added))
        with connected(database_url):
            pass
    handler = PostgresStateHandler(database_url)
    handler.write({"n": 1}, "a")
    assert handler.read("a") == {"n": 1}
    assert fact(database_url, "level") == str(len(MIGRATIONS) + 1)


@pytest.mark.parametrize("writes", [True, False])
def test_later_tables_are_refused(
    database_url: str, monkeypatch: pytest.MonkeyPatch, *, writes: bool
) -> None:
    """A process does not touch tables of a release whose changes it would not understand."""
    changed = Migration(("ALTER TABLE SCHEMA.runs RENAME COLUMN token TO fence",), needed=True)
    with monkeypatch.context() as patch:
        patch.setattr(_schema, "MIGRATIONS", (*MIGRATIONS, changed))
        with server_connection(database_url) as later:
            assert set_up(later, writes=True)
    with (
        pytest.raises(IncompatibleSnapshotError, match="install a later release"),
        connected(database_url, writes=writes),
    ):
        pass


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE aiocheckpoint.runs (id int)",
        "CREATE TABLE aiocheckpoint.meta (id int)",
        "CREATE TABLE aiocheckpoint.meta (name text, value text)",
        "CREATE VIEW aiocheckpoint.owners AS SELECT 1 AS one",
        "CREATE TABLE aiocheckpoint.meta (name text, value text, more text)",
    ],
)
def test_foreign_tables_are_left_alone(database_url: str, statement: str) -> None:
    """A schema with a table of another program is refused, with the remedy, and not changed."""
    execute(database_url, "CREATE SCHEMA aiocheckpoint", statement)
    with (
        pytest.raises(StorageError, match="another schema, by schema=") as info,
        connected(database_url),
    ):
        pass
    assert info.value.errno == errno.EBADMSG
    with psycopg.connect(database_url) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
            "WHERE nspname = 'aiocheckpoint' AND relkind IN ('r', 'v')"
        ).fetchone()
    assert found == (1,)


@pytest.mark.parametrize("writes", [True, False])
@pytest.mark.parametrize("name", ["level", "needed"])
@pytest.mark.parametrize("value", ["abc", "", "-1", "0", "1.0", "9" * 6000, "\u0661", None])
def test_changed_facts(value: str | None, name: str, database_url: str, *, writes: bool) -> None:
    """A row of `meta` that is no number is an error that names the schema, and changes nothing."""
    with connected(database_url):
        pass
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DELETE FROM aiocheckpoint.meta WHERE name = %s", (name,))
        if value is not None:
            connection.execute("INSERT INTO aiocheckpoint.meta VALUES (%s, %s)", (name, value))
    with (
        pytest.raises(StorageError, match="in the schema 'aiocheckpoint'"),
        connected(database_url, writes=writes),
    ):
        pass
    assert fact(database_url, name) == value


def test_other_tables_beside(database_url: str) -> None:
    """Tables of other names in the schema are none of the library's business."""
    execute(database_url, "CREATE SCHEMA shop", "CREATE TABLE shop.orders (id int)")
    handler = PostgresStateHandler(database_url, schema="shop")
    handler.write({"n": 1}, "a")
    assert handler.read("a") == {"n": 1}


def test_schemas_are_apart(database_url: str) -> None:
    """A run in one schema is unknown in another one, whose name may have any letters."""
    for schema in ("jobs", "Jobs", "my-jobs"):
        handler = PostgresStateHandler(database_url, schema=schema, flow="f")
        assert handler.read("a") == {}
        handler.write({"schema": schema}, "a")
    assert PostgresStateHandler(database_url, schema="Jobs", flow="f").read("a") == {
        "schema": "Jobs"
    }


def test_search_path_is_never_asked(postgres: PostgresServer, database: str) -> None:
    """Tables of the same names in the user's own schemas are neither read nor written."""
    decoys = [f"CREATE TABLE public.{table} (id int)" for table in TABLES]
    url = postgres.url(database)
    execute(url, *decoys, f'ALTER DATABASE "{database}" SET search_path = public')
    handler = PostgresStateHandler(url, keep=3)
    for number in range(5):
        handler.write({"n": number}, "a")
    assert handler.read("a") == {"n": 4}
    assert len(handler.kept("a")) == 2
    with psycopg.connect(url) as connection:
        for table in TABLES:
            counted = connection.execute(f"SELECT count(*) FROM public.{table}".encode())  # noqa: S608
            assert counted.fetchone() == (0,)


@pytest.mark.parametrize("isolation", ["serializable", "repeatable read"])
def test_isolation_of_the_database(
    isolation: str, database_url: str, database: str, pooler: PgBouncer
) -> None:
    """The isolation that a database gives its transactions by default is not used."""
    setting = f"default_transaction_isolation = '{isolation}'"
    execute(database_url, f'ALTER DATABASE "{database}" SET {setting}')
    asked = "SHOW transaction_isolation"
    with connected(database_url) as direct, connected(pooler.url(database)) as pooled:
        assert direct.server.rows(asked) == [("read committed",)]
        for connection in (direct, pooled):
            with connection.transaction():
                assert connection.server.rows(asked) == [("read committed",)]


def test_missing_rights(postgres: PostgresServer, database: str) -> None:
    """A user who may neither use the tables nor make them is told where the SQL for both is."""
    postgres.sql("CREATE ROLE nobody LOGIN")
    try:
        mine, theirs = postgres.url(database), postgres.url(database, user="nobody")
        for _ in range(2):  # Without the tables, and with tables of somebody else.
            handler = PostgresStateHandler(theirs, flow="f")
            with pytest.raises(StorageError, match=r"docs/postgres\.md") as info:
                handler.write({"n": 1}, "a")
            assert info.value.errno == errno.EACCES
            PostgresStateHandler(mine, flow="f").write({"n": 0}, "a")
    finally:
        postgres.drop_database(database)
        postgres.sql("DROP ROLE nobody")


def test_tables_that_were_dropped(database_url: str) -> None:
    """A schema that is dropped in use is an error at once, and the next use makes it again."""
    handler = PostgresStateHandler(database_url)
    handler.write({"n": 1}, "a")
    execute(database_url, "DROP SCHEMA aiocheckpoint CASCADE")
    with pytest.raises(StorageError, match="tables are missing"):
        handler.write({"n": 2}, "a")
    handler.close()
    handler.write({"n": 3}, "a")
    assert handler.read("a") == {"n": 3}


def test_no_tables_to_read(database_url: str) -> None:
    """Where no process has written yet, nothing is stored, and reading makes no tables."""
    with connected(database_url, writes=False) as connection:
        assert connection.read_snapshot((b"f", b"a"), None) is None
        with psycopg.connect(database_url) as other:
            assert other.execute("SELECT to_regnamespace('aiocheckpoint')").fetchone() == (None,)
        PostgresStateHandler(database_url, flow="f").write({"n": 1}, "a")
        assert connection.read_snapshot((b"f", b"a"), None) is not None
