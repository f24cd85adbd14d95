"""The steps that a flow has registered so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._model.steps import Steps
from aiocheckpoint.errors import FlowDefinitionError

if TYPE_CHECKING:
    from aiocheckpoint._model.steps import Load, Step

__all__ = ["StepRegistry"]


class StepRegistry:
    """Collects the steps of a flow in the order in which `add_step` registers them.

    Attributes:
        steps: The registered steps. A run keeps the tuple that it began with.
    """

    def __init__(self) -> None:
        self.steps: Steps = Steps(())
        self._indexes: dict[str, int] = {}
        self._open_decorators: list[Load] = []

    def copy(self) -> StepRegistry:
        """Make another registry with the same steps."""
        copied = StepRegistry()
        copied.steps, copied._indexes = self.steps, dict(self._indexes)
        copied._open_decorators = list(self._open_decorators)
        return copied

    def open_decorator(self, load: Load) -> None:
        """Note that `add_step(load)` made a decorator, which has no function yet."""
        self._open_decorators.append(load)

    def close_decorator(self, load: Load | None) -> None:
        """Note that the decorator of `load` has got its function."""
        if load is not None and load in self._open_decorators:
            self._open_decorators.remove(load)

    def put(self, step: Step, *, replace: bool) -> None:
        """Append a step, or put it in the place of the step of the same name.

        Raises:
            FlowDefinitionError: The name is taken, and `replace` is False.
        """
        index = self._indexes.setdefault(step.name, len(self.steps))
        if index == len(self.steps):
            self.steps = Steps((*self.steps, step))
        elif replace:
            self.steps = Steps((*self.steps[:index], step, *self.steps[index + 1 :]))
        else:
            raise FlowDefinitionError(
                f"there is a step {step.name!r} already. Give this one another name with "
                f"@cp.add_step(name=...), or put it in the other's place with "
                "@cp.add_step(replace=True).",
                step=step.name,
            )

    def complete(self) -> Steps:
        """Give the steps of a run that begins now.

        Raises:
            FlowDefinitionError: A decorator with a loader has no function yet, as when the
                parentheses of `@cp.add_step()` were forgotten.
        """
        if self._open_decorators:
            load = self._open_decorators[0]
            name = getattr(load, "__name__", type(load).__name__)
            raise FlowDefinitionError(
                f"add_step was given {name!r} as a loader, and then no function to be the step. "
                f"If {name!r} is a step, write @cp.add_step() with its parentheses.",
                step=name,
            )
        return self.steps
