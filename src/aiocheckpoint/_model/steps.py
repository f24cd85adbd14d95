"""The steps of a flow, and the checks of the functions that users register for them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from aiocheckpoint._concurrency.callables import UserFunction, is_async_callable, unwrap_callable
from aiocheckpoint._concurrency.timeouts import StepTimeout
from aiocheckpoint._model.checks import LONGEST_NAME
from aiocheckpoint._model.code_digest import StepCode
from aiocheckpoint._model.parameters import check_parameter_names
from aiocheckpoint._model.state_type import Data, StateT
from aiocheckpoint._model.step_executor import check_function_sendable, executor_shown
from aiocheckpoint._model.step_names import StepNames
from aiocheckpoint.errors import FlowDefinitionError, InvalidTypeError

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.limiter import Limiter
    from aiocheckpoint._model.retry import Retry
    from aiocheckpoint._model.step_executor import StepExecutor

__all__ = [
    "Load",
    "NamedParts",
    "PartName",
    "Save",
    "Step",
    "StepFunction",
    "Steps",
    "checked_needs",
    "make_step",
    "name_of",
]

Load = Callable[[StateT], "Data | Awaitable[Data]"]
"""A loader: `load(state)`, sync or async, returns a dict that is merged into `data`."""
Save = Callable[[StateT, Data], object] | Callable[[StateT], object]
"""A saver: `save(state, data)`, or `save(state)`, sync or async."""
StepFunction = Callable[[StateT, Data], object] | Callable[[StateT], object]
"""A step: `step(state, data)`, or `step(state)`, sync or async. Its return value is not kept."""

PartName = Literal["load", "step", "save"]
NamedParts = tuple[tuple[PartName, UserFunction], ...]
"""The functions of a step to call, in order, with the names of the parts."""

_NOUNS: dict[PartName, str] = {"load": "loader", "step": "step", "save": "saver"}
# The numbers of arguments that a part may be called with, the preferred one first.
_ARGUMENTS: dict[PartName, tuple[int, ...]] = {"load": (1,), "step": (2, 1), "save": (2, 1)}
_FORMS = {"load": "(state)", "step": "(state, data) or (state)", "save": "(state, data) or (state)"}


@dataclass(eq=False, slots=True)
class Step:
    """One step of a flow with its loader and saver, immutable by convention.

    Attributes:
        name: Its name.
        run: The step itself.
        load: Its loader, or None.
        save: Its saver, or None.
        retry: Its retry policy, or None.
        needs: Keys of `data` that its loader brings when one of them is missing.
        limiter: Its limiter, or None.
        executor: The executor that executes it, or None.
        parts: The functions to call, in order, with the names of the parts.
        parts_but_load: The same without the loader.
        code: The code of all parts.
    """

    name: str
    run: UserFunction
    load: UserFunction | None
    save: UserFunction | None
    retry: Retry | None
    needs: tuple[str, ...] = ()
    limiter: Limiter[Any] | None = None
    executor: StepExecutor | None = None
    parts: NamedParts = field(init=False)
    parts_but_load: NamedParts = field(init=False)
    code: StepCode = field(init=False)

    def __post_init__(self) -> None:
        named: tuple[tuple[PartName, UserFunction | None], ...]
        named = (("load", self.load), ("step", self.run), ("save", self.save))
        self.parts = tuple((name, part) for name, part in named if part is not None)
        self.parts_but_load = tuple(part for part in self.parts if part[0] != "load")
        self.code = StepCode(self.parts)


class Steps(tuple[Step, ...]):  # noqa: SLOT001 - what varies in size has no slots
    """The steps of a flow, fixed for the runs that begin before another one is added."""

    @functools.cached_property
    def names(self) -> StepNames:
        """Their names."""
        return StepNames(tuple(step.name for step in self))

    @functools.cached_property
    def limited(self) -> str | None:
        """Name of the first step with a limiter."""
        return next((step.name for step in self if step.limiter is not None), None)

    @functools.cached_property
    def executors(self) -> tuple[str | None, ...]:
        """What executes each step, in words. Empty where the run executes them all itself."""
        if all(step.executor is None for step in self):
            return ()
        return tuple(
            None if step.executor is None else executor_shown(step.executor) for step in self
        )

    def digests(self, start: int, before: Header | None) -> dict[str, str]:
        """The digests of code that the header of a run has when it starts.

        Args:
            start: Index of the first step that runs.
            before: The stored header of the same run, or None for a new one. The steps before the
                start keep their digests from it.
        """
        recorded = {} if before is None else before.step_digests
        if self.names.listed is None:  # The others are added as they run.
            return dict(recorded)
        kept = {name: recorded[name] for name in self.names.all[:start] if name in recorded}
        return kept | {step.name: step.code.digest for step in self[start:]}

    def edited(self, start: int, stored: Header) -> tuple[str, ...]:
        """Names of the steps before the start whose code is another one than when they ran."""
        recorded = stored.step_digests
        done = (step for step in self[:start] if step.name in recorded)
        return tuple(step.name for step in done if step.code.is_edited(recorded[step.name]))


def make_step(
    function: StepFunction,
    load: Load | None,
    save: Save | None,
    *,
    name: str | None,
    thread: bool,
    retry: Retry | None = None,
    timeout: float | None = None,
    needs: tuple[str, ...] = (),
    limiter: Limiter[Any] | None = None,
    executor: StepExecutor | None = None,
) -> Step:
    """Check the functions of a step and put them together.

    Raises:
        FlowDefinitionError: One of them is no function, takes other arguments, or is a generator
            function. Or there is a `timeout`, and one of them is no coroutine function. Or there
            is an `executor`, and one of them is a coroutine function, or cannot be sent. Or `name`
            is no name.
    """
    run = _make_part("step", function, thread=thread)
    step = Step(
        name=_checked_name(name_of(function) if name is None else name),
        run=run,
        load=None if load is None else _make_part("load", load, thread=thread),
        save=None if save is None else _make_part("save", save, thread=thread),
        retry=retry,
        needs=needs,
        limiter=limiter,
        executor=executor,
    )
    if executor is not None:
        _check_elsewhere(step, executor)
    return step if timeout is None else _limited(step, timeout)


def _check_elsewhere(step: Step, executor: StepExecutor) -> None:
    for name, part in step.parts:
        noun, function = _NOUNS[name], name_of(part.function)
        if part.on_loop:
            raise FlowDefinitionError(
                f"executor= of step {step.name!r} calls sync functions alone, and its {noun} "
                f"{function!r} is a coroutine function. Leave executor= out, or make it a def.",
                step=step.name,
            )
        of_step = f"the step {step.name!r}"
        what = of_step if name == "step" else f"the {noun} {function!r} of {of_step[4:]}"
        check_function_sendable(executor, what, step.name, part.function)


def checked_needs(needs: object, load: Load | None) -> tuple[str, ...]:
    """Give `needs` back as a tuple if it is several keys of `data`, and there is a loader.

    Raises:
        InvalidTypeError: It is one string, or holds something else than strings.
        FlowDefinitionError: There are keys, and no loader that could bring them.
    """
    if isinstance(needs, str):
        raise InvalidTypeError(
            f"needs= is a tuple of keys of `data`, not one string. Write needs=({needs!r},)."
        )
    keys = tuple(cast("Iterable[object]", needs)) if isinstance(needs, Iterable) else None
    if keys is None or not all(isinstance(key, str) for key in keys):
        kinds = (
            type(needs)
            if keys is None
            else type(next(key for key in keys if not isinstance(key, str)))
        )
        raise InvalidTypeError(
            f"needs= is a tuple of keys of `data`, such as ('rows',), not {kinds.__name__}."
        )
    if keys and load is None:
        raise FlowDefinitionError(
            "needs= names keys of `data` that the step's loader brings, and there is no load=. "
            "Give the step a loader, or leave needs= out."
        )
    return cast("tuple[str, ...]", keys)


def _limited(step: Step, seconds: float) -> Step:
    limited: dict[PartName, UserFunction] = {}
    for name, part in step.parts:
        if step.executor is None:  # A process can be killed.
            _check_stoppable(part, name, step.name)
        limit = StepTimeout(seconds, step.name, name)
        limited[name] = UserFunction(
            part.function, takes_data=part.takes_data, on_loop=part.on_loop, timeout=limit
        )
    load, save = limited.get("load"), limited.get("save")
    return replace(step, run=limited["step"], load=load, save=save)


def _check_stoppable(part: UserFunction, name: PartName, step: str) -> None:
    # A wrapper of a coroutine function returns, by convention, the coroutine of that function.
    if not is_async_callable(inspect.unwrap(unwrap_callable(inspect.unwrap(part.function)))):
        raise FlowDefinitionError(
            f"timeout= of step {step!r} cannot be kept: its {_NOUNS[name]} "
            f"{name_of(part.function)!r} is a sync function, and nothing can stop a thread from "
            "outside. Make it an async def, or set a time limit inside it on the calls that wait.",
            step=step,
        )


def _make_part(part: PartName, function: Any, *, thread: bool) -> UserFunction:  # noqa: ANN401
    noun, name = _NOUNS[part], name_of(function)
    if not callable(function):
        raise FlowDefinitionError(
            f"a {noun} must be a function, and this is a {type(function).__name__}. Write "
            "@cp.add_step(load=..., save=...) above the step's def.",
            step=name,
        )
    plain = unwrap_callable(function)
    if inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain):
        raise FlowDefinitionError(
            f"the {noun} {name!r} is a generator function, so calling it would run nothing: take "
            "the `yield` out of it.",
            step=name,
        )
    arguments = _arguments(part, function, name)
    on_loop = not thread or is_async_callable(function)
    return UserFunction(function, takes_data=arguments == 2, on_loop=on_loop)  # noqa: PLR2004


def _arguments(part: PartName, function: Callable[..., Any], name: str) -> int:
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return _ARGUMENTS[part][0]  # Some built-in functions have no signature.
    check_parameter_names(f"{_NOUNS[part]} {name!r}", signature, _FORMS[part], name)
    for number in _ARGUMENTS[part]:
        try:
            bound = signature.bind(*range(number)).arguments
        except TypeError:
            continue
        if number == 1 or not _has_other_use(signature, list(bound)[-1]):
            return number
    hint = " Were the parentheses of @cp.add_step() forgotten?" if part == "load" else ""
    raise FlowDefinitionError(
        f"the {_NOUNS[part]} {name!r} takes {signature}, and a {_NOUNS[part]} is called with "
        f"{_FORMS[part]}.{hint}",
        step=name,
    )


def _has_other_use(signature: inspect.Signature, name: str) -> bool:
    """Whether a second parameter, not called `data`, has a default, as in `f(state, n=1)`."""
    return signature.parameters[name].default is not inspect.Parameter.empty and name != "data"


def name_of(function: Any) -> str:  # noqa: ANN401
    """The name of a function, also under partials, or that of the class of a callable object."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise FlowDefinitionError(f"the name of a step is a string, not {name!r}.")
    if len(name) > LONGEST_NAME:
        raise FlowDefinitionError(
            f"the name of a step has {len(name)} characters, and may have {LONGEST_NAME}."
        )
    if "\0" in name or not _is_unicode(name):
        raise FlowDefinitionError(
            f"the name of a step, {name!r}, holds a NUL or a lone surrogate, which databases do "
            "not store. Take it out.",
            step=name,
        )
    return name


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
