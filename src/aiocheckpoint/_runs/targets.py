"""Loading what a target names: `package.module:attribute`."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from aiocheckpoint._concurrency.callables import is_async_callable
from aiocheckpoint.errors import CheckpointError, InvalidValueError

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["load_target"]

_Kind = TypeVar("_Kind")
_OWN = {__file__, import_module.__code__.co_filename}


def load_target(
    target: str, kind: type[_Kind], *, folder: str | None = None, factory: bool = False
) -> _Kind:
    """Import a module, and give its attribute. The module's code is executed.

    Args:
        target: The target, `package.module:attribute`.
        kind: The class that the object must be of.
        folder: Where the module is looked for first. By default the current directory.
        factory: Whether the attribute is a function without arguments that makes the object.

    Raises:
        InvalidValueError: The module or attribute is missing, or raises, or is of another class.
            The cause is what the user's code raised, with the frames of that code alone.
    """
    module_name, _, name = target.partition(":")
    module = _imported(module_name, os.path.abspath(folder or os.curdir))
    try:
        found = getattr(module, name)
    except AttributeError:
        raise InvalidValueError(
            f"the module {module_name!r} has no attribute {name!r}.{_others(module, kind)}"
        ) from None
    if factory:
        found = _made(found, target)
    if not isinstance(found, kind):
        raise InvalidValueError(
            f"{target} is no {kind.__name__}, but {_described(found)}.{_hint(found, factory)}"
        )
    return found


def _imported(name: str, folder: str) -> Any:  # noqa: ANN401 - a module's attributes are any
    if folder not in sys.path[:1]:
        sys.path.insert(0, folder)
    try:
        return import_module(name)
    except (Exception, SystemExit) as error:
        _keep_frames_of_user(error)
        missing = isinstance(error, ModuleNotFoundError) and _is_part(name, error.name)
        if missing and error.__traceback__ is None:
            raise InvalidValueError(
                f"there is no module {name!r} in {folder} or on the path of Python. "
                "Give another directory by --app-dir."
            ) from None
        raise InvalidValueError(
            f"the module {name!r} cannot be imported: {_said(error)}"
        ) from error


def _made(factory: Any, target: str) -> object:  # noqa: ANN401 - whatever the user named
    if not callable(factory):
        raise InvalidValueError(f"{target} is no function, but {_described(factory)}.")
    if is_async_callable(factory):
        raise InvalidValueError(
            f"{target} is an async function, and a factory is called without an event loop. "
            "Let a plain function make the flow."
        )
    try:
        return factory()
    except (Exception, SystemExit) as error:
        _keep_frames_of_user(error)
        raise InvalidValueError(f"{target} cannot be called: {_said(error)}") from error


def _is_part(name: str, missing: str | None) -> bool:
    """Whether a module that is missing is the one asked for, or a package around it."""
    return missing is not None and f"{name}.".startswith(f"{missing}.")


def _keep_frames_of_user(error: BaseException) -> None:
    """Take the frames of this module and of Python's import out of the beginning.

    An error of this library ends where the user's code called it.
    """
    frame: TracebackType | None = error.__traceback__
    while frame is not None and _is_machinery(frame.tb_frame.f_code.co_filename):
        frame = frame.tb_next
    error.__traceback__ = frame
    while frame is not None and isinstance(error, CheckpointError):
        if frame.tb_next is not None and _is_of_library(frame.tb_next):
            frame.tb_next = None
        frame = frame.tb_next


def _is_machinery(file: str) -> bool:
    return file in _OWN or file.startswith("<frozen importlib")


def _is_of_library(frame: TracebackType) -> bool:
    module: object = frame.tb_frame.f_globals.get("__name__")
    return str(module).partition(".")[0] == "aiocheckpoint"


def _said(error: BaseException) -> str:
    text = str(error).rstrip(".")
    return f"{type(error).__name__}: {text}." if text else f"{type(error).__name__}."


def _described(found: object) -> str:
    kind = type(found)
    return "None" if found is None else f"an object of {kind.__module__}.{kind.__qualname__}"


def _hint(found: object, factory: bool) -> str:  # noqa: FBT001
    if callable(found) and not factory:
        return " If it is a function that makes one, add --factory."
    return ""


def _others(module: object, kind: type) -> str:
    names = [name for name, value in vars(module).items() if isinstance(value, kind)]
    return f" It has {', '.join(names)}." if names else ""
