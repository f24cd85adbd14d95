"""The plan of a run: what it will do, in words too. Making one does no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from aiocheckpoint._model.answers import check_answer
from aiocheckpoint._model.compatibility import check_flow, check_not_terminated
from aiocheckpoint._model.given_state import GIVEN_WORDS, Sameness
from aiocheckpoint._model.header import Header
from aiocheckpoint._model.loading import choose_loaders
from aiocheckpoint._model.request import Request
from aiocheckpoint._model.shown import Shown
from aiocheckpoint._model.start_points import (
    ReturnedStep,
    Source,
    StartPoint,
    find_start_point,
    find_stop,
)
from aiocheckpoint._model.step_names import StepNames
from aiocheckpoint._model.steps import Steps
from aiocheckpoint.errors import (
    CheckpointError,
    FlowDefinitionError,
    RunNotFoundError,
)

__all__ = ["SOURCE_WORDS", "Plan", "is_done", "make_plan", "no_steps", "place_plan"]


SOURCE_WORDS: dict[Source, str] = {
    "given": "the given state",
    "stored": "the stored state",
    "kept": "the state as it was on entry to it",
    "empty": "an empty state",
}
"""How a plan names the state that it starts with."""


@dataclass(frozen=True, kw_only=True)
class Plan(Shown):
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
            with another state, or is no longer paused or terminated.
        restores_data: Whether `data` comes from the checkpoint too, as `keep_data=True` has it.
        ignores_given: Whether the caller gave a state that is ignored, since the stored run has
            its own.
        reason: Why it starts there, in words.
        done: Whether the run is finished and stays so, under `once=True` or `resume`.
        needs: For each step of the flow, the keys of which one must be missing from `data` for its
            loader to run. No keys for a step whose loader runs in any case, or in none.
        skips: Names of the steps that run and whose loader does not.
        refused: The error of the run where it would be refused, or None.
        given: How that ignored state compares with the one that the stored run began with:
            "equal", "similar" (only values that are not plain data differ), "different", or
            "unknown" where no digest is stored. None where none is ignored.
        from_queue: Whether the run was queued and no step of it is done. It takes no other state.
        migrates: The version of the flow that stored the run, where `migrate=` takes it on first.
            None where it is not called.
        returned_step: Whether the step that `migrate=` returns is the one to start at: "optional",
            or "required" where the flow has no step like the one at which the run stands, or
            "ignored" under `checkpoint=` and for a new run.
        edited: Names of steps that have run and whose code is another one now. They are not run
            again. Of a flow with more than 100 steps, the last 20 that ran are looked at.
        executors: For each step of the flow, the name of its `executor=`, such as "a process" or
            "ProcessPoolExecutor". None for a step that is executed in the process of the run.
            Empty where there is no such step.
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
    needs: tuple[tuple[str, ...], ...] = ()
    skips: tuple[str, ...] = ()
    refused: CheckpointError | None = None
    given: Sameness | None = None
    from_queue: bool = False
    edited: tuple[str, ...] = ()
    migrates: int | None = None
    returned_step: ReturnedStep = "ignored"
    executors: tuple[str | None, ...] = ()

    @classmethod
    def of_refusal(cls, steps: Steps, error: CheckpointError) -> Self:
        """Make the plan of a run that would be refused."""
        names = steps.names.all
        return cls(
            steps=names,
            start=len(names),
            stop=len(names),
            loads=(False,) * len(names),
            source="stored",
            fresh=False,
            relocates=False,
            ignores_given=False,
            reason=str(error),
            # Without its traceback, which would keep the handler and what it has open.
            refused=error.with_traceback(None),
        )

    def loads_at(self, index: int, data: dict[str, Any]) -> bool:
        """Whether the loader of a step runs, now that the run has reached it with this `data`."""
        keys = self.needs[index]
        return self.loads[index] or (bool(keys) and not data.keys() >= set(keys))

    @property
    def first(self) -> str | None:
        """Name of the first step that runs, None where none is left."""
        return self.steps[self.start] if self.start < len(self.steps) else None

    def __str__(self) -> str:
        """The plan in a few lines of words."""
        if self.refused is not None:
            return f"Runs nothing, and is refused with {type(self.refused).__name__}: {self.reason}"
        if self.done:
            return f"Runs nothing, and gives {SOURCE_WORDS[self.source]}: {self.reason}."
        lines = self._lines()
        if self.ignores_given:
            lines.append(GIVEN_WORDS[self.given])
        if self.edited:
            lines.append(
                f"Edited since it ran, and not run again: {_listed(self.edited)}. "
                f"checkpoint={self.edited[0]!r} runs again from there."
            )
        return "\n".join(lines)

    @property
    def needs_warning(self) -> bool:
        """Whether the log warns of the plan: a state may be lost, or steps were edited."""
        return self.given == "unknown" or bool(self.edited)

    def _lines(self) -> list[str]:
        names = self.steps[self.start : self.stop]
        if self.migrates is not None:
            result = (
                "" if self.returned_step == "ignored" else ", and return another step to start at"
            )
            line = (
                f"Calls migrate= first, since version {self.migrates} of the flow stored the run. "
                f"It may change the state{result}."
            )
            return [line, *self._step_lines(names)]
        return self._step_lines(names)

    def _step_lines(self, names: tuple[str, ...]) -> list[str]:
        is_open = self.returned_step == "optional" and self.start < len(self.steps)
        if self.returned_step == "required" or (not names and is_open):
            return ["Starts at the step that it returns."]
        if not names:
            return [f"Runs nothing, with {SOURCE_WORDS[self.source]}: no step is left."]
        place = f"step {self.start + 1} of {len(self.steps)}, {names[0]!r}"
        lines = [
            f"Starts at {place}, with {SOURCE_WORDS[self.source]}: {self.reason}.",
            f"Runs {_listed(names)}.",
            *self._executor_lines(),
            *self._loader_lines(),
        ]
        if self.restores_data:
            lines.append("Has the data that the checkpoint holds.")
        if self.stop < len(self.steps):
            lines.append(f"Stops after {names[-1]!r}. The next run resumes there.")
        return lines

    def _executor_lines(self) -> list[str]:
        """Which of the steps that run are executed elsewhere."""
        sent: dict[str, list[str]] = {}
        span = slice(self.start, self.stop)
        for name, executor in zip(self.steps[span], self.executors[span], strict=False):
            if executor is not None:
                sent.setdefault(executor, []).append(name)
        return [f"Executes {_listed(names)} in {executor}." for executor, names in sent.items()]

    def _loader_lines(self) -> list[str]:
        """Which loaders run, which run if a key is missing then, and which do not."""
        called = [name for name, loads in zip(self.steps, self.loads, strict=True) if loads]
        lines = [f"Calls the loader of {_listed(called)}."] if called else []
        for name, keys in zip(self.steps, self.needs, strict=False):
            if keys:
                missing = f"{_listed(keys, ' or ')} is missing from `data` then"
                lines.append(f"Calls the loader of {name!r} if {missing}.")
        if self.skips:
            lines.append(f"Does not call the loader of {_listed(self.skips)}.")
        return lines or ["Calls no loader."]


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
            wrong type, or names no step.
        PauseConflictError: The request answers a pause that the run does not wait in.
        RunNotFoundError: Nothing is stored, and a stored run is to be resumed.
        RunTerminatedError: The run was ended for good, and no `checkpoint=` is given.
        FlowVersionError: A newer version of the flow has stored the run.
        FlowChangedError: The run is another flow's, finished or not, see `check_flow`. Or its steps
            are others, see `check_names`.
    """
    names = steps.names
    _check_request(names, header, request, location)
    if header is not None and is_done(header, request):
        if not request.migrates_from(header.version):
            check_flow(names, header, location)
        return _done(names, request)
    start = find_start_point(names, header, request, location, history)
    lowest = start.first if start.returned_step == "ignored" else 0
    span = start.first, find_stop(names.all, lowest, request.until)
    restores = request.keep_data and start.holds_data(header)
    choice = choose_loaders(steps, None if restores else start.first, span, request.load_policy)
    return Plan(
        steps=names.all,
        start=span[0],
        stop=span[1],
        loads=choice.loads,
        needs=choice.needs,
        skips=choice.skips,
        source=start.source,
        kept=start.kept,
        fresh=start.fresh,
        relocates=_relocates(start, names, header, request),
        restores_data=restores,
        ignores_given=request.state is not None and start.source != "given",
        from_queue=header is not None and header.status == "queued",
        reason=start.reason,
        migrates=start.migrates,
        returned_step=start.returned_step,
        executors=steps.executors,
    )


def place_plan(plan: Plan, steps: Steps, request: Request, first: int) -> Plan:
    """Give the plan of a migrated run, now that its first step is known.

    Raises:
        InvalidValueError: `until` is before that step.
    """
    span = first, find_stop(plan.steps, first, request.until)
    choice = choose_loaders(steps, None if plan.restores_data else first, span, request.load_policy)
    loads, needs, skips = choice
    return replace(plan, start=first, stop=span[1], loads=loads, needs=needs, skips=skips)


def _check_request(
    names: StepNames, header: Header | None, request: Request, location: str
) -> None:
    """Check that what is stored fits the request."""
    if not (request.resumes and header is not None and header.finished) and not names.all:
        raise no_steps()
    if request.resumes and header is None:
        raise RunNotFoundError(location)
    done = header is not None and is_done(header, request)
    if request.is_answer and not (done and request.once):
        if header is not None:
            check_not_terminated(header, location)
        check_answer(location, header, request.answers)


def no_steps() -> FlowDefinitionError:
    """The error of a flow without steps."""
    return FlowDefinitionError(
        "the flow has no steps. Register them with @cp.add_step(). Were the parentheses "
        "forgotten? Or are the cells with the steps still to be executed, since "
        "CheckpointFlow(...) made the flow anew?"
    )


def is_done(header: Header, request: Request) -> bool:
    """Whether a stored run is finished and stays so, whatever became of the steps.

    A state that was stored by hand has no run number, and is no result for `once`.
    """
    return header.finished and (
        request.resumes or (request.once and header.number >= request.least_number)
    )


def _done(names: StepNames, request: Request) -> Plan:
    """The plan of a run that is finished and stays so."""
    reason = "the run finished" + (", and once=True gives its result" if request.once else "")
    return Plan(
        steps=names.all,
        start=0,
        stop=0,
        loads=(False,) * len(names.all),
        needs=((),) * len(names.all),
        source="stored",
        fresh=False,
        relocates=False,
        ignores_given=request.state is not None,
        reason=reason,
        done=True,
    )


def _relocates(
    start: StartPoint, names: StepNames, header: Header | None, request: Request
) -> bool:
    if start.kept is not None:
        return True
    if start.fresh or header is None:
        return False
    if start.migrates is not None and request.checkpoint is None:
        # Nothing is stored before the first step: `migrate=` is called again after a kill. But a
        # pause that is not answered is of the step at which the run stood.
        return header.status == "paused" or header.pause is not None
    return _differs(header, start.first, names, request)


def _differs(header: Header, start: int, names: StepNames, request: Request) -> bool:
    """Whether the stored header does not describe the run as it starts now."""
    if header.position != start or not header.matches_prefix(names, start):
        return True
    return header.status in {"paused", "terminated"} or request.update is not None


def _listed(names: Sequence[str], separator: str = ", ") -> str:
    return separator.join(map(repr, names))
