"""`current_step()`: the step that runs in this context."""

from __future__ import annotations

import hashlib
import json
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, overload

from aiocheckpoint._concurrency import forks
from aiocheckpoint._model.cursor import decode_cursor, encode_cursor
from aiocheckpoint._model.progress_arguments import (
    LONGEST_NOTE,
    MOST,
    checked_amount,
    checked_note,
    checked_total,
)
from aiocheckpoint._model.tracking import tracked
from aiocheckpoint._tracebacks import front_door
from aiocheckpoint.errors import OutsideStepError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Generator, Iterable, Iterator

    from psycopg import AsyncConnection, Connection
    from psycopg.rows import TupleRow

    from aiocheckpoint._model.progress_arguments import Amount

    class StepConnection(Connection[TupleRow]):
        """What `connection()` gives: a `Connection`, or an awaitable for an `AsyncConnection`.

        No object is of this class. It lets type checkers know both uses, where psycopg is.
        """

        def __await__(self) -> Generator[Any, None, AsyncConnection[TupleRow]]:
            """Await the connection in a coroutine."""
            ...


__all__ = [
    "CURRENT",
    "CurrentStep",
    "Progress",
    "ReportingStep",
    "StepInProgress",
    "StepReports",
    "current_step",
    "step_in_progress",
    "step_inside",
]


_Item = TypeVar("_Item")

_FOUND = "_found"
"""The attribute of `CurrentStep` that has its step in progress. It is no field of the tuple."""


class Progress(NamedTuple):
    """How far a step is, as it has said last.

    Attributes:
        done: How much is done, in the step's own units.
        total: How much there is to do, or None.
        note: A short text, or None.
    """

    done: float
    total: float | None
    note: str | None


class StepReports(Protocol):
    """Takes what a step says of its progress.

    Attributes:
        cursor: The cursor as JSON, or None.
    """

    cursor: str | None

    def report(
        self, done: float, total: float | None, note: str | None, cursor: str | None
    ) -> None:
        """Take the progress of a step, in any thread. `cursor` is None where it stays as it is."""


class ReportingStep(Protocol):
    """A step that is executed, and may say how far it is, or ask for its connection.

    Attributes:
        reports: Takes what it says. None where it has said nothing yet.
    """

    @property
    def reports(self) -> StepReports | None:
        """Takes what it says. None where it has said nothing yet."""
        ...

    def make_reports(self) -> StepReports:
        """Make what takes it, once, in any thread."""
        ...

    def connection(self) -> StepConnection:
        """Give the connection of the attempt, to the part of the step that is called now."""
        ...


class _StepFacts(NamedTuple):
    """The fields of `CurrentStep`."""

    flow: str
    run_id: str | None
    number: int
    step: str
    attempt: int


class CurrentStep(_StepFacts):
    """Which step of which run is being executed.

    It is a tuple of these five, and compared and pickled as one.

    Attributes:
        flow: Name of the flow.
        run_id: The run's id, or None.
        number: Counts the runs that began anew under this id, from 1.
        step: Name of the step.
        attempt: Counts the attempts of this run at this step, from 1. Attempts whose process was
            killed are not counted.
    """

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the fields alone. Nobody hears of the progress of a copy."""
        return type(self), tuple(self)

    @property
    def idempotency_key(self) -> str:
        """A key for calls to the outside, the same at every attempt of this run at this step.

        64 hexadecimal digits: the SHA-256 of flow, run id, run number and step. A deleted run that
        is started again has the same keys.
        """
        identity = json.dumps([self.flow, self.run_id, self.number, self.step])
        return hashlib.sha256(identity.encode()).hexdigest()

    @property
    def cursor(self) -> dict[str, Any] | None:
        """The cursor that this step has given last, at this attempt or the one before it.

        A dict of its own at each access. None where there is none, and once the attempt has ended.
        """
        step = self._reporting_step()
        text = None if step is None or step.reports is None else step.reports.cursor
        return None if text is None else decode_cursor(text)

    def progress(
        self,
        done: Amount,
        total: Amount | None = None,
        note: str | None = None,
        *,
        cursor: dict[str, Any] | None = None,
    ) -> None:
        """Say how far the step is, for displays, hooks and `watch`.

        Call it as often as you like, in any thread or task that the step has started. It never
        waits. Once the attempt has ended, and in a forked or pickled copy, it does nothing.

        Args:
            done: How much is done, in units of your own: an int, a float, or another real number.
            total: How much there is to do, or None where that is unknown.
            note: A short text, such as the units. It is cut at 200 characters.
            cursor: Where the next attempt is to go on, as a dict of plain JSON of at most 16 KiB.
                By default the last one stays.

        Raises:
            InvalidTypeError: `done` or `total` is no real number, or a bool. `note` is no text. Or
                `cursor` is no dict of plain JSON.
            InvalidValueError: `done` or `total` is negative, not finite, or larger than 1e300. Or
                `cursor` is too large, or holds a value that JSON cannot keep.
        """
        # Plain arguments are looked at here: a step may call it for each of a million items.
        if not (type(done) is int or type(done) is float) or not 0 <= done <= MOST:
            done = checked_amount("done", done)
        if total is not None and (type(total) is not int or not 0 <= total <= MOST):
            total = checked_amount("total=", total)
        if note is not None and (type(note) is not str or len(note) > LONGEST_NOTE):
            note = checked_note(note)
        encoded = None if cursor is None else encode_cursor(cursor)
        step = self._reporting_step()
        if step is not None:
            (step.reports or step.make_reports()).report(done, total, note, encoded)

    @overload
    def track(
        self, iterable: Iterable[_Item], total: Amount | None = None, note: str | None = None
    ) -> Iterator[_Item]: ...

    @overload
    def track(
        self, iterable: AsyncIterable[_Item], total: Amount | None = None, note: str | None = None
    ) -> AsyncIterator[_Item]: ...

    def track(
        self,
        iterable: Iterable[_Item] | AsyncIterable[_Item],
        total: Amount | None = None,
        note: str | None = None,
    ) -> Iterator[_Item] | AsyncIterator[_Item]:
        """Give the items of an iterable, and say how many of them are done.

        An item counts as done when the next one is asked for, so that leaving the loop early, or
        an exception, does not count the last one.

        Args:
            iterable: Items for a `for` loop, or for an `async for` loop. One that is for both is
                for `for`.
            total: The number of items. By default `len(iterable)`, or what an iterator says
                itself, where there is that.
            note: A short text, as for `progress`.

        Returns:
            An iterator of the same kind.

        Raises:
            InvalidTypeError: `iterable` is none, or another argument is of the wrong type.
            InvalidValueError: `total` is negative, not finite, or larger than 1e300.
        """
        return tracked(self.progress, iterable, checked_total(total), checked_note(note))

    @front_door
    def connection(self) -> StepConnection:
        """Give a connection for the step's own SQL, which is committed together with its snapshot.

        The connection is psycopg's, to the database that stores the run. Its transaction begins
        here and belongs to the attempt: loader, step and saver get the same one. It is committed by
        the commit that stores the snapshot behind the step, so that either both are in the database
        or neither. It is rolled back when the attempt fails, is repeated, pauses or terminates the
        run, is cancelled or times out, and when another process has taken over the run. A step
        that took it is repeated whole, its loader included: no saver is called again alone.

        The kind of the function decides, whatever loop is running in its thread. A coroutine
        function awaits the connection and gets a `psycopg.AsyncConnection`:
        `connection = await current_step().connection()`. A sync function gets a
        `psycopg.Connection`: `connection = current_step().connection()`. A plain function that
        returns an awaitable is sync in its own body, and a coroutine in what is awaited. Under
        `arun`, a sync function with `thread=False` is refused, as it would block the event loop.

        The step neither commits, rolls back nor closes it, and does not use it as a context manager
        or switch it to autocommit. `connection.transaction()` is a savepoint, by which the
        step may undo a part of its work and go on. After the attempt the connection can be used no
        more, and neither can it in a forked process.

        At most `connections=` attempts of a handler have a connection at once. The wait for one is
        no part of `timeout=`, and ends when the flow is drained or the run is cancelled. A step
        must not wait for another run that needs one.

        Where the connection broke and nothing of the step was committed, the step is executed
        again, for as long as `patience=` says. That is an attempt of its own, with or without
        `retry=`.

        Raises:
            NotTransactionalError: The run is stored in no database with transactions.
            OutsideStepError: No part of this step is being called, its attempt has ended, or
                another process executes it.
            FlowDefinitionError: The function is a sync one with `thread=False`, under `arun`.
            DrainingError: The flow is drained while the step waits. Let it through, and the run
                stops before this step.
            StoreUnreachableError: The database was out of reach until `patience=` was over.
            StorageError: The database refuses a connection.
        """
        step = self._reporting_step()
        if step is None:
            raise OutsideStepError("its attempt has ended, or another process executes it")
        return step.connection()

    def _reporting_step(self) -> ReportingStep | None:
        """Give the step that reports, as long as this attempt is executed by this process."""
        found: StepInProgress | None = self.__dict__.get(_FOUND)
        if found is None or found.process is not forks.process:
            return None
        facts = found.facts
        return None if facts is None or facts[4] != self.attempt else found.reporting


class StepInProgress:
    """A step from its first attempt to its snapshot, in the process that executes it.

    Contexts are copied and outlive the step: tasks, threads and worker processes that began during
    it keep them. They share this object, so that it can be ended for all of them.

    Attributes:
        outer: The step in which its run was begun, or None.
        facts: The fields of the step at its present attempt. None before the first attempt and
            after the end.
        process: The process that executes it, as `forks.process` has it.
        reporting: The step as one that says how far it is. None where it is not called.
    """

    __slots__ = ("facts", "outer", "process", "reporting")

    def __init__(self) -> None:
        self.outer: StepInProgress | None = CURRENT.get()
        self.facts: tuple[str, str | None, int, str, int] | None = None
        self.process: object = forks.process
        self.reporting: ReportingStep | None = None

    @property
    def step(self) -> CurrentStep | None:
        """The step, made for those who ask: every attempt begins one, and few are asked for."""
        facts = self.facts
        if facts is None:
            return None
        step = CurrentStep(*facts)
        step.__dict__[_FOUND] = self
        return step

    def end(self) -> None:
        """End the step, for copies of its context as well, which may outlive it."""
        self.facts = self.reporting = None


CURRENT: ContextVar[StepInProgress | None] = ContextVar("aiocheckpoint_step", default=None)
"""The step in progress in this context. A run inside a step hides the outer one."""


def step_in_progress() -> CurrentStep | None:
    """Give the step that is executed here by this process, or None."""
    found = CURRENT.get()
    return None if found is None or found.process is not forks.process else found.step


def step_inside(flow: str) -> str | None:
    """Give the name of the step of a flow that is executed here, or has begun what is, or None."""
    found = CURRENT.get()
    while found is not None and found.process is forks.process:
        if found.step is not None and found.step.flow == flow:
            return found.step.step
        found = found.outer
    return None


@front_door
def current_step() -> CurrentStep:
    """Give the step that runs, to the step itself, its loader or its saver.

    Works in coroutines and in the threads of sync functions, in tasks that the step starts, and in
    threads with the context of the step, which `asyncio.to_thread` passes on.

    A worker process, a thread of a pool and a background task serve the steps of many runs, and may
    have begun during another one. In a forked process, and once the step has ended, there is no
    current step. Take the key in the step, and pass it on as an argument:
    `pool.submit(charge, current_step().idempotency_key)`.

    Raises:
        OutsideStepError: No step is being executed here, it has ended, or another process
            executes it.
    """
    found = CURRENT.get()
    if found is None:
        raise OutsideStepError
    if found.process is not forks.process:
        raise OutsideStepError("this process was forked, and has a copy of the step of its parent")
    step = found.step
    if step is None:
        raise OutsideStepError("the step in which this task or thread began has ended")
    return step
