"""The rows of a leased store, as its statements take and give them."""

from typing import NamedTuple

__all__ = [
    "OwnedRow",
    "OwnerBeat",
    "QueuedColumns",
    "QueuedRow",
    "RunRow",
    "SeenOwner",
    "StartRow",
    "StoredRun",
]


class OwnerBeat(NamedTuple):
    """A heartbeat: the row of this process among the owners.

    Attributes:
        id: Id of the owner, 16 hexadecimal digits.
        host: Name of its machine.
        boot: The kernel's id of this start of the machine. Empty where the system has none.
        pid: Its process id.
        since: When the owner began, in ISO format.
        beat: Grows with each heartbeat.
        lease: Length of its lease in seconds.
        session: `StoreConnection.session` of its connection.
    """

    id: str
    host: str
    boot: str
    pid: int
    since: str
    beat: int
    lease: float
    session: str | None


class SeenOwner(NamedTuple):
    """A stored owner, as another one sees it.

    Attributes:
        id, host, boot, pid, since, beat, lease, session: As in `OwnerBeat`.
        session_open: Whether the session is still connected. None where the store cannot tell.
        draining: Whether the owner has begun to drain.
        silent: Seconds since its last heartbeat by the clock of the store, or None. It is a hint
            for lists. Claims ignore it, as no beat comes while the store is down.
    """

    id: str
    host: str
    boot: str
    pid: int
    since: str
    beat: int
    lease: float
    session: str | None
    session_open: bool | None
    draining: bool
    silent: float | None = None


class StoredRun(NamedTuple):
    """The row of a run after the statement that claims it.

    Attributes:
        number: Index of the claim in the batch.
        row: Id of the row. It never changes, and no later row gets it.
        token: The token that the row has now. That of the claim if the claim has the run.
        owner: Id of the owner that has the run now. None for none.
        since: When that one has claimed it, in seconds since the epoch.
        payload_length: Length of the stored payload.
        footer: The stored footer. None where no snapshot is stored. Empty for one that is not given
            here, and is read from the row when it is needed.
        status, stopped_by, run_number, position, sequence: Columns of the stored snapshot.
            `status` is None where there is none.
        lost: What became of an owner that has recorded no end, or None.
        start: The record of the last start as text, or None.
        has_progress: Whether there is a record of the run's progress.
        ending: Whether the end of the run was asked for.
    """

    number: int
    row: int
    token: int
    owner: str | None
    since: float
    payload_length: int
    footer: bytes | None
    status: str | None
    stopped_by: str | None
    run_number: int
    position: int
    sequence: int
    lost: str | None
    start: str | None
    has_progress: bool
    ending: bool


class StartRow(NamedTuple):
    """The record of a start, stored in a row that has this token.

    Attributes:
        row, token: The row, and its token.
        status: The status that the row gets.
        start: The record as text.
    """

    row: int
    token: int
    status: str
    start: str


class QueuedColumns(NamedTuple):
    """The columns that queued runs have in common."""

    flow: str | bytes
    position: int
    step: str | None
    sequence: int
    status: str
    number: int
    due: float | None


class QueuedRow(NamedTuple):
    """The columns of one queued run. `started_at` and `claimed_at` are `written_at` as well."""

    run_id: str | bytes
    written_at: float
    footer: bytes
    payload: bytes


class OwnedRow(NamedTuple):
    """The columns of a run beside its snapshot.

    Attributes:
        owner_id: Id of the present owner, or None.
        owner: The row of that owner, or None where there is none by now.
        start: The record of the last start as text, or None.
        lost: What became of an owner that has recorded no end, or None.
    """

    owner_id: str | None
    owner: SeenOwner | None
    start: str | None
    lost: str | None


class RunRow(NamedTuple):
    """A run in a list.

    Attributes:
        run_id: The run id as the store has it. Empty for none.
        started_at: When the run began, by which lists are ordered.
        footer: The footer of its snapshot.
        payload_length: Length of the payload.
        owned: The columns beside the snapshot.
        due: The time by which a list by `Query.due_before` is ordered, None in any other list.
    """

    run_id: str | bytes
    started_at: float
    footer: bytes
    payload_length: int
    owned: OwnedRow
    due: float | None = None
