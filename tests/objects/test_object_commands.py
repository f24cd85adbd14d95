"""The command line on an object store: as on every store, and no key in any of its words."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import cli
import pytest
import shop as shops
from cli import Invoked, spawn
from object_server import ADMIN
from order_store import called_at_quarter_to, open_orders, store_orders
from shared_tests import shared_tests
from shop import Shop, make_shop

from aiocheckpoint import CheckpointFlow
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint.look import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


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
        url: The URL, with keys.
    """

    def __init__(self, url: str) -> None:
        """Begin with a URL."""
        self.url = url
        self._invoke: Callable[..., Invoked] = cli.invoke

    def __call__(self, *words: object, **options: Any) -> Invoked:  # noqa: ANN401
        """Call it. No word of it is the secret key, and the URL is shown without its query."""
        given = [self.url if word == DATABASE else word for word in words]
        done = self._invoke(*given, **options)
        assert ADMIN.secret not in done.out + done.err
        shown = f"{self.url.partition('?')[0]}?***"
        return Invoked(
            done.code, done.out.replace(shown, DATABASE), done.err.replace(shown, DATABASE)
        )


@pytest.fixture
def url(bucket_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the URL of a store with its keys, which the environment lacks."""
    for name in ADMIN.environment:
        monkeypatch.delenv(name)
    keys = {"access_key_id": ADMIN.access, "secret_access_key": ADMIN.secret}
    return f"{bucket_url}&{urlencode(keys)}"


@pytest.fixture
def commands(url: str, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Let the shared tests call the command line with this store."""
    made = Commands(url)
    for module in (RUNS, SHOWN, COUNTED, STORES, shops):
        monkeypatch.setattr(module, "invoke", made)
    return made


@pytest.fixture
def orders(url: str, commands: Commands, tmp_path: Path) -> Iterator[Path]:
    """Give a folder with the module of orders, which are stored in the bucket."""
    del commands
    with called_at_quarter_to():
        yield store_orders(tmp_path, url=url)


@pytest.fixture
def shop(url: str, commands: Commands, tmp_path: Path) -> Iterator[Shop]:
    """Give a shop with four orders in the bucket."""
    del commands
    with make_shop(tmp_path, url=url) as made:
        STORES.fill(made)
        yield made


@pytest.fixture
def empty_shop(url: str, commands: Commands, tmp_path: Path) -> Iterator[Shop]:
    """Give a shop without an order in the bucket."""
    del commands
    with make_shop(tmp_path, url=url) as made:
        yield made


READING = [
    RUNS.test_all,
    RUNS.test_one_status,
    RUNS.test_module_target,
    RUNS.test_json,
    RUNS.test_json_of_nothing,
    SHOWN.test_failed_run,
    SHOWN.test_what_comes_next,
    SHOWN.test_pause_names_the_command_that_answers,
    SHOWN.test_json,
    SHOWN.test_no_such_run,
    COUNTED.test_flows,
    COUNTED.test_count_as_json,
    *(partial(RUNS.test_filters, words) for words in RUNS.FILTERS),
    *(partial(COUNTED.test_counts, words) for words in COUNTED.COUNTS),
]


def name_of(shared: Any) -> str:  # noqa: ANN401
    """The name of a shared test, with the words that it is called with."""
    if isinstance(shared, partial):
        return f"{shared.func.__name__}-{shared.args[0]}"
    return str(shared.__name__)


@pytest.mark.parametrize("shared", READING, ids=name_of)
def test_reading_as_of_every_store(shared: Callable[[Path], None], orders: Path) -> None:
    """Lists, counts and cards are as those of any other store, and show no key."""
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
    STEERED.test_submit_and_work,
    STEERED.test_worker_with_failures,
    STEERED.test_patch,
]


@pytest.mark.parametrize("shared", STEERING, ids=name_of)
def test_steering_as_of_every_store(shared: Callable[[Shop], None], empty_shop: Shop) -> None:
    """Runs of a flow in the bucket are run, answered, retried, submitted and worked on."""
    shared(empty_shop)


@pytest.mark.parametrize("name", SUMMARIES)
def test_nothing_is_executed(name: str, url: str, tmp_path: Path) -> None:
    """No command loads a state, shows the key, or ends with a code of its own."""
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
        assert ADMIN.secret not in done.out + done.err, words
        if "--write" in words:
            fill()


def test_a_process_of_its_own(orders: Path, url: str) -> None:
    """As a program of its own it says the same, and a pipe that is closed ends it."""
    done = spawn("runs", url, "--output", "jsonl", cwd=orders)
    assert (done.code, done.err) == (0, "")
    assert len(done.out.splitlines()) == 6
    assert ADMIN.secret not in done.out
    assert json.loads(done.out.splitlines()[0])["location"].startswith("s3://")


def test_no_command_is_suggested(orders: Path, commands: Commands) -> None:
    """A URL with a query may have a key in it, so that no command with it is suggested."""
    done = commands("diagram", DATABASE, "order-42", "--check", "steps.txt", cwd=orders)
    assert (done.code, done.err) == (ExitCode.FAILED, "steps.txt is missing.\n")


def test_backup_names_the_tools_of_the_store(orders: Path, commands: Commands) -> None:
    """No file is written for a backup."""
    done = commands("backup", DATABASE, "copy.db", cwd=orders)
    assert done.code == ExitCode.USAGE


def test_doctor(orders: Path, url: str, commands: Commands) -> None:
    """The doctor looks at the store, and at one that is out of reach or missing."""
    assert commands("doctor", DATABASE, cwd=orders).code == ExitCode.DONE
    missing = url.replace("s3://bucket", "s3://nobucket")
    done = cli.invoke("doctor", missing, cwd=orders)
    assert done.code != ExitCode.DONE
    assert ADMIN.secret not in done.out + done.err


def test_one_flow_of_several(orders: Path, url: str, commands: Commands) -> None:
    """Where a folder has several flows, the list of them is the answer."""
    cp = open_orders(orders, "bills", url)
    RUNS.queue_run(cp, "bill-1", {})
    cp.handler.close()
    done = commands("runs", DATABASE, cwd=orders)
    assert [line.split()[0] for line in done.out.splitlines()] == ["FLOW", "bills", "orders"]
    listed = commands("runs", DATABASE, "--flow", "bills", "--output", "jsonl", cwd=orders)
    assert [json.loads(line)["run_id"] for line in listed.out.splitlines()] == ["bill-1"]


def test_looking(orders: Path, url: str) -> None:
    """`look` reads records of the store, and has no key in them."""
    with open_store(url) as store:
        found = {run.run_id: run for run in store.runs()}
    assert len(found) == 6
    assert ADMIN.secret not in repr(found)


def test_missing_extra(orders: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without obstore the command that installs it is named."""
    for name in [one for one in sys.modules if one.startswith("aiocheckpoint.handlers.objects")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [one for one in sys.modules if one.partition(".")[0] == "obstore"]:
        monkeypatch.setitem(sys.modules, name, None)
    done = commands("runs", DATABASE, cwd=orders)
    assert done.code == ExitCode.USAGE
    assert "pip install 'aiocheckpoint[objects]'" in done.err
