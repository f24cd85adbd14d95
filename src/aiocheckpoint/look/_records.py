"""The records of the read model, as every display shows them.

Each record is frozen and made of plain values. `to_json()` gives it as a dict that `json.dumps`
takes, with the keys of its attributes. Times are seconds since the epoch. A time `x` stands in JSON
beside `x_utc`, the same as text of RFC 3339 in UTC, such as "2026-11-30T10:44:50.125Z".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, ClassVar

from aiocheckpoint._model.header import Failure
from aiocheckpoint._model.shown import Shown

__all__ = [
    "JSON_VERSION",
    "ChangeView",
    "CountView",
    "DiffView",
    "FlowView",
    "KeyView",
    "ProgressView",
    "Record",
    "RunView",
    "SnapshotView",
    "StepView",
]

JSON_VERSION = 1
"""Version of the keys of all records, and of the documents of the command line.

It changes when a key is renamed, removed, or means another thing. New keys leave it as it is."""


class Record:
    """The base of the records: their JSON."""

    __slots__ = ()
    _TIMES: ClassVar[frozenset[str]] = frozenset()
    """The attributes that are times in seconds since the epoch. 0.0 means unknown."""

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON: dicts with text keys, lists, texts, numbers, bools and None.

        An attribute that is a time has a second key with the ending "_utc". A time that is unknown
        is None under both.
        """
        shown: dict[str, Any] = {}
        for one in fields(self):  # type: ignore[arg-type]
            value = getattr(self, one.name)
            if one.name in self._TIMES:
                shown[one.name] = value or None
                shown[f"{one.name}_utc"] = _utc(value) if value else None
            else:
                shown[one.name] = _plain(value)
        return shown


def step_of(run: "RunView") -> "StepView | None":
    """The step at which a run stands. None where it is not among those that are shown."""
    return next((step for step in run.steps if step.index == run.position), None)


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, Failure):
        return {name: getattr(value, name) for name in Failure.__slots__} | {
            "at_utc": _utc(value.at)
        }
    if isinstance(value, (tuple, list)):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    return value


def _utc(seconds: float) -> str | None:
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):  # A header may have any number.
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyView(Record):
    """One key of a stored state.

    Attributes:
        key: The key. A key that is no text is shown as its inert form.
        type: Name of the value's type, such as "int", or "shop.Place" for a placeholder.
        size: Bytes of the stored value. A value that several keys share counts for the first.
        digest: Digest of the decoded value, 16 hexadecimal digits. Equal values of plain data have
            equal digests.
        value: The inert value, if values were asked for, else None. Plain data is itself. Anything
            else is `{"$type": "shop.Place"}`, with more keys where more is known.
        shown: Whether `value` was asked for. It tells a value None from one that is not shown.
    """

    key: str
    type: str
    size: int
    digest: str
    value: Any = None
    shown: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView(Record):
    """One step of a run or flow.

    Attributes:
        index: Index from 0.
        name: Its name.
        status: "done", "running", "failed", "cancelled", "paused", "next" (the run goes on here) or
            "waiting" (not reached).
        seconds: Seconds that loader, step and saver took together, or None where unknown.
        attempts: Attempts of this run at the step. 0 where it was not reached, or is unknown.
        snapshot_bytes: Bytes of the snapshot behind the step, or None where unknown.
        snapshot_seconds: Seconds that this snapshot took, or None.
        expected: Seconds that earlier runs needed for the step, or None where unknown.
        done, total, note: The progress that the step in progress has reported, as
            `current_step().progress` has it. None where it reported none.
        began: When the attempt in progress began. 0.0 where unknown.
        ends_at: When the step ends, by the progress that it has reported so far. 0.0 where it has
            reported too little, and where it is not in progress.
    """

    _TIMES: ClassVar[frozenset[str]] = frozenset({"began", "ends_at"})

    index: int
    name: str
    status: str
    seconds: float | None = None
    attempts: int = 0
    snapshot_bytes: int | None = None
    snapshot_seconds: float | None = None
    expected: float | None = None
    done: float | None = None
    total: float | None = None
    note: str | None = None
    began: float = 0.0
    ends_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressView(Record):
    """The last progress that the step in progress has stored.

    Attributes:
        step: Name of the step.
        done, total, note: As `current_step().progress` got them.
        at: When it was reported.
        cursor: The cursor, if values were asked for, else None.
        cursor_size: Bytes of the cursor's JSON, or None where there is no cursor.
        shown: Whether `cursor` was asked for.
    """

    _TIMES: ClassVar[frozenset[str]] = frozenset({"at"})

    step: str
    done: float
    total: float | None = None
    note: str | None = None
    at: float = 0.0
    cursor: Any = None
    cursor_size: int | None = None
    shown: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotView(Record, Shown):
    """One stored snapshot of a run.

    Attributes:
        number: Number of the run, as `Header.number`.
        sequence: Number of the snapshot, as `Header.sequence`.
        position: Index of the step on whose entry it was taken.
        step: Name of that step. None behind the last one, or where unknown.
        status: Status of the run in this snapshot.
        written_at: When it was written.
        size: Bytes of the whole snapshot.
        newest: Whether it is the newest of the run.
        damage: What is wrong with it, or None. Its status is then "damaged".
        keys: The keys of its state, if they were asked for, else None.
        complete: Whether all keys are given. False where a bound of the decoder was reached.
    """

    _TIMES: ClassVar[frozenset[str]] = frozenset({"written_at"})

    number: int
    sequence: int
    position: int
    step: str | None
    status: str
    written_at: float
    size: int
    newest: bool
    damage: str | None = None
    keys: tuple[KeyView, ...] | None = None
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeView(Record):
    """One difference between two states.

    Attributes:
        path: Where it is, such as `note` or `orders[3].price`.
        kind: "added", "removed", "changed", or "rewritten": an object that was pickled in another
            way, of which it is unknown whether it has changed.
        old, new: The inert values, if values were asked for, else None.
        old_type, new_type: Names of the types. None where there is no value.
    """

    path: str
    kind: str
    old: Any = None
    new: Any = None
    old_type: str | None = None
    new_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffView(Record, Shown):
    """The differences between two snapshots of a run.

    Attributes:
        flow, run_id: The run.
        old, new: The snapshots.
        changes: The differences, in the order of their paths: by key of the state, and inside
            dicts and lists by path.
        same: Keys of the state whose values are equal.
        complete: Whether everything was compared. False where a bound was reached, and where the
            `damage` of a snapshot says why it cannot be read.
        shown: Whether values were asked for.
    """

    flow: str
    run_id: str | None
    old: SnapshotView
    new: SnapshotView
    changes: tuple[ChangeView, ...]
    same: tuple[str, ...]
    complete: bool = True
    shown: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView(Record, Shown):
    """One stored run.

    Attributes:
        flow: Name of the flow. Empty where unknown.
        run_id: The run, or None for the one without an id.
        location: Where its snapshot is, for messages.
        status: Its status, as in `Header.status`. "damaged" where the snapshot cannot be read, or
            is not to be trusted. The other attributes say what is known of it nevertheless.
        damage: What is wrong with a damaged snapshot, or None.
        number, sequence, version: As in `Header`.
        position: Index of the step at which it goes on.
        step: Name of that step. None for a finished run, or where unknown.
        step_count: Number of its flow's steps, or None where unknown.
        stop: Index behind the last step that it is to run, in a live view, else None.
        steps: Its steps. For a flow of more than 100 steps, the newest of them.
        tries: Attempts at the step where it stands, in this run. 0 where it has not begun there.
        progress: What the step where it stands has stored of its progress, or None. Lists have
            None, and so have live views, whose steps have it.
        expected: Seconds by step that earlier runs needed. Empty where unknown.
        ends_at: When it ends, by these and by the progress of its step. 0.0 where that is unknown,
            in a list, and where it is not running.
        starts, killed: As in `Header`.
        owner: The living process that has claimed it, or None.
        stale: Whether it is shown as running and no living process owns it.
        failure: The exception that it broke on, or None.
        pause, pause_number, stopped_by, due, terminated_by, termination, actor: As in `Header`.
        started_at, written_at: When it began, and when its newest snapshot was written.
        size: Bytes of the newest snapshot.
        holds_data, code: As in `Header`.
        python, dill, library: Versions that wrote the snapshot.
        signed_by: Id of the secret that it claims to be signed with, or None.
        verified: True if the signature was checked and is right. False if it was not checked.
            A wrong one is a damage, and so is a missing one where secrets were given. None for an
            unsigned snapshot.
        sizes: Bytes by key of the state, if they were asked for, else None.
        keys: The keys of its state with their values, if they were asked for, else None.
        complete: Whether all keys are given. False where a bound of the decoder was reached.
        diffs: What changed in each step, if that was asked for, else None: each kept snapshot of
            this run compared with the one before, in their order. Empty where one alone is kept.
    """

    _TIMES: ClassVar[frozenset[str]] = frozenset({"started_at", "written_at", "due", "ends_at"})

    flow: str
    run_id: str | None
    location: str
    status: str
    damage: str | None = None
    number: int = 0
    sequence: int = 0
    version: int = 0
    position: int = 0
    step: str | None = None
    step_count: int | None = None
    stop: int | None = None
    steps: tuple[StepView, ...] = ()
    tries: int = 0
    progress: ProgressView | None = None
    expected: Mapping[str, float] = field(default_factory=dict[str, float])
    ends_at: float = 0.0
    starts: int = 0
    killed: int = 0
    owner: str | None = None
    stale: bool = False
    failure: Failure | None = None
    pause: str | None = None
    pause_number: int = 0
    stopped_by: str | None = None
    due: float | None = None
    terminated_by: str | None = None
    termination: str | None = None
    actor: str | None = None
    started_at: float = 0.0
    written_at: float = 0.0
    size: int = 0
    holds_data: bool = False
    code: bool = False
    python: str = ""
    dill: str = ""
    library: str = ""
    signed_by: str | None = None
    verified: bool | None = None
    sizes: Mapping[str, int] | None = None
    keys: tuple[KeyView, ...] | None = None
    complete: bool = True
    diffs: tuple[DiffView, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowView(Record, Shown):
    """One flow of a store.

    Attributes:
        flow: Its name. Empty where unknown.
        place: Path or URL of the store, without a password.
        counts: Number of runs by status. Statuses without a run are missing. "damaged" is one of
            them where headers were looked at.
        damaged: The number of damaged runs, or None where headers were not looked at, as in a
            database.
        size: Bytes of all newest snapshots.
        oldest: When the oldest run began. 0.0 where unknown.
        newest: When the newest snapshot was written. 0.0 where unknown.
        steps: Names of the steps in the run begun last. Empty where unknown.
    """

    _TIMES: ClassVar[frozenset[str]] = frozenset({"oldest", "newest"})

    flow: str
    place: str
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    damaged: int | None = None
    size: int = 0
    oldest: float = 0.0
    newest: float = 0.0
    steps: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """The number of runs."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class CountView(Record, Shown):
    """Numbers of runs by one or more facts.

    Attributes:
        flow: The flow.
        by: The facts, of "status", "step", "error" and "day".
        rows: Pairs of the values of these facts, in their order, and the number of runs. The
            greatest number first.
        total: The number of all runs counted.
    """

    flow: str
    by: tuple[str, ...]
    rows: tuple[tuple[tuple[str | None, ...], int], ...]
    total: int
