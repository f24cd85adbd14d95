"""Connections to a simulated server, as `StoreProcessor` uses them."""

# ruff: noqa: D102 - the methods are those of `StoreConnection`

from __future__ import annotations

import copy
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from memory_store import MemoryConnection, Tables
from sim_server import Request
from sim_tables import HeldRowError

from aiocheckpoint.errors import StoreUnreachableError
from aiocheckpoint.handlers.leased import Claim, LeasedStore, Save

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Sequence

    from sim_process import Process
    from sim_server import Server, ServerSession

    from aiocheckpoint._model.start_record import Loss
    from aiocheckpoint.handlers.leased import (
        OwnerBeat,
        Release,
        SeenOwner,
        StartRow,
        StoredRun,
    )

__all__ = ["SimConnection", "SimStore"]

_SECONDS_TO_CONNECT = _SECONDS_TO_ANSWER = 0.6


@dataclass(frozen=True, eq=False)
class SimStore(LeasedStore):
    """The server as one process reaches it.

    Attributes:
        process: The process.
        shows_sessions: Whether owners see the sessions of others. Not so behind a pooler.
        commits_alone: As `StoreConnection.commits_alone`.
    """

    kind: ClassVar[str] = "simulated"
    process: Process
    shows_sessions: bool
    commits_alone: bool

    @property
    def location(self) -> str:
        return "simulated"

    def connect(self, *, writes: bool) -> SimConnection:
        return SimConnection(self)


class SimConnection(MemoryConnection):
    """A connection. Each method but `close` is a request that waits for its answer."""

    def __init__(self, store: SimStore) -> None:
        self._process = store.process
        self._server: Server = store.process.server  # type: ignore[assignment]
        self._is_lost = False
        self._request: Request | None = None
        self._sent_at = 0.0
        self._has_timer = False
        self._begins = False
        self._tables: Tables | None = None
        self._commits_itself = False
        self._session = self._connected()
        self.commits_alone = store.commits_alone
        self.session = self._session.name if store.shows_sessions else None

    def _connected(self) -> ServerSession:
        process, server = self._process, self._server
        if process.is_cut_off:
            process.sleep(_SECONDS_TO_CONNECT)
        else:
            process.sleep(process.delay() * 2)
        if process.is_cut_off or not server.is_up:
            raise StoreUnreachableError("simulated", "it does not answer")
        if server.is_read_only and server.refuses_when_read_only:
            raise StoreUnreachableError("simulated", "it is read-only")
        return server.open_session(process, self)

    def is_lost(self) -> bool:
        return self._is_lost

    def close(self) -> None:
        self._server.leave(self._session)

    def notice_end(self) -> None:
        """The session has ended."""
        self._is_lost = True
        if self._request is not None:
            self._fail(self._request, "the connection was lost")

    def notice_outcome(self, request: Request) -> None:
        """A request has an outcome."""
        if not request.ended:
            request.ended = True
            self._process.resume()

    def _fail(self, request: Request, problem: str) -> None:
        if not request.ended:
            request.problem = problem
            self.notice_outcome(request)

    def _ask(self, name: str, call: Callable[[], Any]) -> Any:  # noqa: ANN401
        """Send a request, and wait for its outcome.

        Raises:
            StoreUnreachableError: It has failed, or its outcome is unknown.
        """
        process = self._process
        process.check_alive()
        if self._is_lost:
            raise StoreUnreachableError("simulated", "the connection was lost")
        survives = self.session is not None or name.startswith("saves")
        request = self._request = Request(self._session, name, call, survives)
        self._server.send(request)
        self._sent_at = process.kernel.now
        if not self._has_timer:
            self._has_timer = True
            process.kernel.at(_SECONDS_TO_ANSWER, self._time_out)
        process.wait_until(lambda: request.ended)
        self._request = None
        if request.problem:
            error = StoreUnreachableError("simulated", request.problem)
            error.is_of_statement = request.is_of_statement
            raise error
        return request.result

    def _time_out(self) -> None:
        """End the request if it has waited for too long. One timer serves them all."""
        kernel, request = self._process.kernel, self._request
        self._has_timer = request is not None and not request.ended
        if request is None or request.ended:
            return
        left = self._sent_at + _SECONDS_TO_ANSWER - kernel.now
        if left > 1e-9:
            kernel.at(left, self._time_out)
            return
        kernel.say(self._process.name, "gives up", request.name)
        self._is_lost = request.session.client_left = True
        self._fail(request, "no answer came in time")

    def _statement(self, name: str, method: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401
        """Send a statement with its arguments as they are now."""
        sent = [_sent(argument) for argument in arguments]
        begins, self._begins = self._begins, False
        return self._ask(name, lambda: self._carry_out(method, sent, begins=begins))

    def _carry_out(self, method: Callable[..., Any], arguments: list[Any], *, begins: bool) -> Any:  # noqa: ANN401
        """Carry a statement out, at the server. Without a transaction it commits for itself."""
        server, session = self._server, self._session
        alone = session.transaction is None and not begins
        transaction = session.transaction or server.begin(session)
        self._tables, self._commits_itself = transaction.tables, alone
        if not alone:
            return method(self, *arguments)
        try:
            result = method(self, *arguments)
            transaction.note()
            server.commit(session)
        except HeldRowError:
            server.roll_back(session)
            raise
        return result

    @contextmanager
    def transaction(self) -> Generator[None, None, None]:
        server, session = self._server, self._session
        self._begins = True  # With the first statement.
        session.waits_briefly = self.waits_briefly
        try:
            yield
        except BaseException:
            if not self._is_lost:
                self._ask("ROLLBACK", lambda: server.roll_back(session))
            raise
        finally:
            begins, self._begins = self._begins, False
            session.waits_briefly = False
        if not begins:
            self._ask("COMMIT", lambda: server.commit(session))

    @contextmanager
    def _writing(self) -> Generator[Tables, None, None]:
        assert self._tables is not None
        yield self._tables

    _reading = _writing

    @property
    def _is_alone(self) -> bool:
        return self._commits_itself

    # the statements

    def heartbeat(self, owner: OwnerBeat) -> None:
        self._statement("beats", SimConnection._beat, owner)

    def _beat(self, owner: OwnerBeat) -> None:
        """End the owner's session before this one, as far as it can be seen."""
        assert self._tables is not None
        before = self._tables.owners.get(owner.id)
        old = None if before is None else self._server.sessions.get(before.session or "")
        if old is not None and old is not self._session:
            self._server.end_session(old)
        super().heartbeat(owner)

    def owners(self, ids: Collection[str] | None) -> list[SeenOwner]:
        found: list[SeenOwner] = self._statement("looks at owners", SimConnection._look, ids)
        return found

    def _look(self, ids: Collection[str] | None) -> list[SeenOwner]:
        found = super().owners(ids)
        for owner in found:
            late = self._process.ledger.is_late(owner.id)
            self._session.seen[owner.id] = late, self._process.kernel.now
        return found

    def seconds_up(self) -> float:
        return self._server.seconds_up  # Nothing depends on when exactly it is asked for.

    def free(self, owner_id: str, loss: Loss | None) -> None:
        self._statement(f"frees {owner_id}", MemoryConnection.free, owner_id, loss)

    def note_draining(self, owner_id: str) -> None:
        self._statement("drains", MemoryConnection.note_draining, owner_id)

    def claim(self, claims: Sequence[Claim], owner_id: str, now: float) -> list[StoredRun]:
        name = f"claims {', '.join(str(claim.lease.key[1]) for claim in claims)}"
        found: list[StoredRun] = self._statement(
            name, MemoryConnection.claim, claims, owner_id, now
        )
        return found

    def write_together(
        self,
        claims: Sequence[Claim],
        steps: Sequence[Save],
        statuses: Sequence[Save],
        owner_id: str,
        now: float,
    ) -> tuple[list[StoredRun], int] | None:
        if not self.commits_alone:
            return None
        arguments = claims, steps, statuses, owner_id, now
        done: tuple[list[StoredRun], int] = self._statement(
            f"does together: {len(claims)} claims, {_footers([*steps, *statuses])}",
            SimConnection._write_together,
            *arguments,
        )
        return done

    def _write_together(
        self,
        claims: Sequence[Claim],
        steps: Sequence[Save],
        statuses: Sequence[Save],
        owner_id: str,
        now: float,
    ) -> tuple[list[StoredRun], int]:
        runs = super().claim(claims, owner_id, now)
        done = super().save_steps(steps) + super().save_statuses(statuses, owner_id)
        return runs, done

    def record_starts(self, starts: Sequence[StartRow]) -> None:
        self._statement("records starts", MemoryConnection.record_starts, starts)

    def save_steps(self, saves: Sequence[Save]) -> int:
        name = f"saves {_footers(saves)}"
        done: int = self._statement(name, MemoryConnection.save_steps, saves)
        return done

    def save_statuses(self, saves: Sequence[Save], owner_id: str) -> int:
        name = f"saves {_footers(saves)}"
        done: int = self._statement(name, MemoryConnection.save_statuses, saves, owner_id)
        return done

    def stored(self, saves: Sequence[Save]) -> set[int]:
        found: set[int] = self._statement("looks at saves", MemoryConnection.stored, saves)
        return found

    def with_ending(self, saves: Sequence[Save]) -> set[int]:
        return set()

    def release(self, releases: Sequence[Release]) -> None:
        name = f"releases {', '.join(str(one.run_id) for one in releases)}"
        self._statement(name, MemoryConnection.release, releases)


def _footers(saves: Sequence[Save]) -> str:
    return ", ".join(save.footer.decode() for save in saves)


def _sent(argument: Any) -> Any:  # noqa: ANN401
    """Copy an argument as it travels: its sender may change it meanwhile."""
    if not isinstance(argument, list):
        return argument
    return [_sent_one(one) for one in argument]


def _sent_one(one: Any) -> Any:  # noqa: ANN401
    if isinstance(one, Claim):
        return one._replace(lease=copy.copy(one.lease))
    if isinstance(one, Save):
        copied = copy.copy(one)
        copied.lease = copy.copy(one.lease)
        return copied
    return one
