"""Every public error: its bases, its attributes, its text, and its round trips."""

from __future__ import annotations

import copy
import errno
import inspect
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import dill  # type: ignore[import-untyped]
import pytest

from aiocheckpoint import (
    CheckpointError,
    CheckpointFlow,
    CorruptSnapshotError,
    DrainingError,
    ExecutorError,
    FlowChangedError,
    FlowDefinitionError,
    FlowVersionError,
    ForeignFileError,
    GivenStateIgnoredWarning,
    IncompatibleSnapshotError,
    InvalidTypeError,
    InvalidValueError,
    LeaseLostError,
    MissingExtraError,
    NotDurableError,
    NoThreadError,
    NotTransactionalError,
    OutsideStepError,
    PauseConflictError,
    RemoteError,
    RunInProgressError,
    RunNotFoundError,
    RunStatusError,
    RunTerminatedError,
    SeveralFlowsError,
    StateConflictError,
    StepTimeoutError,
    StepTransactionError,
    StorageError,
    StoreUnreachableError,
    StreamConsumedError,
    UnknownHandlerError,
    UnpicklableFlowError,
    UnserializableStateError,
    UntrustedSnapshotError,
    WorkerLostError,
    errors,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATH = "/data/checkpoint.pkl"
URL = "postgresql://db.example:5432/orders"
SINCE = "2024-02-29T12:00:00+00:00"

EXAMPLES: dict[str, tuple[CheckpointError, dict[str, Any]]] = {
    "definition": (FlowDefinitionError("no step.", step="a"), {"step": "a"}),
    "definition-bare": (FlowDefinitionError("no steps."), {"step": None}),
    "type": (InvalidTypeError("a state is a dict."), {}),
    "value": (InvalidValueError("99 is no step."), {}),
    "handler": (
        UnknownHandlerError("redis", ["local"]),
        {"handler": "redis", "known": ("local",)},
    ),
    "lost": (WorkerLostError("r1", 4), {"run_id": "r1", "step": None, "losses": 4}),
    "lost-step": (
        WorkerLostError(None, 1, step="a", remedy="It is broken."),
        {"run_id": None, "step": "a", "losses": 1},
    ),
    "remote": (
        RemoteError("r1", "jobs.OddError", "jobs.OddError: a text"),
        {"run_id": "r1", "kind": "jobs.OddError", "text": "jobs.OddError: a text"},
    ),
    "unpicklable": (
        UnpicklableFlowError("step 'a' has no name.", step="a"),
        {"problem": "step 'a' has no name.", "step": "a"},
    ),
    "unpicklable-secret": (
        UnpicklableFlowError("a secret is never pickled."),
        {"problem": "a secret is never pickled.", "step": None},
    ),
    "extra": (
        MissingExtraError("retry=", "stamina", "pip install 'aiocheckpoint[retry]'"),
        {
            "wanted": "retry=",
            "missing": "stamina",
            "install": "pip install 'aiocheckpoint[retry]'",
        },
    ),
    "extra-of-python": (
        MissingExtraError("sqlite", "sqlite3", None),
        {"wanted": "sqlite", "missing": "sqlite3", "install": None},
    ),
    "outside": (OutsideStepError(), {}),
    "not-transactional": (NotTransactionalError(PATH, "pay"), {"path": PATH, "step": "pay"}),
    "transaction": (
        StepTransactionError("pay", "the step called commit()", "It is committed for it."),
        {"step": "pay", "problem": "the step called commit()"},
    ),
    "executor": (
        ExecutorError("fold", "it is shut down"),
        {"step": "fold", "problem": "it is shut down"},
    ),
    "pause": (PauseConflictError(PATH, "it is not paused."), {"path": PATH}),
    "status": (
        RunStatusError(PATH, "finished", "it is finished."),
        {"path": PATH, "status": "finished"},
    ),
    "not-found": (RunNotFoundError(PATH), {"path": PATH}),
    "terminated": (
        RunTerminatedError(PATH, run_id="order-1", reason="no such customer", by="step"),
        {"path": PATH, "run_id": "order-1", "reason": "no such customer", "by": "step"},
    ),
    "terminated-bare": (
        RunTerminatedError(PATH, reason=None, by="later"),
        {"path": PATH, "run_id": None, "reason": "", "by": "later"},
    ),
    "several-flows": (
        SeveralFlowsError(PATH, ("orders", "refunds")),
        {"place": PATH, "flows": ("orders", "refunds")},
    ),
    "timeout": (
        StepTimeoutError("pay", "save", 2.5),
        {"step": "pay", "part": "save", "seconds": 2.5},
    ),
    "draining": (DrainingError("orders"), {"flow": "orders", "path": None}),
    "drained": (DrainingError("orders", PATH), {"flow": "orders", "path": PATH}),
    "draining-twice": (
        DrainingError("orders", problem="wait for the first call"),
        {"flow": "orders", "path": None},
    ),
    "no-thread": (NoThreadError("no thread can be started."), {}),
    "consumed": (StreamConsumedError(), {}),
    "lease": (LeaseLostError(PATH), {"path": PATH}),
    "changed": (
        FlowChangedError(
            PATH,
            ["a", "b"],
            ["a", "c"],
            2,
            change="after 2 of the steps [a, b], but this flow has [a, c]",
            difference=1,
        ),
        {"path": PATH, "stored_steps": ("a", "b"), "current_steps": ("a", "c"), "position": 2},
    ),
    "changed-step": (
        FlowChangedError(
            PATH, ["a", "b"], ["a", "c"], 1, change="the steps [a, b], ... [a, c]", step="b"
        ),
        {"path": PATH, "position": 1, "step": "b", "of_other_flow": False},
    ),
    "changed-flow": (
        FlowChangedError(
            PATH, ["a", "b"], ["c"], 1, change="the steps [a, b], ... [c]", of_other_flow=True
        ),
        {"path": PATH, "position": 1, "step": None, "of_other_flow": True},
    ),
    "version": (
        FlowVersionError(PATH, "order-1", 3, 2),
        {"path": PATH, "run_id": "order-1", "stored_version": 3, "version": 2},
    ),
    "version-none": (
        FlowVersionError(PATH, None, 3, 0),
        {"path": PATH, "run_id": None, "stored_version": 3, "version": 0},
    ),
    "running": (
        RunInProgressError(PATH, pid=7, host="here", since=SINCE),
        {"path": PATH, "pid": 7, "host": "here", "since": SINCE},
    ),
    "running-elsewhere": (
        RunInProgressError(PATH, pid=7, host="far", since=SINCE, lease_left=2.5),
        {"path": PATH, "pid": 7, "host": "far", "since": SINCE, "lease_left": 2.5},
    ),
    "running-on-a-server": (
        RunInProgressError(
            PATH, pid=7, host="far", since=SINCE, lease_left=29.96, end_is_seen=True
        ),
        {"path": PATH, "pid": 7, "lease_left": 29.96, "end_is_seen": True},
    ),
    "running-unknown": (
        RunInProgressError(PATH),
        {"path": PATH, "pid": None, "host": None, "since": None},
    ),
    "conflict": (
        StateConflictError(PATH, "order-1", finished=False, step="fit", raised=True),
        {"path": PATH, "run_id": "order-1"},
    ),
    "conflict-once": (
        StateConflictError(PATH, None, finished=True, step=None, raised=False),
        {"path": PATH, "run_id": None},
    ),
    "unserializable": (
        UnserializableStateError("a", [('state["x"]', "socket: cannot be pickled")]),
        {"step": "a", "offenders": (('state["x"]', "socket: cannot be pickled"),)},
    ),
    "unserializable-start": (
        UnserializableStateError(None, [("state", "too deep")]),
        {"step": None, "offenders": (("state", "too deep"),)},
    ),
    "corrupt": (CorruptSnapshotError(PATH, "it is short"), {"path": PATH, "reason": "it is short"}),
    "unknown": (
        CorruptSnapshotError(PATH, "it is no pickle", of_unknown_origin=True),
        {"path": PATH, "reason": "it is no pickle", "of_unknown_origin": True},
    ),
    "foreign": (
        ForeignFileError(PATH, "it is a list", remedy="Or adopt it."),
        {"path": PATH, "reason": "it is a list", "of_unknown_origin": False},
    ),
    "incompatible": (
        IncompatibleSnapshotError(
            PATH, "no module m", written_by="3.12.1", lost=(('state["m"]', "no module m"),)
        ),
        {
            "path": PATH,
            "reason": "no module m",
            "written_by": "3.12.1",
            "lost": (('state["m"]', "no module m"),),
        },
    ),
    "untrusted": (
        UntrustedSnapshotError(PATH, "it is not signed"),
        {"path": PATH, "reason": "it is not signed"},
    ),
    "storage": (
        StorageError.of(PATH, "writing", OSError(errno.ENOSPC, "No space left on device")),
        {"path": PATH, "errno": errno.ENOSPC, "damaged": False},
    ),
    "storage-bare": (StorageError(PATH, "no regular file."), {"path": PATH, "errno": None}),
    "storage-damaged": (
        StorageError(PATH, "it is a damaged database.", damaged=True),
        {"path": PATH, "errno": None, "damaged": True},
    ),
    "unreachable": (
        StoreUnreachableError(URL, "connection refused", seconds=60.0),
        {"path": URL, "problem": "connection refused", "seconds": 60.0, "errno": None},
    ),
    "unreachable-once": (
        StoreUnreachableError(URL, "read-only."),
        {"path": URL, "problem": "read-only.", "seconds": 0.0, "damaged": False},
    ),
    "durable": (
        NotDurableError(PATH, "not flushed.", errno=errno.EIO),
        {"path": PATH, "errno": errno.EIO},
    ),
}
BASES: dict[type[CheckpointError], tuple[type[BaseException], ...]] = {
    CheckpointError: (Exception,),
    FlowDefinitionError: (CheckpointError,),
    InvalidTypeError: (CheckpointError, TypeError),
    InvalidValueError: (CheckpointError, ValueError),
    UnknownHandlerError: (CheckpointError, NotImplementedError),
    MissingExtraError: (CheckpointError, ImportError),
    UnpicklableFlowError: (CheckpointError, TypeError),
    WorkerLostError: (CheckpointError, RuntimeError),
    RemoteError: (CheckpointError, RuntimeError),
    OutsideStepError: (CheckpointError, LookupError),
    PauseConflictError: (InvalidValueError,),
    RunNotFoundError: (CheckpointError, LookupError),
    RunStatusError: (InvalidValueError,),
    RunTerminatedError: (CheckpointError,),
    SeveralFlowsError: (InvalidValueError,),
    StepTimeoutError: (CheckpointError, TimeoutError),
    NotTransactionalError: (CheckpointError, RuntimeError),
    StepTransactionError: (CheckpointError, RuntimeError),
    DrainingError: (CheckpointError,),
    ExecutorError: (CheckpointError, RuntimeError),
    NoThreadError: (CheckpointError, RuntimeError),
    StreamConsumedError: (CheckpointError, RuntimeError),
    LeaseLostError: (CheckpointError,),
    FlowChangedError: (CheckpointError,),
    FlowVersionError: (CheckpointError,),
    RunInProgressError: (CheckpointError,),
    StateConflictError: (CheckpointError,),
    UnserializableStateError: (CheckpointError, TypeError),
    CorruptSnapshotError: (CheckpointError,),
    ForeignFileError: (CorruptSnapshotError,),
    IncompatibleSnapshotError: (CheckpointError,),
    UntrustedSnapshotError: (CheckpointError,),
    StorageError: (CheckpointError, OSError),
    NotDurableError: (StorageError,),
    StoreUnreachableError: (StorageError,),
}
REMEDIES = {
    "handler": ["'redis'", "'local'", "read()", "write(state)"],
    "extra": ["retry=", "'stamina'", "pip install 'aiocheckpoint[retry]'"],
    "extra-of-python": ["sqlite", "sqlite3", "another", "'local'"],
    "timeout": ["'pay'", "'save'", "timeout=2.5 seconds", "more time"],
    "draining": ["'orders'", "no run starts", "next process"],
    "drained": ["'orders'", PATH, "next process", "aresume_all()"],
    "draining-twice": ["'orders'", "the first call"],
    "consumed": ["once", "again", "list"],
    "outside": ["current_step()", "loader", "saver", "asyncio.to_thread"],
    "not-transactional": ["'pay'", PATH, "postgresql://", "idempotency_key"],
    "transaction": ["'pay'", "commit()", "It is committed for it."],
    "not-found": [PATH, "run()", "runs()"],
    "lease": [PATH, "lease", "suspended", "nothing", "Run again"],
    "changed": [PATH, "[a, b]", "[a, c]", "checkpoint=", "reset()"],
    "changed-step": [PATH, "'b'", "[a, b]", "[a, c]", "release", "checkpoint="],
    "changed-flow": [PATH, "[a, b]", "[c]", "name=", "checkpoint="],
    "version": [PATH, "version 3", "version 2", "version=4", "migrate=", "checkpoint="],
    "version-none": [PATH, "no version=", "version=4"],
    "running": [PATH, "7", "here", SINCE, "wait=", "run_id"],
    "running-elsewhere": [PATH, "7", "far", SINCE, "wait=", "run_id", "no sign of life", "2.5 s"],
    "running-on-a-server": [PATH, "7", "far", SINCE, "wait=", "within a second", "30.0 s"],
    "running-unknown": [PATH, "unknown", "wait="],
    "conflict": [PATH, "refused", "'fit'", "use another run_id", "leave the state out"],
    "conflict-once": [PATH, "ignored", "stored result", "leave once=True out"],
    "unserializable": ['state["x"]', "'a'", "socket", "data", "as it was"],
    "unserializable-start": ["before the first step", "too deep"],
    "corrupt": [PATH, "it is short", "reset()"],
    "unknown": [PATH, "it is no pickle", "another path", "reset() included"],
    "foreign": [PATH, "it is a list", "another path", "reset() does not", "Or adopt it."],
    "incompatible": [PATH, "no module m"],
    "untrusted": [PATH, "it is not signed", "adopt(", "allow=", "reset()"],
    "unreachable": [URL, "for 60 s", "connection refused", "Nothing", "run again", "aresume_all()"],
    "unreachable-once": [URL, "read-only", "Nothing", "run again"],
    "storage": [PATH, "writing", "No space left on device", "run again"],
}


def by_pickle(protocol: int) -> Callable[[CheckpointError], CheckpointError]:
    """Make the round trip through a pickle of a protocol."""

    def round_trip(error: CheckpointError) -> CheckpointError:
        there: CheckpointError = pickle.loads(pickle.dumps(error, protocol))
        return there

    return round_trip


ROUND_TRIPS: dict[str, Callable[[CheckpointError], CheckpointError]] = {
    **{f"pickle-{number}": by_pickle(number) for number in range(pickle.HIGHEST_PROTOCOL + 1)},
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "dill": lambda error: dill.loads(dill.dumps(error)),
    "twice": lambda error: pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(error)))),
}

every_example = pytest.mark.parametrize("example", EXAMPLES)


def test_examples_are_of_every_error() -> None:
    """Each public error has an example here, and its bases are listed."""
    names = [name for name in errors.__all__ if not name.endswith("Warning")]
    public = {getattr(errors, name) for name in names}
    assert {type(error) for error, _ in EXAMPLES.values()} == public - {CheckpointError}
    assert set(BASES) == public


def test_warning_is_a_warning_of_users() -> None:
    """The one warning is shown by default, and survives pickling as errors do."""
    warning = pickle.loads(pickle.dumps(GivenStateIgnoredWarning("a text")))
    assert GivenStateIgnoredWarning.__bases__ == (UserWarning,)
    assert (type(warning), str(warning)) == (GivenStateIgnoredWarning, "a text")


@pytest.mark.parametrize("kind", BASES, ids=lambda kind: kind.__name__)
def test_bases(kind: type[CheckpointError]) -> None:
    """An error can be caught by its built-in bases."""
    assert kind.__bases__ == BASES[kind]


@every_example
def test_facts_are_attributes(example: str) -> None:
    """The facts of an error are documented attributes."""
    error, facts = EXAMPLES[example]
    assert {name: getattr(error, name) for name in facts} == facts
    documented = inspect.getdoc(type(error)) or ""
    if type(error) is not NotDurableError:
        assert all(f"{name}:" in documented for name in facts)


@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
@every_example
def test_error_survives(example: str, round_trip: str) -> None:
    """An error survives any round trip unchanged: class, text, attributes, notes."""
    error, facts = EXAMPLES[example]
    error = ROUND_TRIPS["copy"](error)
    error.add_note("the user's note")
    there = ROUND_TRIPS[round_trip](error)
    assert there is not error
    assert type(there) is type(error)
    assert (str(there), there.args, repr(there)) == (str(error), error.args, repr(error))
    assert {name: getattr(there, name) for name in facts} == facts
    assert there.__notes__ == ["the user's note"]
    assert vars(there) == vars(error)


@every_example
def test_error_can_be_raised_again(example: str) -> None:
    """An unpickled error is raised and caught like any other."""
    error = ROUND_TRIPS["twice"](EXAMPLES[example][0])
    with pytest.raises(type(error)) as info:
        raise error
    assert info.value is error
    assert str(error) in "".join(map(str, info.value.args))


@pytest.mark.parametrize("example", REMEDIES)
def test_messages_name_the_fault_and_the_remedy(example: str) -> None:
    """The text names the thing and the remedy."""
    text = str(EXAMPLES[example][0])
    assert [words for words in REMEDIES[example] if words not in text] == []


@every_example
def test_words_are_a_sentence(example: str) -> None:
    """Each text is one line that ends with a full stop, without braces or None."""
    text = str(EXAMPLES[example][0])
    assert text.endswith(".")
    assert "\n" not in text
    assert "None" not in text
    assert not set("{}") & set(text)


def test_storage_error_keeps_its_cause_and_number(tmp_path: Path) -> None:
    """A translated system error has the system's number, and the system's error as its cause."""
    place = tmp_path / "file"
    place.touch()
    cp = CheckpointFlow(place / "c.pkl")
    cp.add_step(name="a")(lambda state: None)
    with pytest.raises(StorageError) as info:
        cp.run()
    assert isinstance(info.value.__cause__, OSError)
    assert info.value.errno == info.value.__cause__.errno
    assert info.value.errno in {errno.ENOTDIR, errno.EEXIST}
    assert str(place) in str(info.value)


def test_subclass_of_a_users_own_survives() -> None:
    """A user's subclass with attributes of its own is pickled like the others."""
    error = OwnError("worse", step="a")
    there = pickle.loads(pickle.dumps(error))
    assert (type(there), str(there), there.step, there.extra) == (OwnError, "worse", "a", [1])


class OwnError(FlowDefinitionError):
    """A user's own kind of error."""

    def __init__(self, message: str, *, step: str | None) -> None:
        """Add an attribute."""
        super().__init__(message, step=step)
        self.extra = [1]


def test_error_crosses_a_process_border(tmp_path: Path) -> None:
    """An error of a flow in another process is unpickled here with its attributes and note."""
    program = """
import pickle, sys
from aiocheckpoint import CheckpointFlow
cp = CheckpointFlow(sys.argv[1])
cp.add_step(name="a")(lambda state: state.update(bad=(x for x in ())))
try:
    cp.run()
except Exception as error:
    sys.stdout.buffer.write(pickle.dumps(error))
"""
    command = [sys.executable, "-c", program, str(tmp_path / "c.pkl")]
    error = pickle.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert isinstance(error, UnserializableStateError)
    assert error.step == "a"
    assert error.offenders[0][0] == 'state["bad"]'
    assert "1 of 1" in error.__notes__[0]


def test_traceback_of_a_program_is_complete(tmp_path: Path) -> None:
    """The traceback of a program shows the name, the text and the note."""
    program = """
import sys
from aiocheckpoint import CheckpointFlow
cp = CheckpointFlow(sys.argv[1])
@cp.add_step()
def a(state): state["bad"] = open(sys.argv[0] if sys.argv[0] != "-c" else sys.executable)
cp.run()
"""
    command = [sys.executable, "-W", "ignore", "-c", program, str(tmp_path / "c.pkl")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    for words in ("UnserializableStateError", 'state["bad"]', "step 1 of 1", "Mend it"):
        assert words in ended.stderr
