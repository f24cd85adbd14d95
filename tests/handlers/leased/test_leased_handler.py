"""The handler of a leased store: connections, forks, the end of the process, lists and options."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from leased_processes import LeasedProcess, lease_of
from locations import program
from memory_store import MemoryConnection, MemoryHandler, MemoryServer

from aiocheckpoint import CheckpointFlow, InvalidValueError, StorageError
from aiocheckpoint.handlers._query import Query
from aiocheckpoint.handlers._run_filter import RunFilter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint.handlers.leased import RunRow, StoreConnection


@pytest.fixture
def server() -> MemoryServer:
    """Start a server."""
    return MemoryServer()


@pytest.fixture
def handler(server: MemoryServer) -> Iterator[MemoryHandler]:
    """Make a handler, and close it."""
    handler = MemoryHandler(server, lease=5.0)
    yield handler
    server.start()
    handler.close()


def test_one_writer_for_one_store(server: MemoryServer, handler: MemoryHandler) -> None:
    """Handlers of one store with the same options share connections. Others have their own."""
    same = MemoryHandler(server, flow="other", lease=5.0, keep=3)
    apart = MemoryHandler(server, lease=6.0)
    with handler.locked("x"), same.locked("x"), apart.locked("y"):
        assert (len(server.tables.owners), len(server.sessions)) == (2, 2)
    apart.close()
    assert len(server.tables.owners) == 1


def test_forked_child() -> None:
    """A child holds no lease of its parent, is an owner of its own, and ends no session."""
    command = [sys.executable, str(program("leased_fork_script.py"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["before"] == {"sessions": 2, "owners": 1}
    assert seen["child"]["held"] is False
    assert seen["child"]["owner before"] == ""
    # The parent's two sessions are left open, and the child has a writer and a reader of its own.
    assert seen["child"]["then"] == {"sessions": 4, "owners": 2}
    assert seen["child"]["runs"] == 2
    assert seen["parent"] == {"held": True, "then": {"sessions": 2, "owners": 1}, "runs": 1}
    assert seen["closed"] == {"sessions": 0, "owners": 0}


@pytest.mark.parametrize(("way", "expected"), [("calm", "0 0"), ("outage", "1 0")])
def test_end_of_the_process(way: str, expected: str) -> None:
    """The end of the process gives leases back, and an outage does not hold it up."""
    command = [sys.executable, str(program("leased_exit_script.py")), way]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout.strip()) == (0, expected), done.stderr


def test_close(server: MemoryServer, handler: MemoryHandler) -> None:
    """A close ends all sessions and leases. The next use connects anew, as another owner."""
    handler.write({"n": 1}, "x")
    lease = handler.lock("x")
    lease.acquire()
    owner = set(server.tables.owners)
    assert handler.read("x")["n"] == 1
    handler.close_unused()
    assert handler._client._processor.is_in_use  # noqa: SLF001
    handler.close()
    assert (lease.held, server.sessions, server.tables.owners) == (False, set(), {})
    with handler.locked("x"):
        assert not owner & set(server.tables.owners)


def test_connections_for_reading(server: MemoryServer, handler: MemoryHandler) -> None:
    """Readings at the same time have a connection each. Few of these are kept."""
    handler.write({"n": 1}, "x")
    handler.count()
    writers = 1
    barrier = threading.Barrier(7)

    def read(_: StoreConnection) -> None:
        barrier.wait(60)
        barrier.wait(60)

    client = handler._client  # noqa: SLF001
    threads = [threading.Thread(target=client.read, args=(read,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    barrier.wait(60)
    assert len(server.sessions) == writers + 6
    barrier.wait(60)
    for thread in threads:
        thread.join(60)
    assert len(server.sessions) <= writers + 4


def test_reading_that_fails(server: MemoryServer, handler: MemoryHandler) -> None:
    """A connection on which something failed is closed, and not used again."""
    handler.write({"n": 1}, "x")
    handler.count()
    before = set(server.sessions)

    def fail(_: StoreConnection) -> None:
        raise StorageError("memory", "no such table")

    with pytest.raises(StorageError, match="no such table"):
        handler._client.read(fail)  # noqa: SLF001
    assert len(server.sessions & before) == 1
    assert handler.count() == 1


def test_list_of_unowned_runs(server: MemoryServer) -> None:
    """One list right after a kill finds the run: it looks at the dead owner twice."""
    handler, dead, lease = MemoryHandler(server, flow="f"), LeasedProcess(server), lease_of("x")
    dead.carry_out(dead.claim(lease, dead.snapshot(lease, "running", 0)))
    assert handler.runs(Query(unowned=True)) == []
    dead.session.connection.close()  # It never comes back.
    (found,) = handler.runs(Query(unowned=True))
    assert (found.run_id, found.owner, found.killed) == ("x", None, 1)
    handler.close()


def test_owner_in_lists(server: MemoryServer, handler: MemoryHandler) -> None:
    """Lists name the process that owns a run, and say of a run that its owner was killed."""
    handler.write({"n": 1}, "x")
    other = MemoryHandler(server, lease=6.0)
    with other.locked("x"):
        (found,) = handler.runs(Query())
        header = handler.header("x")
        assert header is not None
        assert found.owner is not None
        assert header.owner == found.owner
    (found,) = handler.runs(Query())
    assert found.owner is None
    other.close()


def test_pages(server: MemoryServer, handler: MemoryHandler) -> None:
    """A list by a filter that the store leaves to the headers reads pages until it is full."""
    cp = CheckpointFlow("memory", handler=handler, name="memory")
    cp.add_step(name="a")(lambda state: None)
    cp.submit({f"{number}": {"n": number} for number in range(130)})
    asked: list[RunRow | None] = []
    real = MemoryConnection.list_runs

    def list_runs(self: MemoryConnection, *args: Any) -> list[RunRow]:  # noqa: ANN401
        asked.append(args[2])
        return real(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryConnection, "list_runs", list_runs)
        found = handler.runs(Query(limit=3, where=RunFilter(ids="12?")))
    assert [header.run_id for header in found] == ["129", "128", "127"]
    ids = {header.run_id for header in handler.runs(Query(where=RunFilter(ids="*7")))}
    assert ids == {f"{number}" for number in range(130) if f"{number}".endswith("7")}
    assert handler.count(where=RunFilter(ids="1*")) == 41
    assert handler.prune(Query(where=RunFilter(ids="1*"))) == 41
    assert handler.count() == 89
    assert asked[0] is None


def test_damaged_rows(server: MemoryServer, handler: MemoryHandler) -> None:
    """A run whose footer is damaged is left out of lists, and a page is filled up for it."""
    for number in range(5):
        handler.write({"n": number}, f"{number}")
        time.sleep(0.002)
    key = b"memory", b"3"
    server.tables.runs[key] = server.tables.runs[key]._replace(footer=b"damaged")
    found = handler.runs(Query(limit=3))
    assert [header.run_id for header in found] == ["4", "2", "1"]


@pytest.mark.parametrize("options", [{"lease": 0}, {"patience": -1}, {"patience": float("inf")}])
def test_bad_options(server: MemoryServer, options: dict[str, Any]) -> None:
    """Options that cannot be meant are refused at once."""
    with pytest.raises(InvalidValueError, match=next(iter(options))):
        MemoryHandler(server, **options)


def test_repr(server: MemoryServer) -> None:
    """The options that are not the defaults are shown."""
    assert repr(MemoryHandler(server)) == "MemoryHandler(flow='memory')"
    shown = "MemoryHandler(flow='memory', keep=2, lease=5.0, patience=1.0)"
    assert repr(MemoryHandler(server, keep=2, lease=5, patience=1)) == shown


def test_unused_handlers_are_collected(server: MemoryServer) -> None:
    """A handler that nobody has any more is closed with its thread and its sessions."""
    handler = MemoryHandler(server, lease=7.0)
    handler.write({"n": 1}, "x")
    assert handler.count() == 1
    del handler
    deadline = time.monotonic() + 60.0
    while server.sessions and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.sessions == set()
