"""What the library says of a PostgreSQL store where a file would have other words."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import cli
import psycopg
import pytest

from aiocheckpoint import CheckpointFlow
from aiocheckpoint.errors import InvalidValueError, LeaseLostError, UnserializableStateError
from aiocheckpoint.handlers.postgres import PostgresStateHandler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support import State


def make_flow(url: str, names: Sequence[str]) -> CheckpointFlow[dict[str, Any]]:
    """Give a flow "orders" whose steps have these names, and note themselves."""
    cp = CheckpointFlow[dict[str, Any]](url, name="orders")
    for name in names:
        cp.add_step(name=name)(lambda state, name=name: state.setdefault("done", []).append(name))
    return cp


@pytest.mark.parametrize("many", [False, True])
async def test_queued_runs_of_another_flow(
    database_url: str, caplog: pytest.LogCaptureFixture, *, many: bool
) -> None:
    """A worker of another flow of the same name leaves them alone, and says so once."""
    one, two = make_flow(database_url, "ab"), make_flow(database_url, "cd")
    if many:
        await one.asubmit({"r": {"n": 1}})
    else:
        await one.asubmit({"n": 1}, run_id="r")
    for _ in range(2):
        assert [result async for result in two.awork(until_empty=True)] == []
    assert [(header.run_id, header.status) for header in one.runs()] == [("r", "queued")]
    assert caplog.text.count("is another flow's of the same name") == 1
    (result,) = [result async for result in one.awork(until_empty=True)]
    assert result.state == {"n": 1, "done": ["a", "b"]}
    one.handler.close()
    two.handler.close()


def test_note_of_a_lost_run(database_url: str) -> None:
    """Where another process has the run, nothing is to be mended, and none is told to reset it."""
    cp = make_flow(database_url, "a")

    @cp.add_step()
    def rob(state: State) -> None:
        with psycopg.connect(database_url) as connection:
            connection.execute("UPDATE aiocheckpoint.runs SET token = token + 1, owner = NULL")

    with pytest.raises(LeaseLostError, match="no longer this run's to write") as info:
        cp.run({}, run_id="r")
    note = "\n".join(info.value.__notes__)
    assert "Another process may go on with the run" in note
    assert "Mend" not in note
    assert "reset" not in note
    assert note.endswith("cp.resume('r')")
    cp.handler.close()


def test_compact(database_url: str) -> None:
    """The server gives space back by its own means, which are named."""
    handler = PostgresStateHandler(database_url)
    handler.write({"n": 1}, "a")
    with pytest.raises(InvalidValueError, match="autovacuum"):
        handler.compact()
    done = cli.invoke("compact", database_url, "--write")
    assert (done.code, done.out) == (2, "")
    assert "VACUUM" in done.err
    assert handler.read("a") == {"n": 1}
    handler.close()


def test_question_names_the_place(database_url: str) -> None:
    """Nobody is asked about a URL whose parts are masked."""
    handler = PostgresStateHandler(database_url, schema="jobs")
    handler.write({"n": 1}, "a")
    url = f"{database_url}?schema=jobs"
    done = cli.invoke("delete", url, "a", "--write")
    assert "schema jobs: 'a'? Nobody can be asked here: add --yes" in done.err
    assert cli.invoke("delete", url, "a", "--write", "--yes").code == 0
    assert handler.read("a") == {}
    handler.close()


def test_run_that_cannot_be_stored(database_url: str) -> None:
    """The list says that nobody runs it. What is stored knows no reason, as it was not changed."""
    cp = make_flow(database_url, "a")

    @cp.add_step()
    def spoil(state: State) -> None:
        state["lock"] = threading.Lock()

    with pytest.raises(UnserializableStateError):
        cp.run({}, run_id="r")
    shown = cli.invoke("show", database_url, "r")
    assert "no process runs it" in shown.out
    assert "is gone" not in shown.out
    assert cp.read("r")["done"] == ["a"]
    cp.handler.close()
