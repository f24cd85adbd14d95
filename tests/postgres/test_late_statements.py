"""A statement that the network delays, until it was repeated over another connection."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import pytest
from postgres_connections import connected

from aiocheckpoint._model.header import Header
from aiocheckpoint.errors import StoreUnreachableError
from aiocheckpoint.handlers.leased import Claim, LeaseRecord, OwnerBeat, Save

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from postgres_server import PostgresServer
    from tcp_proxy import TcpProxy

    from aiocheckpoint.handlers.postgres._connection import PostgresConnection

Result = TypeVar("Result")
OWNER = "a" * 16
KEY = b"f", b"x"


class TwoWays:
    """An owner with a connection that is delayed, and a new one.

    Args:
        old, new: The connections.
        proxy: Delays the old one.
    """

    def __init__(self, old: PostgresConnection, new: PostgresConnection, proxy: TcpProxy) -> None:
        self.new = new
        self.lease = LeaseRecord(KEY, "x", 1, asked_token=7)
        self._old = old
        self._proxy = proxy
        self._beat(old, 1)
        self.claim = Claim(self.lease, (_header(1), b"p", b"1"))

    def _beat(self, connection: PostgresConnection, number: int) -> None:
        connection.heartbeat(OwnerBeat(OWNER, "h", "", 1, "", number, 30.0, connection.session))

    def hold(self) -> None:
        """Claim the run."""
        (run,) = self._old.claim([self.claim], OWNER, 1.0)
        self.lease.row, self.lease.token = run.row, run.token

    def save(self, sequence: int, status: str = "running") -> Save:
        """Make the request for a snapshot."""
        header = _header(sequence, status)
        return Save(self.lease, header, b"p", b"%d" % sequence, None)

    @contextmanager
    def delayed(
        self, statement: Callable[[PostgresConnection], Result]
    ) -> Generator[list[Result | None]]:
        """Let a statement arrive behind the block, in which the new connection has beaten.

        The list gets the result, or None where the server has ended the connection.
        """
        results: list[Result | None] = []
        self._proxy.freeze()
        with ThreadPoolExecutor(1) as threads:
            sent = threads.submit(statement, self._old)
            self._beat(self.new, 2)
            yield results
            self._proxy.thaw()
            try:
                results.append(sent.result())
            except StoreUnreachableError:
                results.append(None)

    def row(self) -> tuple[object, ...]:
        """Give what the run's row has by now."""
        (found,) = self.new.server.rows("SELECT footer, owner, token FROM SCHEMA.runs")
        return found


def _header(sequence: int, status: str = "running") -> Header:
    return Header(flow="f", position=0, number=1, sequence=sequence, status=status)  # type: ignore[arg-type]


@pytest.fixture
def ways(postgres: PostgresServer, database: str, proxy: TcpProxy) -> Generator[TwoWays]:
    """Give an owner with two connections."""
    with (
        connected(postgres.url(database, host=proxy.place)) as old,
        connected(postgres.url(database)) as new,
    ):
        yield TwoWays(old, new, proxy)


def test_late_step(ways: TwoWays) -> None:
    """A step does not replace the next one. The server has ended its session."""
    ways.hold()
    step = ways.save(2)
    with ways.delayed(lambda old: old.save_steps([step])) as results:
        assert ways.new.save_steps([step]) == 1
        assert ways.new.save_steps([ways.save(3)]) == 1
    assert results == [None]
    assert ways.row() == (b"3", OWNER, 7)


def test_late_claim(ways: TwoWays) -> None:
    """A claim does not take a run that was claimed by its repetition, and has ended since."""
    with ways.delayed(lambda old: old.claim([ways.claim], OWNER, 1.0)) as results:
        (run,) = ways.new.claim([ways.claim], OWNER, 2.0)
        ways.lease.row, ways.lease.token = run.row, run.token
        assert ways.new.save_statuses([ways.save(2, "finished")], OWNER) == 1
    assert results == [None]
    assert ways.row() == (b"2", None, 0)


def test_late_step_of_a_session_that_nobody_sees(
    ways: TwoWays, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no session can be ended, as behind a pooler, a late step changes nothing either."""
    ways.hold()
    monkeypatch.setattr(ways.new, "session", None)
    step = ways.save(2)
    with ways.delayed(lambda old: old.save_steps([step])) as results:
        assert ways.new.save_steps([step]) == 1
        assert ways.new.save_steps([ways.save(3)]) == 1
    assert results == [0]
    assert ways.row() == (b"3", OWNER, 7)
