"""Any flow, any failing part, any sequence of runs: the same result as an undisturbed run."""

from __future__ import annotations

import asyncio
import copy
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import Runner, State

from aiocheckpoint import CheckpointFlow, LocalStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable

# Attempts are given a state whatever is stored. `test_conflicts.py` has the warnings.
pytestmark = pytest.mark.filterwarnings("ignore::aiocheckpoint.GivenStateIgnoredWarning")
PARTS = ("load", "step", "save")
RUNNERS = ("run", "arun", "notebook")


class Own(BaseException):
    """A user's exception outside of Exception."""


KINDS = (ValueError, KeyboardInterrupt, asyncio.CancelledError, Own)


@dataclass(frozen=True)
class Spec:
    """The parts of one step, some of them coroutine functions."""

    parts: frozenset[str]
    coroutines: frozenset[str]
    takes_data: bool


@dataclass(frozen=True)
class Attempt:
    """One run: its arguments, and its fault."""

    runner: str
    given: bool
    policy: str
    checkpoint: int | None
    until: int | None
    fault: tuple[int, str, int] | None


@dataclass
class FlowSetup:
    """Builds the flow of the specs, and records the calls of its parts."""

    path: Path
    specs: tuple[Spec, ...]
    effects: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    fault: tuple[int, str, BaseException] | None = None

    def flow(self) -> CheckpointFlow:
        """Make the flow anew, as a new process would."""
        cp = CheckpointFlow(self.path, fsync=False)
        for index, spec in enumerate(self.specs):
            load = self._part("load", index, spec) if "load" in spec.parts else None
            save = self._part("save", index, spec) if "save" in spec.parts else None
            step = self._part("step", index, spec)
            cp.add_step(load=load, save=save, name=f"step {index}")(step)
        return cp

    def _part(self, part: str, index: int, spec: Spec) -> Callable[..., Any]:
        def body(state: State, data: State | None = None) -> State:
            self.effects.append((part, index))
            if part == "step":
                change(state, index)
            if self.fault is not None and self.fault[:2] == (index, part):
                state.setdefault("log", []).append("half-changed")
                raise self.fault[2]
            return {str(index): index}

        async def abody(state: State, data: State | None = None) -> State:
            await asyncio.sleep(0)
            return body(state, data)

        call = abody if part in spec.coroutines else body

        def only_state(state: State) -> Any:  # noqa: ANN401 (a dict, or a coroutine of one)
            return call(state)

        return only_state if part == "load" or not spec.takes_data else call


def change(state: State, index: int) -> None:
    """Apply step `index` to the state. The order of steps shows in the result."""
    state["value"] = (state.get("value", 1) * 31 + index) % 1_000_003
    state.setdefault("log", []).append(index)


@dataclass
class Model:
    """The promises of the library, in the fewest words: the oracle of all runs."""

    count: int
    state: State | None = None
    position: int = 0
    finished: bool = True

    def begin(self, attempt: Attempt) -> tuple[int, int, State]:
        """Work out the first and last step of an attempt, and its state."""
        going = not self.finished and self.position > 0
        start = attempt.checkpoint
        if start is None:
            start = self.position if going else 0
        stop = self.count if attempt.until is None else max(attempt.until, start) + 1
        use_given = attempt.given and not going
        state = first_state() if use_given else copy.deepcopy(self.state or empty_state())
        return start, min(stop, self.count), state

    def store(self, state: State, position: int) -> None:
        """Take over the newest snapshot of a run."""
        self.finished = position == self.count
        self.position = 0 if self.finished else position
        self.state = copy.deepcopy(state)


def first_state() -> State:
    """Make the state that attempts are given."""
    return {"value": 7, "log": ["given"]}


def empty_state() -> State:
    """Make the state of a run without stored state. Its steps find no log in it."""
    return {}


specs = st.builds(
    Spec,
    parts=st.frozensets(st.sampled_from(("load", "save"))),
    coroutines=st.frozensets(st.sampled_from(PARTS)),
    takes_data=st.booleans(),
)
faults = st.tuples(st.integers(0, 5), st.sampled_from(PARTS), st.integers(0, len(KINDS) - 1))
attempts = st.builds(
    Attempt,
    runner=st.sampled_from(RUNNERS),
    given=st.booleans(),
    policy=st.sampled_from(("first only", "always")),
    checkpoint=st.none() | st.none() | st.integers(0, 5),
    until=st.none() | st.none() | st.integers(0, 5),
    fault=st.none() | faults | faults,
)


def fit(attempt: Attempt, count: int, start: int) -> Attempt:
    """Bring an attempt's indices into the range of the flow."""
    checkpoint = None if attempt.checkpoint is None else attempt.checkpoint % count
    begin = start if checkpoint is None else checkpoint
    until = None if attempt.until is None else begin + attempt.until % (count - begin)
    fault = attempt.fault and (attempt.fault[0] % count, *attempt.fault[1:])
    return Attempt(attempt.runner, attempt.given, attempt.policy, checkpoint, until, fault)


def expected_effects(
    setup: FlowSetup, attempt: Attempt, start: int, stop: int
) -> tuple[list[tuple[str, int]], int]:
    """List the calls that an attempt must make, and the position it must reach."""
    calls: list[tuple[str, int]] = []
    for index in range(start, stop):
        loads = attempt.policy == "always" or index == start
        for part in PARTS:
            there = part == "step" or part in setup.specs[index].parts
            if not there or (part == "load" and not loads):
                continue
            calls.append((part, index))
            if attempt.fault is not None and attempt.fault[:2] == (index, part):
                return calls, index
    return calls, stop


def carry_out(setup: FlowSetup, attempt: Attempt, model: Model) -> State | None:
    """Do one attempt and compare it with the model, and give the state if the run finished."""
    start, stop, state = model.begin(attempt)
    calls, reached = expected_effects(setup, attempt, start, stop)
    setup.effects.clear()
    result = call(setup, attempt, set_fault(setup, attempt, calls))
    assert setup.effects == calls
    for index in range(start, reached):
        change(state, index)
    model.store(state, reached)
    assert LocalStateHandler(setup.path).read() == {**state, "checkpoint_index": model.position}
    # The record of starts stays while the run has not got past the step.
    files = {path.name for path in setup.path.parent.iterdir()}
    assert files - {f".{setup.path.name}.start"} == {setup.path.name}
    assert len(files) == 1 or not model.finished
    assert result is None or result == state
    return result


def set_fault(
    setup: FlowSetup, attempt: Attempt, calls: list[tuple[str, int]]
) -> BaseException | None:
    """Inject the attempt's fault, and give its error if a call raises it."""
    setup.fault = None
    if attempt.fault is None:
        return None
    index, part, kind = attempt.fault
    error = KINDS[kind]("by the test")
    setup.fault = (index, part, error)
    return error if (part, index) in calls else None


def call(setup: FlowSetup, attempt: Attempt, error: BaseException | None) -> State | None:
    """Run the flow once, and check that it gives the state or raises the injected error."""
    arguments = {"checkpoint": attempt.checkpoint, "until": attempt.until}
    given = first_state() if attempt.given else None
    runner = Runner(attempt.runner)
    if error is None:
        return runner(setup.flow(), given, attempt.policy, **arguments)
    with pytest.raises(type(error)) as info:
        runner(setup.flow(), given, attempt.policy, **arguments)
    assert info.value is error
    return None


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(specs, min_size=1, max_size=6).map(tuple),
    sequence=st.lists(attempts, min_size=1, max_size=6),
)
def test_every_attempt_does_what_the_model_says(
    steps: tuple[Spec, ...], sequence: list[Attempt]
) -> None:
    """Each run starts, loads, calls, stores and returns exactly as the model says."""
    with tempfile.TemporaryDirectory() as place:
        setup = FlowSetup(Path(place) / "checkpoint.pkl", steps)
        model = Model(len(steps))
        for rough in sequence:
            attempt = fit(rough, model.count, model.position)
            carry_out(setup, attempt, model)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(specs, min_size=1, max_size=6).map(tuple),
    failing=st.lists(st.tuples(st.sampled_from(RUNNERS), faults), max_size=8),
    last=st.sampled_from(RUNNERS),
)
def test_broken_runs_end_like_an_undisturbed_one(
    steps: tuple[Spec, ...], failing: list[tuple[str, tuple[int, str, int]]], last: str
) -> None:
    """A run that breaks any number of times ends like an undisturbed one. Done steps stay done."""
    undisturbed = first_state()
    for index in range(len(steps)):
        change(undisturbed, index)
    with tempfile.TemporaryDirectory() as place:
        setup = FlowSetup(Path(place) / "checkpoint.pkl", steps)
        model, acknowledged = Model(len(steps)), 0
        for name, fault in failing:
            attempt = Attempt(name, not model.position, "first only", None, None, fault)
            attempt = fit(attempt, len(steps), model.position)
            result = carry_out(setup, attempt, model)
            assert result is None or result == undisturbed
            assert all(index >= acknowledged for _, index in setup.effects)
            acknowledged = model.position
        final = Attempt(last, not model.position, "first only", None, None, None)
        assert carry_out(setup, final, model) == undisturbed
