"""A simulated database server: its sessions, and what becomes of requests to it.

A request travels, is carried out when it arrives, and its answer travels back. It may also be
carried out after its client has left, as on a real network. The client learns of the end of a
session at once, unless it is cut off.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from memory_store import Tables
from sim_tables import HeldRowError, Transaction

from aiocheckpoint.errors import StoreUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim_kernel import Kernel
    from sim_tables import Change

__all__ = ["Client", "Faults", "Request", "Server", "ServerSession", "Witness"]

_LOCK_TIMEOUT, _BRIEF_LOCK_TIMEOUT = 0.3, 0.02
_IDLE_IN_TRANSACTION = 1.0
KEEPALIVE = 1.5
"""How long the server keeps the session of a client that is cut off or has lost its power."""
_TOLD_SECONDS = 0.01


@dataclass
class Faults:
    """What may go wrong with a single request.

    Attributes:
        breaks: Probability that the connection breaks before the request is carried out.
        loses_answer: The same, behind it.
        delays: Probability that a request is delayed.
        longest_delay: Seconds.
    """

    breaks: float = 0.0
    loses_answer: float = 0.0
    delays: float = 0.0
    longest_delay: float = 0.0


class Client(Protocol):
    """A process, as the server's network knows it."""

    name: str

    def delay(self) -> float:
        """Seconds that a message travels."""
        ...

    def when_reached(self, call: Callable[[], object]) -> bool:
        """Call a function once the process is cut off no more. False if it is not cut off."""
        ...

    def note_loss(self) -> None:
        """Note that a session of it has ended."""
        ...

    def note_delay(self, seconds: float) -> None:
        """Note that a message of it travels for so long."""
        ...


class Link(Protocol):
    """The client's end of a connection."""

    def notice_end(self) -> None:
        """The session has ended."""
        ...

    def notice_outcome(self, request: Request) -> None:
        """A request has an outcome."""
        ...


class Witness(Protocol):
    """Sees what is committed, and checks it."""

    def committed(self, session: ServerSession, runs: list[Change], owners: list[Change]) -> None:
        """A transaction was committed."""
        ...

    def session_ended(self, session: ServerSession) -> None:
        """A session has ended."""
        ...


@dataclass(eq=False)
class ServerSession:
    """A session at the server.

    Attributes:
        name: Its name.
        client, link: Its client, and the client's end of the connection.
        transaction: The one that is open, or None.
        is_open: Whether it lives.
        client_left: Whether its client has closed the connection.
        in_flight: The number of requests that are on their way or wait for a row.
        seen: The owners that the open transaction has looked at: whether each was late, and when.
        answered_at: When it has answered its last request.
        has_timer: Whether `answered_at` will be looked at.
        waits_briefly: Whether its transaction hardly waits for rows.
    """

    name: str
    client: Client
    link: Link
    transaction: Transaction | None = None
    is_open: bool = True
    client_left: bool = False
    in_flight: int = 0
    seen: dict[str, tuple[bool, float]] = field(default_factory=dict[str, Any])
    answered_at: float = 0.0
    has_timer: bool = False
    waits_briefly: bool = False


@dataclass(eq=False)
class Request:
    """A request on its way.

    Attributes:
        session: Where it is carried out.
        name: What it is, for the trace.
        call: Carries it out.
        survives: Whether it is carried out though its client has left. A pooler ends the session
            then.
        ended: Whether its client knows the outcome.
        result: What came of it.
        problem: Why nothing came of it, or empty.
        is_of_statement: Whether that ended nothing but its transaction.
    """

    session: ServerSession
    name: str
    call: Callable[[], Any]
    survives: bool = True
    ended: bool = False
    result: Any = None
    problem: str = ""
    is_of_statement: bool = False


class Server:
    """The server.

    Args:
        kernel: The kernel.
        witness: Checks what is committed.

    Attributes:
        faults: What may go wrong with requests.
        tables: The committed rows.
        is_up, is_read_only: Whether it takes requests, and refuses to write.
        refuses_when_read_only: Whether it takes no connection then, instead of refusing commits.
        up_since: When it was started.
        sessions: The names of the open sessions.
        row_ids: Ids of new rows.
    """

    def __init__(self, kernel: Kernel, witness: Witness) -> None:
        self.faults = Faults()
        self.tables = Tables(draining={})  # type: ignore[arg-type]
        self.is_up: bool = True
        self.is_read_only: bool = False
        self.refuses_when_read_only: bool = True
        self.up_since: float = -1000.0
        self.sessions: dict[str, ServerSession] = {}
        self.row_ids = itertools.count(1)
        self._kernel = kernel
        self._witness = witness
        self._locks: dict[Any, Transaction] = {}
        self._names = itertools.count(1)
        self._writable_seconds = 1000.0
        self._writable_since = kernel.now

    # ------------------------------------------------------------------------- what happens to it

    def stop(self) -> None:
        """Stop at once, as in a crash. What was committed stays."""
        self._kernel.say("the server stops")
        self._note_writable()
        self.is_up = False
        for session in list(self.sessions.values()):
            self.end_session(session)

    def start(self) -> None:
        """Start again."""
        if not self.is_up:
            self._kernel.say("the server starts")
            self._note_writable()
            self.is_up, self.up_since = True, self._kernel.now

    def set_read_only(self, *, read_only: bool) -> None:
        """Refuse to write, or take it again."""
        self._kernel.say("the server is", "read-only" if read_only else "writable")
        self._note_writable()
        self.is_read_only = read_only

    @property
    def seconds_up(self) -> float:
        """Seconds since it was started."""
        return self._kernel.now - self.up_since

    @property
    def writable_seconds(self) -> float:
        """For how long in all it could be written."""
        is_writable = self.is_up and not self.is_read_only
        since = self._kernel.now - self._writable_since if is_writable else 0.0
        return self._writable_seconds + since

    def _note_writable(self) -> None:
        self._writable_seconds = self.writable_seconds
        self._writable_since = self._kernel.now

    # -------------------------------------------------------------------------------- sessions

    def open_session(self, client: Client, link: Link) -> ServerSession:
        """Open a session."""
        session = ServerSession(f"session {next(self._names)}", client, link)
        self.sessions[session.name] = session
        return session

    def end_session(self, session: ServerSession) -> None:
        """End a session, roll its transaction back, and tell its client."""
        if not session.is_open:
            return
        self._kernel.say(session.client.name, session.name, "has ended")
        session.is_open = False
        del self.sessions[session.name]
        self._witness.session_ended(session)
        session.client.note_loss()
        self._end_transaction(session)
        self._kernel.at(_TOLD_SECONDS, self._tell_end, session)

    def _tell_end(self, session: ServerSession) -> None:
        if not session.client.when_reached(session.link.notice_end):
            session.link.notice_end()

    def leave(self, session: ServerSession) -> None:
        """The client has closed the connection. What it has sent before arrives before."""
        session.client_left = True
        if not session.in_flight and not session.client.when_reached(lambda: self.leave(session)):
            self._kernel.at(session.client.delay(), self.end_session, session)

    # ----------------------------------------------------------------------------- transactions

    def begin(self, session: ServerSession) -> Transaction:
        """Begin a transaction."""
        transaction = session.transaction = Transaction(self.tables, self._locks)
        return transaction

    def commit(self, session: ServerSession) -> None:
        """Commit the transaction of a session.

        Raises:
            StoreUnreachableError: The server is read-only.
        """
        transaction = session.transaction
        if transaction is None:
            raise StoreUnreachableError("the server", "there is no transaction")
        if transaction.has_changes:
            if self.is_read_only:
                raise StoreUnreachableError("the server", "it is read-only")
            self._witness.committed(session, *transaction.commit())
        self._end_transaction(session)

    def roll_back(self, session: ServerSession) -> None:
        """Roll the transaction of a session back."""
        self._end_transaction(session)

    def _end_transaction(self, session: ServerSession) -> None:
        transaction, session.transaction = session.transaction, None
        session.seen.clear()
        if transaction is not None:
            self._let_go(transaction)

    def _let_go(self, transaction: Transaction) -> None:
        for request in transaction.end():
            self._kernel.at(0.0, self._carry_out, request)

    def hold_row(self, key: Any, seconds: float) -> None:  # noqa: ANN401
        """Let somebody else hold the row of a run for so long, if nobody does."""
        transaction = Transaction(self.tables, self._locks)
        if transaction.hold(key):
            self._kernel.say("somebody holds the row of", key[1])
            self._kernel.at(seconds, self._let_go, transaction)

    def _end_idle(self, session: ServerSession) -> None:
        """End a session that is idle in a transaction. One timer serves all its transactions."""
        session.has_timer = session.transaction is not None
        if session.transaction is None:
            return
        left = session.answered_at + _IDLE_IN_TRANSACTION - self._kernel.now
        if left > 1e-9 or session.in_flight:
            self._kernel.at(max(left, 0.1), self._end_idle, session)
        else:
            self.end_session(session)

    # --------------------------------------------------------------------------------- requests

    def send(self, request: Request) -> None:
        """Let a request travel, with what may go wrong on its way."""
        kernel, session, faults = self._kernel, request.session, self.faults
        session.in_flight += 1
        client = session.client
        delay = client.delay()
        if faults.delays and kernel.chance(faults.delays):
            delay += kernel.choices.uniform(0.0, faults.longest_delay)
            client.note_delay(delay)
        if client.when_reached(lambda: kernel.at(delay, self._arrive, request)):
            return
        if faults.breaks and kernel.chance(faults.breaks):
            kernel.at(delay, self._break, request)
        else:
            kernel.at(delay, self._arrive, request)

    def _break(self, request: Request) -> None:
        self._kernel.say("the connection breaks before", request.name)
        request.session.in_flight -= 1
        self.end_session(request.session)

    def _arrive(self, request: Request) -> None:
        self._carry_out(request)

    def _carry_out(self, request: Request) -> None:
        session, kernel = request.session, self._kernel
        if session.client_left and not request.survives:
            self.end_session(session)
        if not session.is_open:
            session.in_flight -= 1
            return
        before = session.transaction
        savepoint = ({}, {}, {}) if before is None else before.savepoint()
        try:
            request.result = request.call()
        except HeldRowError as held:
            if session.transaction is not None:
                session.transaction.roll_back_to(savepoint)
            self._wait_for_row(request, held.holder)
            return
        except StoreUnreachableError as error:
            request.problem = error.problem
            self._end_transaction(session)
        session.in_flight -= 1
        if session.transaction is not None:
            session.transaction.note()
        kernel.say(session.client.name, session.name, request.name, request.problem)
        self._answer(request)

    def _wait_for_row(self, request: Request, holder: Transaction) -> None:
        """Wait for a row. A circle of waits is a deadlock, which ends one of them."""
        transaction = request.session.transaction
        self._kernel.say(request.session.client.name, request.name, "waits for a row")
        if transaction is not None and holder.waits_for(transaction):
            self._give_up(request, "a deadlock")
            return
        if transaction is not None:
            transaction.blocked_by = holder
        holder.waiting.append(request)
        seconds = _BRIEF_LOCK_TIMEOUT if request.session.waits_briefly else _LOCK_TIMEOUT
        self._kernel.at(seconds, self._stop_waiting, request, holder)

    def _stop_waiting(self, request: Request, holder: Transaction) -> None:
        if request in holder.waiting:
            holder.waiting.remove(request)
            self._give_up(request, "a row was locked for too long")

    def _give_up(self, request: Request, problem: str) -> None:
        request.session.in_flight -= 1
        request.problem, request.is_of_statement = problem, True
        self._end_transaction(request.session)
        self._answer(request)

    def _answer(self, request: Request) -> None:
        session, kernel = request.session, self._kernel
        if session.transaction is not None:
            session.transaction.blocked_by = None
            session.answered_at = kernel.now
            if not session.has_timer:
                session.has_timer = True
                kernel.at(_IDLE_IN_TRANSACTION, self._end_idle, session)
        if session.client_left:
            self.leave(session)
        elif self.faults.loses_answer and kernel.chance(self.faults.loses_answer):
            kernel.say("the answer is lost:", request.name)
            self.end_session(session)
        else:
            kernel.at(session.client.delay(), self._deliver, request)

    def _deliver(self, request: Request) -> None:
        session = request.session
        if not session.client.when_reached(lambda: self._deliver(request)):
            session.link.notice_outcome(request)
