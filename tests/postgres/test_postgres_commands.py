"""The command line on PostgreSQL: as on every store, and no password in any of its words."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import cli
import pytest
import shop as shops
from cli import Invoked, in_pty, spawn
from order_store import called_at_quarter_to, open_orders, store_orders
from postgres_runs import execute
from shared_tests import shared_tests
from shop import Shop, make_shop

from aiocheckpoint import CheckpointFlow
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint.handlers.postgres._url import parse_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from postgres_server import PostgresServer

PASSWORD = "geheim-canary"  # noqa: S105 - of a server that does not ask
DATABASE = "orders.db"
"""What a command line of the shared tests names, in the place of the URL."""

RUNS = shared_tests("cli", "test_runs_command")
SHOWN = shared_tests("cli", "test_show_command")
COUNTED = shared_tests("cli", "test_flows_and_count_commands")
STORES = shared_tests("cli", "test_steering_stores")
STEERED = shared_tests("cli", "test_steering_runs")
CANARIES = shared_tests("cli", "test_canaries_of_commands")


class Commands:
    """Calls of the command line with the URL in the place of the name of a database.

    Attributes:
        url: The URL, with a password.
    """

    def __init__(self, url: str) -> None:
        """Begin with a URL."""
        self.url = url
        self._invoke: Callable[..., Invoked] = cli.invoke

    def __call__(self, *words: object, **options: Any) -> Invoked:  # noqa: ANN401
        """Call it. No word of it is the password, and the URL is shown by the name."""
        given = [self.url if word == DATABASE else word for word in words]
        done = self._invoke(*given, **options)
        assert PASSWORD not in done.out + done.err
        shown = parse_url(self.url).place
        return Invoked(
            done.code, done.out.replace(shown, DATABASE), done.err.replace(shown, DATABASE)
        )


@pytest.fixture
def url(store_url: str) -> str:
    """Give the URL of a store with a password, for which the server does not ask."""
    return store_url.replace("postgres@", f"postgres:{PASSWORD}@")


@pytest.fixture
def commands(url: str, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Let the shared tests call the command line with this store."""
    made = Commands(url)
    for module in (RUNS, SHOWN, COUNTED, STORES, shops):
        monkeypatch.setattr(module, "invoke", made)
    return made


@pytest.fixture
def orders(url: str, commands: Commands, tmp_path: Path) -> Iterator[Path]:
    """Give a folder with the module of orders, which are stored on the server."""
    del commands
    with called_at_quarter_to():
        yield store_orders(tmp_path, url=url)


@pytest.fixture
def shop(url: str, commands: Commands, tmp_path: Path) -> Iterator[Shop]:
    """Give a shop with four orders on the server."""
    del commands
    with make_shop(tmp_path, url=url) as made:
        STORES.fill(made)
        yield made


@pytest.fixture
def empty_shop(url: str, commands: Commands, tmp_path: Path) -> Iterator[Shop]:
    """Give a shop without an order on the server."""
    del commands
    with make_shop(tmp_path, url=url) as made:
        yield made


READING = [
    RUNS.test_all,
    RUNS.test_one_status,
    RUNS.test_module_target,
    RUNS.test_no_header,
    RUNS.test_wide,
    RUNS.test_json,
    RUNS.test_json_of_nothing,
    RUNS.test_no_number,
    SHOWN.test_failed_run,
    SHOWN.test_traceback,
    SHOWN.test_what_comes_next,
    SHOWN.test_pause_names_the_command_that_answers,
    SHOWN.test_json,
    SHOWN.test_no_such_run,
    COUNTED.test_flows,
    COUNTED.test_count_as_json,
    *(partial(RUNS.test_filters, words) for words in RUNS.FILTERS),
    *(partial(RUNS.test_titles, words) for words in RUNS.TITLES),
    *(partial(COUNTED.test_counts, words) for words in COUNTED.COUNTS),
    *(partial(SHOWN.test_first_line, run_id) for run_id in SHOWN.FIRST_LINES),
]


def name_of(shared: Any) -> str:  # noqa: ANN401
    """The name of a shared test, with the words that it is called with."""
    if isinstance(shared, partial):
        return f"{shared.func.__name__}-{shared.args[0]}"
    return str(shared.__name__)


@pytest.mark.parametrize("shared", READING, ids=name_of)
def test_reading_as_of_every_store(shared: Callable[[Path], None], orders: Path) -> None:
    """Lists, counts and cards are as those of any other store, and show no password."""
    shared(orders)


CHANGING = [
    STORES.test_nothing_changes_without_write,
    STORES.test_requeue_of_a_bare_store,
    STORES.test_requeue_of_runs_that_are_named,
    STORES.test_nothing_left_to_do,
    STORES.test_requeue_by_filter,
    STORES.test_requeue_of_runs_that_were_killed,
    STORES.test_terminate,
    STORES.test_delete,
    STORES.test_prune,
]


@pytest.mark.parametrize("shared", CHANGING, ids=name_of)
def test_changing_as_of_every_store(shared: Callable[[Shop], None], shop: Shop) -> None:
    """Runs of a bare store are requeued, terminated, deleted and pruned by their headers."""
    shared(shop)


STEERING = [
    STEERED.test_runs_go_on_where_they_stand,
    STEERED.test_plan,
    STEERED.test_approval,
    STEERED.test_retry,
    STEERED.test_resume_of_several,
    STEERED.test_dry_run_of_a_resume,
    STEERED.test_resume_by_filter,
    STEERED.test_submit_and_work,
    STEERED.test_worker_for_some_runs,
    STEERED.test_submitted_for_later,
    STEERED.test_worker_with_failures,
    STEERED.test_patch,
]


@pytest.mark.parametrize("shared", STEERING, ids=name_of)
def test_steering_as_of_every_store(shared: Callable[[Shop], None], empty_shop: Shop) -> None:
    """Runs of a flow on the server are run, answered, retried, submitted and worked on."""
    shared(empty_shop)


@pytest.mark.parametrize("name", SUMMARIES)
def test_nothing_is_executed(name: str, url: str, tmp_path: Path) -> None:
    """No command loads a state, shows the password, or ends with a code of its own."""
    mark = tmp_path / "hatched"

    def fill() -> None:
        cp: CheckpointFlow[Any] = CheckpointFlow(url, name="birds", keep=3)
        CANARIES.fill(cp, mark)
        cp.handler.close()

    fill()
    for words in CANARIES.command_lines(name, url, CANARIES.FORMS):
        done = cli.invoke(*words, cwd=tmp_path)
        assert not mark.exists(), words
        assert done.code in [*ExitCode], words
        assert "Traceback (most recent call last)" not in done.err, words
        assert PASSWORD not in done.out + done.err, words
        if "--write" in words:
            fill()


MISTAKES = {
    "no host": ("postgresql://ann:{}@127.0.0.1:1/db?connect_timeout=2", ExitCode.FAILED),
    "no database": ("postgresql://postgres:{}@{}/nothing", ExitCode.FAILED),
    "no user": ("postgresql://:{}@{}/", ExitCode.USAGE),
    "not encoded": ("postgresql://ann:a@{}@{}/db", ExitCode.USAGE),
    "unknown option": ("postgresql://ann:{}@{}/db?sslmod=require", ExitCode.USAGE),
    "wrong port": ("postgresql://ann:{}@127.0.0.1:99999/db", ExitCode.USAGE),
    "no tables": ("postgresql://postgres:{}@{}/postgres?schema=nothing_here", ExitCode.NOT_FOUND),
    "wrong schema": ("postgresql://postgres:{}@{}/postgres?schema=a%22b", ExitCode.USAGE),
}


@pytest.mark.parametrize("command", ["runs", "show", "doctor", "delete", "diagram"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(mistake: str, command: str, postgres: PostgresServer, tmp_path: Path) -> None:
    """A wrong address is one line with a documented code, and no part of the password."""
    text, code = MISTAKES[mistake]
    url = text.format(PASSWORD, f"127.0.0.1:{postgres.port}")
    done = cli.invoke(command, url, "order-1", *(["--yes"] if command == "delete" else []))
    if command in {"runs", "doctor"}:
        assert done.code == ExitCode.USAGE  # They take no run.
        done = cli.invoke(command, url, cwd=tmp_path)
    assert (done.code, done.out) == (code, ""), done.err
    assert PASSWORD not in done.err
    assert "canary" not in done.err
    assert "Traceback" not in done.err


def test_a_process_of_its_own(orders: Path, url: str) -> None:
    """As a program of its own it says the same, and a pipe that is closed ends it."""
    done = spawn("runs", url, "--output", "jsonl", cwd=orders)
    assert (done.code, done.err) == (0, "")
    assert len(done.out.splitlines()) == 6
    assert PASSWORD not in done.out
    assert json.loads(done.out.splitlines()[0])["location"].startswith("postgresql://127.0.0.1:")


def test_suggested_command_has_no_password(orders: Path, url: str, commands: Commands) -> None:
    """A suggested command has the URL but for the password, and says how to give that."""
    done = commands("diagram", DATABASE, "order-42", "--check", "steps.txt", cwd=orders)
    assert done.code == ExitCode.FAILED
    without = url.replace(f":{PASSWORD}", "")
    assert f"Draw it: aiocheckpoint diagram '{without}' order-42 --format text" in done.err
    assert "PGPASSWORD" in done.err


def test_missing_rights_have_their_remedy(
    url: str, postgres: PostgresServer, orders: Path, commands: Commands
) -> None:
    """What one run is refused for has the remedy, also in a list, and says who grants it."""
    del commands
    schema = parse_url(url).schema
    postgres.sql("CREATE ROLE onlooker LOGIN")
    for right in ("USAGE ON SCHEMA", "SELECT ON ALL TABLES IN SCHEMA"):
        postgres.sql(f'GRANT {right} "{schema}" TO onlooker')
    looking = postgres.url(user="onlooker", schema=schema)
    try:
        for words in ("requeue", "delete --yes", "terminate --yes"):
            name, *options = words.split()
            done = cli.invoke(name, looking, "order-42", "--write", *options, cwd=orders)
            assert done.code != ExitCode.DONE
            assert "permission denied" in done.out + done.err
            assert "docs/postgres.md" in done.out + done.err
    finally:
        postgres.sql("DROP OWNED BY onlooker")
        postgres.sql("DROP ROLE onlooker")


def test_mistyped_schema(url: str, orders: Path, commands: Commands) -> None:
    """A schema that was mistyped is named with those that have tables, and no file is."""
    del commands
    schema = parse_url(url).schema
    mistyped = url.replace(schema, "aiochekpoint")
    for command in (["runs"], ["show"], ["doctor"], ["delete", "order-42", "--write", "--yes"]):
        done = cli.invoke(command[0], mistyped, *command[1:], cwd=orders)
        assert done.code == ExitCode.NOT_FOUND
        assert "made tables in the schema 'aiochekpoint'. Such tables are in: " in done.err
        assert repr(schema) in done.err
        assert "file" not in done.err
        assert PASSWORD not in done.err


def test_inspect_takes_files_alone(orders: Path, commands: Commands) -> None:
    """A server holds no file of one snapshot."""
    done = commands("inspect", DATABASE, cwd=orders)
    assert done.code == ExitCode.USAGE
    assert "show" in done.err


def test_backup_names_the_tools_of_the_server(orders: Path, commands: Commands) -> None:
    """No file is written for a backup, and the remedy is named."""
    done = commands("backup", DATABASE, "copy.db", cwd=orders)
    assert done.code == ExitCode.USAGE
    assert "pg_dump" in done.err


def test_one_flow_of_several(orders: Path, url: str, commands: Commands) -> None:
    """Where a schema has several flows, the list of them is the answer."""
    cp = open_orders(orders, "bills", url)
    RUNS.queue_run(cp, "bill-1", {})
    cp.handler.close()
    done = commands("runs", DATABASE, cwd=orders)
    assert [line.split()[0] for line in done.out.splitlines()] == ["FLOW", "bills", "orders"]
    listed = commands("runs", DATABASE, "--flow", "bills", "--output", "jsonl", cwd=orders)
    assert [json.loads(line)["run_id"] for line in listed.out.splitlines()] == ["bill-1"]


def test_damaged_runs(orders: Path, url: str, commands: Commands) -> None:
    """A damaged run is listed as such, found by verify, and deleted by its id."""
    store = url.replace(f":{PASSWORD}", "")
    execute(store, "UPDATE runs SET payload = '' WHERE run_id = 'order-42'")
    assert commands("verify", DATABASE, cwd=orders).code == ExitCode.DAMAGED
    assert commands("show", DATABASE, "order-42", cwd=orders).code == ExitCode.DAMAGED
    deleted = commands("delete", DATABASE, "order-42", "--write", "--yes", cwd=orders)
    assert deleted.code == ExitCode.DONE, deleted.err
    assert commands("verify", DATABASE, cwd=orders).code == ExitCode.DONE


def test_the_missing_extra(orders: Path, commands: Commands, monkeypatch: Any) -> None:  # noqa: ANN401
    """Without psycopg the command that installs it is named."""
    for name in [
        name for name in sys.modules if name.startswith("aiocheckpoint.handlers.postgres")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    done = commands("runs", DATABASE, cwd=orders)
    assert done.code == ExitCode.USAGE
    assert "pip install 'aiocheckpoint[postgres]'" in done.err


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is a Linux thing")
def test_the_pager_is_not_given_the_password(orders: Path, url: str) -> None:
    """Neither the words nor the environment of the pager, the one child, have the password."""
    pager, seen = orders / "pager.sh", orders / "seen"
    pager.write_text(f"#!/bin/sh\ncat /proc/$$/cmdline /proc/$$/environ > {seen}\ncat\n")
    pager.chmod(0o755)
    done = in_pty("runs", url, lines=5, env={"PAGER": str(pager)}, cwd=orders)
    assert done.code == 0, done.out
    assert b"pager.sh" in seen.read_bytes()
    assert PASSWORD.encode() not in seen.read_bytes()
    assert PASSWORD not in done.out
