"""The oracles of the simulation: what is checked at each commit, at each answer, and at the end.

They know nothing of how the library decides. They see rows before and after each commit, and what
callers are told.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint._model.start_record import StartRecord, next_start

if TYPE_CHECKING:
    from memory_store import Row
    from sim_kernel import Kernel
    from sim_process import Process
    from sim_server import Server, ServerSession
    from sim_tables import Change

    from aiocheckpoint.handlers.leased import OwnerBeat
    from aiocheckpoint.handlers.leased._requests import Key

__all__ = ["BrokenPromiseError", "Ledger", "Written"]

_DRIFT = 0.97
"""Clocks differ by less."""
_HALF_SECOND = 0.5


class BrokenPromiseError(AssertionError):
    """A promise was broken."""


class Written(NamedTuple):
    """A snapshot that a caller has asked to store.

    Attributes:
        token: The token of its lease. 0 for the first snapshot of a new run.
        sequence: Its number.
    """

    token: int
    sequence: int


class _Beat(NamedTuple):
    session: str | None
    writable_seconds: float


class _Facts(NamedTuple):
    status: str
    stopped_by: str | None
    number: int
    position: int
    sequence: int


@dataclass
class Counts:
    """How often the interesting things have happened."""

    commits: int = 0
    saves: int = 0
    acknowledged: int = 0
    claims: int = 0
    robbed: int = 0
    succeeded: int = 0
    lost: int = 0
    unreachable: int = 0
    refused: int = 0

    def add(self, others: Counts) -> None:
        """Add others."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(others, one.name))


class Ledger:
    """Checks the promises.

    Args:
        kernel: The kernel.
        lease, patience: Those of all processes, in seconds.

    Attributes:
        server: The server.
        owners: The processes by their ids among the owners.
        written: The snapshots by their footers.
        counts: What has happened.
    """

    def __init__(self, kernel: Kernel, lease: float, patience: float) -> None:
        self.server: Server
        self.owners: dict[str, Process] = {}
        self.written: dict[bytes, Written] = {}
        self.counts = Counts()
        self._kernel = kernel
        self._lease = lease
        self._patience = patience
        self._claimed_at: dict[int, float] = {}
        self._made = dict[int, int]()
        self._starts: dict[int, str | None] = {}
        self._told: set[int] = set()
        self._tokens: set[int] = set()
        self._stored: set[bytes] = set()
        self._acknowledged: dict[object, int] = {}
        self._beats: dict[str, _Beat] = {}
        self._ended: dict[str, float] = {}

    # ---------------------------------------------------------------- what the server tells

    def session_ended(self, session: ServerSession) -> None:
        """A session has ended."""
        self._ended[session.name] = self._kernel.now

    def committed(self, session: ServerSession, runs: list[Change], owners: list[Change]) -> None:
        """A transaction was committed."""
        self.counts.commits += 1
        for _, _, beat in owners:
            if beat is not None:
                self._note_beat(beat)
        for _, before, after in runs:
            self._check_snapshot(before, after)
            self._check_lease(session, before, after)
            self._check_start(before, after)
        for key in {key for key, _, after in runs if after is not None and after.token}:
            self._check_recorded(self.server.tables.runs[key])

    def _note_beat(self, beat: OwnerBeat) -> None:
        self._beats[beat.id] = _Beat(beat.session, self.server.writable_seconds)

    def _check_lease(self, session: ServerSession, before: Row | None, after: Row | None) -> None:
        old, new = _token(before), _token(after)
        if old == new:
            return
        if before is not None and before.owner is not None:
            self._check_loss(session, before.owner, self._claimed_at[old])
        if after is not None and new:
            self.counts.claims += 1
            if new in self._told:
                self._fail(f"{_name(after)} is claimed once more with the token {new}")
            self._tokens.add(new)
            self._claimed_at[new] = self._kernel.now

    def _check_loss(self, session: ServerSession, owner_id: str, claimed_at: float) -> None:
        """A run has lost its owner. Another process may do so if this one is gone.

        An owner that holds nothing need not connect in an outage. It may lose a run that it claims
        while another process, which has looked before, is about to free it.
        """
        owner = self.owners[owner_id]
        if owner is session.client:
            return
        self.counts.robbed += not owner.is_dead
        self.counts.succeeded += owner.is_dead
        if owner.is_dead:
            return
        late, seen_at = session.seen.get(owner_id, (False, 0.0))
        if not late:
            self._fail(f"{owner.name} lives, has beaten or connected in time, and is robbed")
        undisturbed = self._kernel.now - owner.disturbed_at
        if claimed_at < seen_at and undisturbed > self._lease + 1.0:
            self._fail(f"{owner.name} lives, was not disturbed, and is robbed")

    def is_late(self, owner_id: str) -> bool:
        """Whether an owner may lose its runs now, in truth."""
        owner, beat = self.owners[owner_id], self._beats.get(owner_id)
        if beat is None or owner.is_dead:  # None: its first beat is not committed yet.
            return owner.is_dead
        silent = self.server.writable_seconds - beat.writable_seconds
        if silent >= self._lease * _DRIFT:
            return True
        ended_at = None if beat.session is None else self._ended.get(beat.session)
        if ended_at is None:
            return False
        without_session = min(self._kernel.now - ended_at, self.server.seconds_up - self._lease / 3)
        return without_session >= _HALF_SECOND * _DRIFT

    def _check_snapshot(self, before: Row | None, after: Row | None) -> None:
        stored = None if before is None else before.footer
        if after is not None and after.footer is not None and after.footer != stored:
            self._check_written(before, after, after.footer)
        key = (after or before).key  # type: ignore[union-attr]
        sequence = 0 if after is None else after.sequence
        if sequence < self._acknowledged.get(key, 0):
            self._fail(f"an acknowledged snapshot of {key[1]!r} is lost")

    def _check_written(self, before: Row | None, after: Row, footer: bytes) -> None:
        self.counts.saves += 1
        self._stored.add(footer)
        written = self.written[footer]
        if before is not None:
            if written.token != before.token:
                self._fail(f"{footer.decode()} is stored under a lost lease")
            if written.sequence <= before.sequence:
                self._fail(f"{footer.decode()} replaces a newer snapshot")

    def _check_start(self, before: Row | None, after: Row | None) -> None:
        """A start is recorded by its claim, and never changed."""
        if after is None or not after.token:
            return
        if before is None:
            self._made[after.token] = after.id
        elif before.token != after.token:
            # A claim that is repeated goes on with the run that it has made, if nobody else has.
            is_own = self._made.get(after.token) == before.id and before.sequence == 1
            self._starts[after.token] = before.start if is_own else _start_behind(before)
        elif before.start != after.start != self._starts.get(after.token):
            self._fail(f"the start of {_name(after)} is not counted once")

    def _check_recorded(self, row: Row) -> None:
        """The start is recorded in the commit of its claim."""
        expected = self._starts.get(row.token, row.start)
        if row.start != expected:
            self._fail(f"the start of {_name(row)} is not counted with its claim")

    # --------------------------------------------------------------- what callers are told

    def acknowledged(self, key: object, footer: bytes) -> None:
        """A caller is told that its snapshot is stored."""
        self.counts.acknowledged += 1
        if footer not in self._stored:
            self._fail(f"{footer.decode()} is acknowledged, and was never stored")
        sequence = self.written[footer].sequence
        self._acknowledged[key] = max(sequence, self._acknowledged.get(key, 0))

    def told_lost(self, key: tuple[str, str], token: int, footer: bytes) -> None:
        """A caller is told that its lease is lost, and its snapshot not stored."""
        self.counts.lost += 1
        row = self.server.tables.runs.get(key)
        if row is not None and token and row.token == token:
            self._fail(f"the lease of {key[1]!r} is held, and its owner is told that it is lost")
        if row is not None and footer and row.footer == footer:
            self._fail(f"{footer.decode()} is stored, and its caller is told that it is not")

    def told_unreachable(self, asked_at: float) -> None:
        """A caller is told that the store was out of reach for as long as its patience lasts."""
        self.counts.unreachable += 1
        if self._kernel.now - asked_at < self._patience * _DRIFT:
            self._fail("a request has ended before the patience with the store")

    def told_claimed(self, key: tuple[str, str], token: int) -> None:
        """A caller is told that it has a lease."""
        row = self.server.tables.runs.get(key)
        if row is not None and row.token == token:
            self._check_recorded(row)
        self._told.add(token)
        if token not in self._tokens:
            self._fail(f"{key[1]!r} is not claimed, and a caller is told that it is")

    # --------------------------------------------------------------------------- in the end

    def check_end(self, held: dict[Key, int]) -> None:
        """Check that all runs are free, or held by a living caller.

        Args:
            held: The tokens of the leases that living callers hold.
        """
        for key, row in self.server.tables.runs.items():
            if row.owner is not None and held.get(key) != row.token:
                owner = self.owners[row.owner]
                state = "dead" if owner.is_dead else "alive"
                self._fail(f"{key[1]!r} is owned by {owner.name}, which is {state} and has it not")

    def _fail(self, problem: str) -> None:
        raise BrokenPromiseError(problem)


def _token(row: Row | None) -> int:
    return 0 if row is None else row.token


def _name(row: Row) -> str:
    return repr(row.key[1])


def _start_behind(row: Row) -> str | None:
    """The record that the claim of a free run leaves."""
    if row.status in {None, "finished"}:
        return row.start
    facts = _Facts(row.status or "", row.stopped_by, row.number, row.position, row.sequence)
    record = StartRecord.decode(row.start or "")
    return next_start(facts, record, row.lost).encode()  # type: ignore[arg-type]
