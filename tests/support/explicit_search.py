"""An exhaustive search of the states of a model, breadth first, and its counterexamples as text."""

from __future__ import annotations

import gc
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Calm", "Counterexample", "Model", "Searched", "ViolationError", "search"]

State = TypeVar("State")


class ViolationError(Exception):
    """An action that may not happen was possible."""


class Model(Protocol[State]):
    """The actions of a model."""

    def first(self) -> State:
        """The state in which all begins."""
        ...

    def actions(self, state: State) -> Iterator[tuple[str, State]]:
        """Give each action that is possible in a state: its name, and the state behind it.

        Raises:
            ViolationError: One of them breaks a promise.
        """
        ...

    def normal(self, state: State) -> State:
        """Give one state for all that behave alike."""
        ...


@dataclass
class Calm(Generic[State]):
    """The promise that in calm times, each state leads to an end.

    Attributes:
        step: Gives the one action of calm times, or None where the end is reached.
        problem: What is broken where the states go round in a circle.
        ending: The states known to lead to an end.
    """

    step: Callable[[State], tuple[str, State] | None]
    problem: str
    ending: set[State] = field(default_factory=set[State])

    def broken(self, state: State) -> Counterexample[State] | None:
        """Give the actions from a state to where they go round, or None."""
        passed, steps = {state}, list[tuple[str, State]]()
        while state not in self.ending:
            try:
                step = self.step(state)
            except ViolationError as error:
                return Counterexample(str(error), steps)
            if step is None:
                break
            steps.append(step)
            state = step[1]
            if state in passed:
                return Counterexample(self.problem, steps)
            passed.add(state)
        self.ending.update(passed)
        return None


@dataclass(frozen=True)
class Counterexample(Generic[State]):
    """The shortest way to a broken promise.

    Attributes:
        problem: The promise that is broken.
        steps: The name of each action, and the state behind it.
    """

    problem: str
    steps: list[tuple[str, State]]

    def __str__(self) -> str:
        lines = [f"{number:3}. {name}" for number, (name, _) in enumerate(self.steps)]
        return "\n".join([*lines, f"  => {self.problem}"])


@dataclass
class Searched(Generic[State]):
    """All states that were found.

    Attributes:
        found: The states, each with the one before and the action between.
        actions: How many actions led to them, or to states that were known.
        names: The names of these actions.
        counterexample: The first broken promise, or None.
    """

    found: dict[State, tuple[State, str] | None] = field(repr=False)
    actions: int = 0
    names: set[str] = field(default_factory=set[str])
    counterexample: Counterexample[State] | None = None

    def way_to(self, state: State) -> list[tuple[str, State]]:
        """Give the actions that lead to a state."""
        steps: list[tuple[str, State]] = []
        before = self.found[state]
        while before is not None:
            steps.append((before[1], state))
            state = before[0]
            before = self.found[state]
        return [("at first", state), *reversed(steps)]


def search(model: Model[State], calm: Sequence[Calm[State]] = ()) -> Searched[State]:
    """Find all states, up to the first broken promise.

    Args:
        model: The model.
        calm: Promises about each state.
    """
    collects = gc.isenabled()
    gc.disable()  # None of the tuples is garbage, and each collection would look at all of them.
    try:
        return _search(model, calm)
    finally:
        if collects:
            gc.enable()


def _search(model: Model[State], calm: Sequence[Calm[State]]) -> Searched[State]:
    first = model.normal(model.first())
    searched: Searched[State] = Searched({first: None})
    found, todo = searched.found, deque([first])
    while todo:
        state = todo.popleft()
        try:
            for promise in calm:
                if broken := promise.broken(state):
                    steps = searched.way_to(state) + broken.steps
                    searched.counterexample = Counterexample(broken.problem, steps)
                    return searched
            for name, after in model.actions(state):
                searched.actions += 1
                searched.names.add(name)
                normal = model.normal(after)
                if normal not in found:
                    found[normal] = state, name
                    todo.append(normal)
        except ViolationError as error:
            searched.counterexample = Counterexample(str(error), searched.way_to(state))
            return searched
    return searched
