"""A given state that the stored run overrules: passed over in silence, warned of, or refused."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from aiocheckpoint._logging import log_conflict
from aiocheckpoint._snapshot.keys import DATA_KEY, POSITION_KEY, has_reserved_keys
from aiocheckpoint._snapshot.state_digest import first_other, is_flat
from aiocheckpoint.errors import GivenStateIgnoredWarning, InvalidTypeError, StateConflictError

if TYPE_CHECKING:
    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._engine.context import FlowSettings, RunContext
    from aiocheckpoint._model.given_state import Sameness
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.plan import Plan
    from aiocheckpoint._model.request import Request
    from aiocheckpoint.handlers._run_store import RunStore

__all__ = [
    "check_given",
    "check_plain",
    "check_submitted",
    "compare_given",
    "note_end",
    "refuse_given",
]

State = dict[str, Any]

_NOT_COMPARED = "Ignores the submitted state: no digest is stored to compare it with."


class _LastBroken:
    """The dict that the last broken run of this process began with.

    It is one alone, since it stays in memory with all that the steps have put into it.

    Attributes:
        start: The location of the run, and the very dict.
    """

    def __init__(self) -> None:
        self.start: tuple[str, State] | None = None


_LAST_BROKEN = _LastBroken()


def note_end(location: str, plan: Plan, request: Request, *, finished: bool) -> None:
    """Note the very dict that a run began with where it ends unfinished, and else let go of it."""
    last, state = _LAST_BROKEN.start, request.state
    is_very_dict = request.remembers and plan.given in {None, "equal"}
    if not finished and state is not None and is_very_dict:
        _LAST_BROKEN.start = location, state
    elif finished and last is not None and last[0] == location:
        _LAST_BROKEN.start = None


async def compare_given(run_store: RunStore, stored: Header, state: State) -> Sameness:
    """Compare a given state with the one that the stored run began with."""
    last = _LAST_BROKEN.start
    if last is not None and last[0] == run_store.location and last[1] is state:
        return "equal"
    if has_reserved_keys(state):  # as `read` gives it
        state = {key: state[key] for key in state if key not in {POSITION_KEY, DATA_KEY}}
    return await run_store.compare(stored, state)


async def check_plain(request: Request, settings: FlowSettings, backend: Backend) -> None:
    """Refuse a given state that cannot be compared exactly, under `conflict="raise"`.

    Raises:
        InvalidTypeError: It holds another value than plain data.
    """
    if settings.conflict != "raise" or request.state is None or is_flat(request.state):
        return
    other = await backend.run(first_other, request.state)
    if other is not None:
        key, kind = other
        raise InvalidTypeError(
            'conflict="raise" compares given states exactly, and so needs plain data: numbers, '
            f"texts, dates, dicts, lists, sets and the like. state[{key!r}] is or holds a "
            f"{kind.__name__}. Make such objects in a step, or leave conflict= out."
        )


def refuse_given(
    plan: Plan, settings: FlowSettings, run_id: str | None, location: str
) -> StateConflictError | None:
    """Refuse a given state that is not what the stored run began with, or give the words for it.

    Returns:
        The error that has the words of the warning, or None where there is nothing to warn of.

    Raises:
        StateConflictError: It is another one, and the run was queued or `conflict="raise"` is set.
    """
    if plan.given not in {"different", "similar"}:
        return None
    refused = plan.given == "different" and (plan.from_queue or settings.conflict == "raise")
    step = None if plan.done else plan.first
    facts = {"finished": plan.done, "queued": plan.from_queue}
    error = StateConflictError(location, run_id, **facts, step=step, raised=refused)
    if refused:
        raise error
    return error


def check_given(plan: Plan, request: Request, context: RunContext) -> None:
    """Warn of a given state that is not what the stored run began with, or refuse it.

    Raises:
        StateConflictError: As in `refuse_given`.
        GivenStateIgnoredWarning: Where the program makes errors of warnings.
    """
    settings, run_id = context.settings, context.run_id
    error = refuse_given(plan, settings, run_id, context.run_store.location)
    site = request.caller
    if error is not None and site is None:
        log_conflict(settings.flow, run_id, str(error))
    elif error is not None and site is not None:
        warning, kind = GivenStateIgnoredWarning(str(error)), GivenStateIgnoredWarning
        # Without a registry, so that it is shown each time.
        warnings.warn_explicit(warning, kind, site.filename, site.line, site.module)


async def check_submitted(
    run_store: RunStore, stored: Header, state: State, settings: FlowSettings
) -> None:
    """Refuse a submitted state that is not what the stored run began with, or warn of it.

    Where the states differ only in values that are no plain data, or cannot be compared, the run is
    left with a warning.

    A finished run is left by `once=True` as it is: another state is then refused under
    `conflict="raise"` alone.

    Raises:
        StateConflictError: It is another one.
    """
    sameness = await compare_given(run_store, stored, state)
    if sameness == "equal":
        return
    refused = sameness == "different" and (not stored.finished or settings.conflict == "raise")
    error = StateConflictError(
        run_store.location,
        stored.run_id,
        finished=stored.finished,
        step=stored.next_step,
        raised=refused,
        queued=stored.status == "queued",
        submitted=True,
    )
    if refused:
        raise error
    words = _NOT_COMPARED if sameness == "unknown" else str(error)
    log_conflict(settings.flow, stored.run_id, words)
