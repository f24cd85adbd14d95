"""A step that is sent to an executor: what travels there, is executed there, and travels back.

`execute_step` is called in the worker. It raises nothing, so that an exception of the executor is
never one of the step.
"""

from __future__ import annotations

import contextvars
import inspect
import pickle
import time
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from aiocheckpoint._concurrency.process_worker import take_part_reporter
from aiocheckpoint._engine.missing_keys import is_missing_key
from aiocheckpoint._engine.sent_progress import DistantReports
from aiocheckpoint._engine.sent_states import (
    packed_other_state,
    packed_plain_state,
    unpacked_state,
)
from aiocheckpoint._model.current_step import CURRENT, StepInProgress
from aiocheckpoint._model.failure_texts import MISSING_KEY
from aiocheckpoint._model.part_checks import check_end, checked_loaded
from aiocheckpoint._model.termination import ENDS_OF_STEPS
from aiocheckpoint._snapshot.pickling.names import StepModules
from aiocheckpoint._snapshot.pickling.sent_errors import packed_error
from aiocheckpoint._tracebacks import calls_user_code
from aiocheckpoint.errors import (
    FlowDefinitionError,
    NotTransactionalError,
    UnserializableStateError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._engine.sent_progress import ProgressChannel
    from aiocheckpoint._model.current_step import StepConnection, StepReports
    from aiocheckpoint._snapshot.pickling.sent_errors import SentError

__all__ = ["SentPart", "SentStep", "StepAnswer", "execute_step"]


class SentPart(NamedTuple):
    """A function of a step. Executors pickle it in their own way.

    Attributes:
        name: "load", "step" or "save".
        function: The function.
        takes_data: Whether it is called with `(state, data)`.
    """

    name: str
    function: Callable[..., Any]
    takes_data: bool


class SentStep:
    """A step on its way to a worker. One object, since engines look into tuples.

    Args:
        parts: The functions to call, or these pickled.
        state: The state, pickled.
        facts: The fields of `CurrentStep`.
        needs: Keys that the loader brings.
        cursor: The cursor of an earlier attempt, or None.
        channel: Takes its progress.
        location: Where the checkpoint is, for messages.
    """

    __slots__ = ("channel", "cursor", "facts", "location", "needs", "parts", "state")

    def __init__(
        self,
        parts: tuple[SentPart, ...] | bytes,
        state: bytes,
        facts: tuple[str, str | None, int, str, int],
        *,
        needs: tuple[str, ...],
        cursor: str | None,
        channel: ProgressChannel,
        location: str,
    ) -> None:
        self.parts, self.state, self.facts, self.needs = parts, state, facts, needs
        self.cursor, self.channel, self.location = cursor, channel, location


class StepAnswer(NamedTuple):
    """How a step has ended. Plain values, which any executor gives back.

    Attributes:
        part: The part that broke: "arrival" where the state cannot be loaded there, or "snapshot"
            where it cannot be sent back. None where nothing broke.
        seconds: How long each part took that has returned.
        state: The state behind the step, pickled. None where something broke.
        is_plain: Whether the state is small, and of plain values alone.
        error: What the step raised, or None.
        offenders: Paths of values that cannot be sent, with the reasons.
        result_ignored: Whether the step returned a value that is not kept.
        latest: What it has said last of its progress. None where the run knows that.
        cursor: Its last cursor, or None.
    """

    part: str | None
    seconds: dict[str, float]
    state: bytes | None = None
    is_plain: bool = False
    error: SentError | None = None
    offenders: tuple[tuple[str, str], ...] = ()
    result_ignored: bool = False
    latest: tuple[float, float | None, str | None] | None = None
    cursor: str | None = None


def execute_step(sent: SentStep) -> StepAnswer:
    """Execute a step, in a worker, and give back how it ended."""
    return contextvars.copy_context().run(_execute, sent)


def _execute(sent: SentStep) -> StepAnswer:
    sent.channel.begin()
    work = _StepElsewhere(sent)
    CURRENT.set(work.current)
    try:
        answer = work.execute()
    finally:
        work.current.end()
    reports = work.reports
    if isinstance(reports, DistantReports):
        answer = answer._replace(latest=reports.latest, cursor=reports.cursor)
    return answer


class _StepElsewhere:
    """A step that is executed in a worker. It is the one that `current_step()` gives there.

    Args:
        sent: The step.
    """

    def __init__(self, sent: SentStep) -> None:
        self.reports: StepReports | None = None
        self._sent, self._seconds = sent, dict[str, float]()
        self._part, self._data = "", dict[str, Any]()
        self._parts: tuple[SentPart, ...] = () if isinstance(sent.parts, bytes) else sent.parts
        self._modules = StepModules()
        self._report_part = take_part_reporter()
        self._result_ignored = False
        self.current = StepInProgress()
        self.current.facts, self.current.reporting = sent.facts, self
        if sent.cursor is not None:
            self.make_reports()

    def make_reports(self) -> StepReports:
        """Make what takes its progress. Another thread that comes at once makes the same."""
        reports = self.reports = self.reports or self._sent.channel.open(self._sent.cursor)
        return reports

    def connection(self) -> StepConnection:
        """Refuse a connection: the transaction of a snapshot is in the process of the run."""
        raise NotTransactionalError(self._sent.location, self._sent.facts[3], elsewhere=True)

    def execute(self) -> StepAnswer:
        """Call the parts."""
        try:
            if isinstance(self._sent.parts, bytes):
                self._parts = pickle.loads(self._sent.parts)  # noqa: S301 - from the run
            for part in self._parts:
                self._modules.note(part.function)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - modules of users raise anything
            return self._not_arrived(("its functions", f"{type(error).__name__}: {error}"))
        try:
            state = unpacked_state(self._sent.state, self._modules)
        except UnserializableStateError as error:
            return self._not_arrived(*error.offenders)
        try:
            for part in self._parts:
                self._call(part, state)
            self._report_part("")
        except BaseException as error:  # noqa: BLE001 - raised in the process of the run
            self._note_missing_key(error)
            return StepAnswer(self._part, self._seconds, error=packed_error(error))
        return self._ended(state)

    def _not_arrived(self, *offenders: tuple[str, str]) -> StepAnswer:
        return StepAnswer("arrival", self._seconds, offenders=offenders)

    def _call(self, part: SentPart, state: dict[str, Any]) -> None:
        self._part = part.name
        self._report_part(part.name)
        began = time.perf_counter()
        try:
            returned = _called(part, state, self._data)
        except ENDS_OF_STEPS as end:
            check_end(part.name, self._sent.facts[3], end)
            raise
        if inspect.isawaitable(returned):
            self._refuse_awaitable(part, returned)
        self._seconds[part.name] = time.perf_counter() - began
        if part.name == "load":
            needs = self._sent.needs
            self._data.update(checked_loaded(returned, self._sent.facts[3], needs))
        elif part.name == "step":
            kept = returned is None or returned is state or returned is self._data
            self._result_ignored = not kept

    def _refuse_awaitable(self, part: SentPart, returned: object) -> NoReturn:
        if inspect.iscoroutine(returned):
            returned.close()
        step = self._sent.facts[3]
        raise FlowDefinitionError(
            f"the part {part.name!r} of step {step!r} returned an awaitable, and an executor calls "
            "sync functions alone. Leave executor= out, or make it a sync function.",
            step=step,
        )

    def _note_missing_key(self, error: BaseException) -> None:
        has_loader = any(part.name == "load" for part in self._parts)
        if not has_loader and is_missing_key(error, self._data):
            error.add_note(
                f"{MISSING_KEY}{error.args[0]!r}: it begins empty in an executor, and step "
                f"{self._sent.facts[3]!r} has no loader. Add one with @cp.add_step(load=...), or "
                "let an earlier step put the value into the state."
            )

    def _ended(self, state: dict[str, Any]) -> StepAnswer:
        answer = StepAnswer(None, self._seconds, result_ignored=self._result_ignored)
        plain = packed_plain_state(state)
        if plain is not None:
            return answer._replace(state=plain, is_plain=True)
        try:
            return answer._replace(state=packed_other_state(state, self._modules))
        except UnserializableStateError as error:
            return answer._replace(part="snapshot", offenders=error.offenders)


@calls_user_code
def _called(part: SentPart, state: dict[str, Any], data: dict[str, Any]) -> object:
    return part.function(state, data) if part.takes_data else part.function(state)
