"""Decides where a run starts, with which state, and which loaders run. Does no work itself."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

from aiocheckpoint._model.changed_steps import flow_changed
from aiocheckpoint._model.header import Header
from aiocheckpoint._model.request import AlreadyFinishedError, LoadPolicy, Request
from aiocheckpoint._model.step_names import StepNames
from aiocheckpoint._model.steps import Step, Steps
from aiocheckpoint.errors import FlowDefinitionError, InvalidTypeError, InvalidValueError

__all__ = ["Plan", "check_policy", "find_step", "make_plan"]


Source = Literal["given", "stored", "kept", "empty"]

_WORDS: dict[Source, str] = {
    "given": "the given state",
    "stored": "the stored state",
    "kept": "the state as it was on entry to it",
    "empty": "an empty state",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan of a run. `str()` gives it in words.

    Attributes:
        steps: Names of all steps of the flow.
        start: Index of the first step that runs. The number of steps where none is left.
        stop: Index after the last step that runs.
        loads: For each step of the flow, whether its loader runs.
        source: Origin of the state: the caller ("given"), the checkpoint ("stored"), an older
            snapshot from the entry to the first step ("kept"), or a new dict ("empty").
        kept: The header of that older snapshot, or None.
        fresh: Whether this is a new run, not the rest of one.
        relocates: Whether the rest of a run starts elsewhere than at the stored position, starts
            with another state, or is no longer paused.
        restores_data: Whether `data` comes from the checkpoint too, as `keep_data=True` has it.
        ignores_given: Whether the caller gave a state that is ignored, since an unfinished run has
            its own.
        reason: Why it starts there, in words.
        done: Whether the run is finished and, under `once=True`, stays finished.
    """

    steps: tuple[str, ...]
    start: int
    stop: int
    loads: tuple[bool, ...]
    source: Source
    kept: Header | None = None
    fresh: bool
    relocates: bool
    restores_data: bool = False
    ignores_given: bool
    reason: str
    done: bool = False

    @property
    def first(self) -> str | None:
        """Name of the first step that runs, None where none is left."""
        return self.steps[self.start] if self.start < len(self.steps) else None

    def __str__(self) -> str:
        """The plan in a few lines of words."""
        if self.done:
            return f"Runs nothing, and gives {_WORDS[self.source]}: {self.reason}."
        names = self.steps[self.start : self.stop]
        if not names:
            return f"Runs nothing, with {_WORDS[self.source]}: no step is left."
        loaders = [name for name, loads in zip(self.steps, self.loads, strict=True) if loads]
        place = f"step {self.start + 1} of {len(self.steps)}, {names[0]!r}"
        lines = [
            f"Starts at {place}, with {_WORDS[self.source]}: {self.reason}.",
            f"Runs {_listed(names)}.",
            f"Calls the loader of {_listed(loaders)}." if loaders else "Calls no loader.",
        ]
        if self.restores_data:
            lines.append("Has the data that the checkpoint holds.")
        if self.stop < len(self.steps):
            lines.append(f"Stops after {names[-1]!r}; the next run resumes there.")
        if self.ignores_given:
            lines.append("Ignores the given state: the unfinished run has its own.")
        return "\n".join(lines)


def make_plan(
    steps: Steps,
    header: Header | None,
    request: Request,
    location: str,
    history: Sequence[Header] = (),
) -> Plan:
    """Make the plan of a run.

    Args:
        steps: The flow's steps, in order.
        header: The header of the stored snapshot, or None where nothing is stored.
        request: The caller's arguments.
        location: Where the snapshot is, for messages.
        history: Headers of the older snapshots of that run, newest first.

    Raises:
        FlowDefinitionError: There are no steps.
        InvalidTypeError, InvalidValueError: `load_policy`, `checkpoint` or `until` is of the
            wrong type, or names no step. Or `update` is given for a run that is not paused.
        FlowChangedError: The steps before the position are not the ones that ran. Under `once`, the
            steps are not the ones that finished.
        AlreadyFinishedError: No unfinished run is stored, and only the rest of one was wanted.
    """
    names = steps.names
    _check_there_is_work(names.all, header, request)
    if request.once and header is not None and header.finished and header.number:
        return _done(names, header, location)
    if request.update is not None:
        _check_paused(header, location)
    start = _checked_start(names, header, request, location, history)
    span = start.first, _stop(names.all, start.first, request.until)
    restores = request.keep_data and start.holds_data(header)
    return Plan(
        steps=names.all,
        start=span[0],
        stop=span[1],
        loads=_loads(steps, None if restores else start.first, span, request.load_policy),
        source=start.source,
        kept=start.kept,
        fresh=start.fresh,
        relocates=_relocates(start, names, header, request),
        restores_data=restores,
        ignores_given=request.state is not None and start.source != "given",
        reason=start.reason,
    )


class _Start(NamedTuple):
    """The start of a run: index of the first step, and attributes as in `Plan`."""

    first: int
    source: Source
    fresh: bool
    reason: str
    kept: Header | None = None

    def holds_data(self, header: Header | None) -> bool:
        """Whether the snapshot that the run starts from, if any, holds `data`."""
        holder = None if self.fresh else self.kept or header
        return holder is not None and holder.holds_data


def _checked_start(
    names: StepNames,
    header: Header | None,
    request: Request,
    location: str,
    history: Sequence[Header],
) -> _Start:
    """Find the start, look for an older snapshot on entry to it, and compare the names."""
    start = _start(names.all, header, request)
    if request.checkpoint is None:
        _check_names(names, header if start.first else None, location)
    elif start.source == "stored":
        kept = _entry(names, start.first, header, history)
        if kept is not None:
            return start._replace(source="kept", fresh=False, kept=kept)
    return start


def _check_there_is_work(names: tuple[str, ...], header: Header | None, request: Request) -> None:
    if not names:
        raise FlowDefinitionError(
            "the flow has no steps. Register them with @cp.add_step(): were the parentheses "
            "forgotten?"
        )
    if request.unfinished_only and (header is None or header.finished):
        raise AlreadyFinishedError


def _done(names: StepNames, header: Header, location: str) -> Plan:
    """The plan of a finished run that is to be done once: no step runs."""
    if not header.matches(names):
        raise flow_changed(location, header, names.all, header.step_names.count)
    return Plan(
        steps=names.all,
        start=0,
        stop=0,
        loads=(False,) * len(names.all),
        source="stored",
        fresh=False,
        relocates=False,
        ignores_given=False,
        reason="the run finished, and once=True says so",
        done=True,
    )


def _check_paused(header: Header | None, location: str) -> None:
    if header is None or header.status != "paused":
        status = "nothing is stored" if header is None else f"the run is {header.status!r}"
        raise InvalidValueError(
            f"update= is for a run that is paused, and in {location} {status}. Run it without "
            "update=; patch() changes the state of a run that is not running."
        )


def _start(names: tuple[str, ...], header: Header | None, request: Request) -> _Start:
    """Find the start, apart from older snapshots."""
    unfinished = header is not None and not header.finished
    start = header.position if header is not None and unfinished else 0
    reason = _reason(header)
    if request.checkpoint is not None:
        chosen = find_step(names, request.checkpoint, "checkpoint")
        reason = f"checkpoint={request.checkpoint!r} says so"
    else:
        chosen = start
    # A repeated request means the same run, even if that was killed in its first step.
    same_run = header is not None and request.once and header.number > 0
    if header is not None and unfinished and (header.position or request.state is None or same_run):
        return _Start(chosen, "stored", fresh=False, reason=reason)
    if request.state is not None:
        return _Start(chosen, "given", fresh=True, reason=reason)
    source: Source = "empty" if header is None else "stored"
    return _Start(chosen, source, fresh=True, reason=reason)


def _entry(
    names: StepNames, start: int, header: Header | None, history: Sequence[Header]
) -> Header | None:
    """Find the newest snapshot on entry to a step, where it is not the stored one itself."""
    if header is not None and header.is_at(names, start):
        return None
    return next((one for one in history if one.is_at(names, start)), None)


def _reason(header: Header | None) -> str:
    if header is None:
        return "nothing is stored yet"
    if header.finished:
        return "the last run finished"
    if header.status in {"paused", "stopped"}:
        return f"the last run was {header.status} there"
    if header.failure is None:
        return "the last run got that far"
    if header.status == "running":
        return f"the last run ended between attempts at {header.failure.step!r}"
    verb = "was cancelled" if header.status == "cancelled" else "broke"
    return f"the last run {verb} in {header.failure.step!r} ({header.failure.part})"


def find_step(names: tuple[str, ...], wanted: int | str, argument: str) -> int:
    """Find the index of the step that `wanted` names, by name or index.

    Raises:
        InvalidTypeError: `wanted` is neither a string nor an integer.
        InvalidValueError: There is no such step.
    """
    if isinstance(wanted, str):
        if wanted in names:
            return names.index(wanted)
    elif isinstance(wanted, bool) or not hasattr(wanted, "__index__"):
        kind = type(wanted).__name__
        raise InvalidTypeError(f"{argument} must be a step's index or name, not a {kind}.")
    elif 0 <= operator.index(wanted) < len(names):
        return operator.index(wanted)
    steps = ", ".join(f"{index}: {name!r}" for index, name in enumerate(names))
    raise InvalidValueError(
        f"{argument}={wanted!r} is no step of this flow. Its steps are {steps}."
    )


def _stop(names: tuple[str, ...], start: int, until: int | str | None) -> int:
    if until is None:
        return len(names)
    last = find_step(names, until, "until")
    if last < start:
        at = repr(names[start]) if start < len(names) else "the end"
        raise InvalidValueError(
            f"until={until!r} is before {at}, where the run starts. Choose a later step, or "
            f"run {names[last]!r} again with checkpoint={names[last]!r}."
        )
    return last + 1


def check_policy(steps: Sequence[Step], policy: LoadPolicy) -> None:
    """Raise InvalidTypeError or InvalidValueError if `policy` does not fit these steps."""
    _loads(steps, None, (0, 0), policy)


def _loads(
    steps: Sequence[Step], first: int | None, span: tuple[int, int], policy: LoadPolicy
) -> tuple[bool, ...]:
    """Whether each step's loader runs.

    Args:
        steps: The steps.
        first: Index of the step whose loader "first only" calls, None where `data` is restored.
        span: Index of the first step that runs, and the index after the last.
        policy: The caller's `load_policy`.
    """
    start, stop = span
    if policy == "first only":
        wanted = [index == first for index in range(len(steps))]
    elif policy == "always":
        wanted = [True] * len(steps)
    else:
        wanted = _checked_list(policy, len(steps))
    return tuple(
        wanted[index] and step.load is not None and start <= index < stop
        for index, step in enumerate(steps)
    )


def _checked_list(policy: object, length: int) -> list[bool]:
    if isinstance(policy, str):
        raise InvalidValueError(
            f"load_policy={policy!r} is unknown. It is 'first only', 'always', or a list of "
            f"{length} bools, one for each step."
        )
    listed = isinstance(policy, (list, tuple))
    wanted = list(cast("list[object]", policy)) if listed else None
    if wanted is None or not all(isinstance(one, bool) for one in wanted):
        raise InvalidTypeError(
            "load_policy must be 'first only', 'always' or a list of bools, one for each of the "
            f"{length} steps, not {_kind(type(policy), wanted)}."
        )
    if len(wanted) != length:
        raise InvalidValueError(
            f"load_policy has {len(wanted)} bools, and the flow has {length} steps; give one each."
        )
    return cast("list[bool]", wanted)


def _kind(kind: type, content: list[object] | None) -> str:
    kinds = sorted({type(one).__name__ for one in content or ()})
    return f"a {kind.__name__}" + (f" of {', '.join(kinds)}" if kinds else "")


def _check_names(names: StepNames, header: Header | None, location: str) -> None:
    if header is not None and not header.matches_prefix(names, header.position):
        raise flow_changed(location, header, names.all, header.position)


def _relocates(start: _Start, names: StepNames, header: Header | None, request: Request) -> bool:
    if start.kept is not None:
        return True
    return not start.fresh and header is not None and _differs(header, start.first, names, request)


def _differs(header: Header, start: int, names: StepNames, request: Request) -> bool:
    """Whether the stored header does not describe the run as it starts now."""
    if header.position != start or not header.matches_prefix(names, start):
        return True
    return header.status == "paused" or request.update is not None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
