"""Faults of a PostgreSQL server for the conformance checks, and handlers that are wrong in one way.

The handlers are real ones, with one method of the connection replaced. In another process they are
made anew, by their URL and their fault.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from faulty_connections import CONNECTIONS, KeepsLocks

from aiocheckpoint.errors import StoreUnreachableError
from aiocheckpoint.handlers.leased._store_client import open_connected
from aiocheckpoint.handlers.postgres import PostgresStateHandler
from aiocheckpoint.handlers.postgres._connection import PostgresConnection
from aiocheckpoint.handlers.postgres._names import key_values
from aiocheckpoint.handlers.postgres._server_connection import ServerConnection
from aiocheckpoint.handlers.postgres._store import PostgresStore
from aiocheckpoint.testing import Faults

if TYPE_CHECKING:
    from collections.abc import Callable

    from postgres_server import PostgresServer
    from tcp_proxy import TcpProxy

    from aiocheckpoint.handlers.leased._requests import Key

_Result = TypeVar("_Result")

FLOW = "checked"
_A_CHANGE = r"\A(?!BEGIN)(?!.*uptime).*\b(INSERT|UPDATE|DELETE)\b|COMMIT\s*\Z"
"""A statement that commits by itself, or the end of a transaction."""
_ROWS = """
SELECT (SELECT count(*) FROM aiocheckpoint.runs) + (SELECT count(*) FROM aiocheckpoint.kept)
    + (SELECT count(*) FROM aiocheckpoint.progress)
"""


@dataclass
class ServerFaults(Faults):
    """The faults of a server.

    Attributes:
        server: The server. It is stopped and killed, if the checks say so.
        database: The database.
        proxy: A proxy that all connections of the handlers go through, or None.
        threads: Threads that start the server again.
    """

    server: PostgresServer
    database: str
    proxy: TcpProxy | None = None
    threads: list[threading.Thread] = field(default_factory=list[threading.Thread])

    def steal(self, run_id: str | None) -> None:
        """Take owner and token from the row of a run."""
        statement = "UPDATE aiocheckpoint.runs SET owner = NULL, token = 0 WHERE run_id = %s"
        self.server.sql(statement, (run_id or "").encode(), database=self.database)

    def rows(self) -> int:
        """Count the rows of runs."""
        ((count,),) = self.server.sql(_ROWS, database=self.database)
        return int(count)

    def outage(self, seconds: float) -> None:
        """Stop the server at once, as a crash does, and start it after some time."""
        self.server.stop("immediate")
        timer = threading.Timer(seconds, self.server.start)
        self.threads.append(timer)
        timer.start()

    def lose_answer(self) -> None:
        """Lose the answer to the next change."""
        assert self.proxy is not None
        self.proxy.lose_answers(_A_CHANGE)

    def crash_store(self) -> None:
        """Kill the server, and start it again."""
        self.server.kill()
        self.server.start()

    def join(self) -> None:
        """Wait until the server runs."""
        for thread in self.threads:
            thread.join()


class _Connection(PostgresConnection):
    """A connection with what faulty ones need."""

    def token_of(self, row: int) -> int:
        """Look into the table."""
        found = self.server.rows("SELECT token FROM SCHEMA.runs WHERE id = %s::bigint", (str(row),))
        return found[0][0] if found else 0

    def free_row(self, key: Key, token: int) -> None:
        """Change the row."""
        flow, run_key = key_values(key)
        values = {"flow": flow, "run_key": run_key, "token": str(token)}
        self.server.write(
            "UPDATE SCHEMA.runs SET owner = NULL, token = 0 WHERE flow = %(flow)s "
            "AND run_key = %(run_key)s AND token = %(token)s::bigint",
            values,
        )


class _RawServerConnection(ServerConnection):
    """The driver's errors come out raw."""

    def _guarded(self, work: Callable[[], _Result], doing: str) -> _Result:
        del doing
        return work()


@dataclass(frozen=True)
class FaultyStore(PostgresStore):
    """A schema, reached by faulty connections."""

    fault: str = ""

    def connect(self, *, writes: bool) -> PostgresConnection:
        """Connect, with the fault."""
        try:
            made = super().connect(writes=writes)
        except StoreUnreachableError as error:
            if self.fault == "raw errors":
                raise psycopg.OperationalError(error.problem) from None
            raise
        if self.fault == "commits in memory":
            made.server.link.execute("SET synchronous_commit = off")
        if self.fault == "raw errors":
            made.server.__class__ = _RawServerConnection
        if self.fault in CONNECTIONS:
            wrong = CONNECTIONS[self.fault]
            made.__class__ = type(wrong.__name__, (wrong, _Connection), {})
        return made


class FaultyHandler(PostgresStateHandler):
    """A handler of such a store.

    Args:
        url: The URL.
        fault: What is wrong with it. Empty for nothing.
        options: Those of the handler.
    """

    def __init__(self, url: str, fault: str = "", **options: Any) -> None:  # noqa: ANN401
        """See above."""
        super().__init__(url, flow=FLOW, **options)
        assert isinstance(self._store, PostgresStore)
        store = FaultyStore(**vars(self._store), fault=fault)
        self._client = open_connected(store, self.lease, self.patience)
        self.answers = self._client.answers


class ForkedHandler(KeepsLocks, FaultyHandler):
    """A handler whose locks are held in a forked child as well."""


def maker(url: str, fault: str = "", **options: Any) -> Callable[[], FaultyHandler]:  # noqa: ANN401
    """Give a function that makes handlers, and can be sent to another process."""
    kind = ForkedHandler if fault == "keeps locks" else FaultyHandler
    return partial(kind, url, fault, **options)
