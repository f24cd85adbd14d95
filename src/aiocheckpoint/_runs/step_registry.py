"""The steps that a flow has registered so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint._logging import tell
from aiocheckpoint._model.interactive import Execution, is_interactive
from aiocheckpoint._model.start_points import find_step
from aiocheckpoint._model.steps import Steps, name_of
from aiocheckpoint._snapshot.pickling.names import NO_MODULES
from aiocheckpoint.errors import FlowDefinitionError, InvalidTypeError, InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint._model.steps import Load, Step
    from aiocheckpoint._snapshot.pickling.names import StepModules

__all__ = ["StepRegistry", "StepSlot"]


class StepSlot:
    """The slot of a step among the others, as `before=` or `after=` names it.

    Raises:
        InvalidValueError: Both are given.
    """

    def __init__(self, before: int | str | None, after: int | str | None) -> None:
        if before is not None and after is not None:
            raise InvalidValueError(
                f"before={before!r} and after={after!r} are both given, and a step has one place: "
                "choose one of the two."
            )
        self._before, self._after = before, after

    def index(self, others: Sequence[Step], default: int) -> int:
        """Find the index for a step that joins the others.

        Raises:
            InvalidTypeError, InvalidValueError: It names none of the others.
        """
        names = tuple(step.name for step in others)
        if self._before is not None:
            return find_step(names, self._before, "before")
        if self._after is not None:
            return find_step(names, self._after, "after") + 1
        return default


class StepRegistry:
    """Collects the steps of a flow in the order in which `add_step` registers them.

    Attributes:
        steps: The registered steps. A run keeps the tuple that it began with.
    """

    def __init__(self) -> None:
        self.steps: Steps = Steps(())
        self._modules: StepModules = NO_MODULES
        self._indexes: dict[str, int] = {}
        self._executions: dict[str, Execution] = {}
        self._open_decorators: list[Load] = []

    def copy(self) -> StepRegistry:
        """Make another registry with the same steps."""
        copied = StepRegistry()
        copied._modules = self._modules
        copied.steps, copied._indexes = self.steps, dict(self._indexes)
        copied._executions = dict(self._executions)
        copied._open_decorators = list(self._open_decorators)
        return copied

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the steps. `note_modules` is called where they are loaded."""
        return {**vars(self), "_modules": NO_MODULES}

    def note_modules(self, modules: StepModules) -> None:
        """Give the modules of all steps to `modules`, those of later steps included."""
        self._modules = modules
        for step in self.steps:
            modules.note(step.run.function)

    def open_decorator(self, load: Load | None) -> None:
        """Note that `add_step(load)` made a decorator, which has no function yet."""
        if load is not None:
            self._open_decorators.append(load)

    def close_decorator(self, load: Load | None) -> None:
        """Note that the decorator of `load` has got its function."""
        if load is not None and load in self._open_decorators:
            self._open_decorators.remove(load)

    def put(self, step: Step, slot: StepSlot, *, replace: bool) -> None:
        """Put a step in its slot, or in that of the step of the same name.

        Raises:
            FlowDefinitionError: The name is taken, and the step does not replace the other one.
            InvalidTypeError, InvalidValueError: The slot is beside no step.
        """
        old, interactive = self._indexes.get(step.name), is_interactive()
        if old is not None and not replace and not (interactive and self._is_earlier(step.name)):
            raise _name_taken(step.name)
        replaced = None if old is None else self.steps[old]
        others = self.steps if old is None else (*self.steps[:old], *self.steps[old + 1 :])
        index = slot.index(others, len(others) if old is None else old)
        changed = index if old is None else min(old, index)
        self._set(Steps((*others[:index], step, *others[index:])), changed)
        # A step that was registered without its parentheses is there by now.
        self._open_decorators = [
            load for load in self._open_decorators if name_of(load) != step.name
        ]
        self._modules.note(step.run.function)
        if interactive:
            self._executions[step.name] = Execution.current()
            self._tell(index, replaced, replace=replace)

    def remove(self, name: str) -> None:
        """Take a step out.

        Raises:
            InvalidTypeError, InvalidValueError: There is no step of this name.
        """
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidTypeError(
                f"remove_step() takes the name of a step, not a {type(name).__name__}."
            )
        index = find_step(self.steps.names.all, name, "remove_step: name")
        self._set(Steps((*self.steps[:index], *self.steps[index + 1 :])), index)
        del self._indexes[name]
        self._executions.pop(name, None)

    def complete(self) -> Steps:
        """Give the steps of a run that begins now.

        Raises:
            FlowDefinitionError: A decorator with a loader has no function yet, as when the
                parentheses of `@cp.add_step()` were forgotten.
        """
        if self._open_decorators:
            name = name_of(self._open_decorators[0])
            raise FlowDefinitionError(
                f"add_step was given {name!r} as a loader, and then no function to be the step. "
                f"If {name!r} is a step, write @cp.add_step() with its parentheses.",
                step=name,
            )
        return self.steps

    def _set(self, steps: Steps, changed: int) -> None:
        """Take these steps, whose indexes are other ones from `changed` on."""
        self.steps = steps
        self._indexes.update((steps[index].name, index) for index in range(changed, len(steps)))

    def _is_earlier(self, name: str) -> bool:
        """Whether a step was registered before the execution that is under way."""
        execution = self._executions.get(name)
        return execution is None or not execution.is_under_way()

    def _tell(self, index: int, old: Step | None, *, replace: bool) -> None:
        """Say in an interactive session where a step is that may be expected elsewhere."""
        step, where = self.steps[index], f"step {index + 1} of {len(self.steps)}"
        name = step.name
        if old is not None:
            lost = _lost_parts(old, step)
            if lost or not replace:
                tell(f"{name!r} takes the place of the old {name!r}{lost}: {where}.")
        elif replace and len(self.steps) > 1:
            tell(
                f"{name!r} replaces no step of this name, and is a new one: {where}. Was it "
                "renamed? remove_step(<its old name>) takes the old one out."
            )


def _lost_parts(old: Step, new: Step) -> str:
    """In words, the loader and the saver that a step had and the one in its place has not."""
    lost = [
        noun
        for noun, had, has in (("loader", old.load, new.load), ("saver", old.save, new.save))
        if had is not None and has is None
    ]
    return f", without its {' and '.join(lost)}" if lost else ""


def _name_taken(name: str) -> FlowDefinitionError:
    return FlowDefinitionError(
        f"there is a step {name!r} already. Give this one another name with "
        "@cp.add_step(name=...), or put it in the other's place with "
        "@cp.add_step(replace=True).",
        step=name,
    )
