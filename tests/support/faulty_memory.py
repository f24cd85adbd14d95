"""The leased store in memory with an owner for each handler, the faults of its author, and bugs."""

from __future__ import annotations

import itertools
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from faulty_connections import CONNECTIONS, KeepsLocks
from memory_store import MemoryConnection, MemoryServer, MemoryStore, Tables

from aiocheckpoint.errors import StoreUnreachableError
from aiocheckpoint.handlers.leased import LeasedStateHandler
from aiocheckpoint.testing import Faults

if TYPE_CHECKING:
    from collections.abc import Generator

    from aiocheckpoint.handlers.leased import OwnerBeat
    from aiocheckpoint.handlers.leased._requests import Key

_COMMITS_IN_MEMORY = 5


class CrashingServer(MemoryServer):
    """A server that a crash takes back to the last commit that it has flushed.

    Attributes:
        durable: Whether each commit is flushed before its answer.
        flushed: The tables as they were then.
        paused: Sessions whose heartbeats are lost.
    """

    def __init__(self) -> None:
        """Begin with empty tables."""
        super().__init__()
        self.durable = True
        self.flushed = Tables()
        self.paused: set[str] = set()
        self.before_commit = self._flush

    def _flush(self, tables: Tables) -> None:
        if self.durable or self.commits % _COMMITS_IN_MEMORY == 0:
            self.flushed = tables

    def crash(self) -> None:
        """Crash, and start again."""
        with self.lock:
            self.stop()
            self.tables = self.flushed
            self.start()


class _Connection(MemoryConnection):
    """A connection whose heartbeats can be lost."""

    def heartbeat(self, owner: OwnerBeat) -> None:
        """Store a heartbeat, unless the owner is paused."""
        server = self._server
        assert isinstance(server, CrashingServer)
        if self._id not in server.paused:
            super().heartbeat(owner)

    def token_of(self, row: int) -> int:
        """Look into the tables."""
        tables = self._tables or self._server.tables
        return next((one.token for one in tables.runs.values() if one.id == row), 0)

    def free_row(self, key: Key, token: int) -> None:
        """Change the row, in the transaction or by a commit of its own."""
        with self._writing() as tables:
            row = tables.runs.get(key)
            if row is not None and row.token == token:
                tables.runs[key] = row._replace(owner=None, token=0)


class DriverError(Exception):
    """The error of a driver."""


class _RawErrors(_Connection):
    """The driver's errors come out raw."""

    def _broken(self) -> Any:  # noqa: ANN401 - another error than declared
        super()._broken()
        return DriverError("the connection was lost")


def _kind(fault: str) -> type[MemoryConnection]:
    if fault == "raw errors":
        return _RawErrors
    wrong = CONNECTIONS.get(fault)
    return _Connection if wrong is None else type(wrong.__name__, (wrong, _Connection), {})


@dataclass(frozen=True)
class ApartStore(MemoryStore):
    """The place of a server as one process knows it. No other handler shares its connection."""

    fault: str
    number: int

    def connect(self, *, writes: bool) -> MemoryConnection:
        """Connect, with the fault."""
        try:
            return _kind(self.fault)(self.server, writes=writes)
        except StoreUnreachableError:
            if self.fault == "raw errors":
                raise DriverError("no connection") from None
            raise


class MadeHandler(LeasedStateHandler):
    """A handler of such a store."""

    outlives_process = False


class ForkedHandler(KeepsLocks, MadeHandler):
    """A handler whose locks are held in a forked child as well."""


class MemoryMaker:
    """Makes handlers of one server, each an owner. In another process it has a server of its own.

    Args:
        fault: What is wrong with them. Empty for nothing.
        options: Those of the handlers.

    Attributes:
        server: The server.
    """

    def __init__(self, fault: str = "", **options: Any) -> None:  # noqa: ANN401 - of many types
        """See above."""
        self.server = CrashingServer()
        self.server.durable = fault != "commits in memory"
        self._given = fault, options
        self._numbers = itertools.count()
        self._made: list[LeasedStateHandler] = []

    def __reduce__(self) -> tuple[Any, ...]:
        """Make an equal one elsewhere."""
        return _remade, self._given

    def __call__(self) -> LeasedStateHandler:
        """Make a handler."""
        fault, options = self._given
        kind = ForkedHandler if fault == "keeps locks" else MadeHandler
        store = ApartStore(self.server, fault, next(self._numbers))
        given: dict[str, Any] = {"lease": 1.0, "patience": 5.0, "keep": 3} | options
        self._made.append(kind(store, flow="memory", **given))
        return self._made[-1]

    def close(self) -> None:
        """Close all handlers."""
        self.server.start()
        for handler in self._made:
            handler.close()
        self._made.clear()


def _remade(fault: str, options: dict[str, Any]) -> MemoryMaker:
    return MemoryMaker(fault, **options)


class MemoryFaults(Faults):
    """The faults of a server in memory."""

    def __init__(self, server: CrashingServer) -> None:
        """See above."""
        self._server = server

    def steal(self, run_id: str | None) -> None:
        """Take owner and token from the row of a run."""
        key = b"memory", (run_id or "").encode()
        with self._server.lock:
            tables = self._server.tables.copy()
            tables.runs[key] = tables.runs[key]._replace(owner=None, token=0)
            self._server.tables = self._server.flushed = tables

    @contextmanager
    def pause_owner(self) -> Generator[None]:
        """Lose the heartbeats of all sessions that are open now."""
        self._server.paused |= self._server.sessions
        try:
            yield
        finally:
            self._server.paused.clear()

    def outage(self, seconds: float) -> None:
        """Stop the server for some time."""
        self._server.stop()
        timer = threading.Timer(seconds, self._server.start)
        timer.daemon = True
        timer.start()

    def lose_answer(self) -> None:
        """Lose the answer to the next commit."""
        self._server.faults.append("answer")

    def crash_store(self) -> None:
        """Crash the server."""
        self._server.crash()

    def rows(self) -> int:
        """Count the rows."""
        tables = self._server.tables
        return len(tables.runs) + len(tables.kept) + len(tables.progress)
