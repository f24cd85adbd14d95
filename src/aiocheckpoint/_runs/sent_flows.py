"""Flows that are pickled, to be sent to another process.

A flow that is a global of a module travels as its target, "package.module:attribute". The other
process imports the module, and has the very flow of it. Any other flow travels by value: its place,
options and steps. A pickler that knows functions by their names alone needs names for them all.
"""

from __future__ import annotations

import pickle
import sys
from contextvars import ContextVar
from importlib import import_module
from typing import TYPE_CHECKING, Any

from aiocheckpoint._runs.core import FlowCore
from aiocheckpoint._snapshot.pickling.picklers import is_plain_pickle
from aiocheckpoint.errors import CheckpointError, InvalidValueError, UnpicklableFlowError
from aiocheckpoint.handlers._base import StateHandler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

__all__ = ["check_parts", "check_sendable", "find_flow", "pickled_for_workers", "target_of"]

_MAIN = frozenset({"__main__", "__mp_main__"})
_NOUNS = {"load": "the loader of step {}", "step": "step {}", "save": "the saver of step {}"}
_checking: ContextVar[bool] = ContextVar("aiocheckpoint_checking", default=False)
"""Whether parts of a flow are tried. A bound method may hold its flow, and so pickle it again."""


def target_of(flow: object, core: FlowCore) -> str | None:
    """Find the target by which another process imports the flow. None where it has none.

    Looked at are the module that made the flow, and those in which its steps are defined. A script
    is no module for other processes, nor is a module whose import has not ended, or one that
    cloudpickle is told to pickle by value.

    Args:
        flow: The flow.
        core: Its core.
    """
    for name in core.settings.modules.names():
        module = sys.modules.get(name)
        if name in _MAIN or module is None or not _is_imported(module):
            continue
        for attribute, value in list(vars(module).items()):
            if value is flow:
                return None if _travels_by_value(name) else f"{name}:{attribute}"
    return None


def find_flow(target: str) -> Any:  # noqa: ANN401 - a flow, whose class is above
    """Import the module of a target, and give the flow.

    Raises:
        InvalidValueError: The module cannot be imported here, or has no such flow.
    """
    name, _, attribute = target.partition(":")
    try:
        module = import_module(name)
    except Exception as error:
        raise InvalidValueError(
            f"the flow {target!r} was sent by its name, and the module cannot be imported here: "
            f"{type(error).__name__}: {error}. Install the module here as well, or let cloudpickle "
            "send it along, by cloudpickle.register_pickle_by_value(module)."
        ) from error
    found: object = getattr(module, attribute, None)
    if not isinstance(getattr(found, "_core", None), FlowCore):
        raise InvalidValueError(
            f"the flow {target!r} was sent by its name, and the module {name!r} has no such flow "
            "here. Install the same release of it in all processes."
        )
    return found


def pickled_for_workers(flow: object) -> bytes:
    """Pickle a flow for workers, by value where only this program has its functions.

    Workers of clusters have another `__main__`.

    Raises:
        UnpicklableFlowError: It cannot be pickled.
    """
    plain, refused = b"", None
    try:
        plain = pickle.dumps(flow)
    except UnpicklableFlowError as error:
        refused = error
    if refused is None and b"__main__" not in plain:
        return plain
    try:
        import cloudpickle  # type: ignore[import-untyped]  # noqa: PLC0415 - comes with the engines
    except ImportError:
        if refused is not None:
            raise refused from None
        return plain
    pickled: bytes = cloudpickle.dumps(flow)
    return pickled


def check_sendable(core: FlowCore) -> None:
    """Check that another process can have the flow. Called while a pickler is at work on it.

    Raises:
        UnpicklableFlowError: Its handler keeps no snapshots for other processes, or a secret was
            given itself.
    """
    if isinstance(core.handler, StateHandler):
        core.handler.check_sendable()


def check_parts(core: FlowCore, protocol: int) -> None:
    """Check that plain pickle can pickle the parts of a flow, if it is at work on the flow.

    Raises:
        UnpicklableFlowError: It cannot. The cause is the error of pickle.
    """
    if _checking.get() or not is_plain_pickle():
        return
    token = _checking.set(True)
    try:
        for what, step, part in _parts(core):
            _try(what, step, part, protocol)
    finally:
        _checking.reset(token)


def _try(what: str, step: str | None, part: object, protocol: int) -> None:
    try:
        pickle.dumps(part, protocol)
    except CheckpointError:
        raise
    except Exception as error:
        raise UnpicklableFlowError(
            f"plain pickle finds functions and classes by their names, and {what} has none that "
            f"it finds ({type(error).__name__}). Define it at the top level of a module. "
            "Or use cloudpickle, as Dask, Ray, loky and joblib do.",
            step=step,
        ) from error


def _parts(core: FlowCore) -> Iterator[tuple[str, str | None, object]]:
    """Give the parts that users made, each with its words and the name of its step."""
    for step in core.registry.steps:
        for part, function in step.parts:
            yield _NOUNS[part].format(repr(step.name)), step.name, function.function
        yield f"retry= of step {step.name!r}", step.name, step.retry
        yield f"limiter= of step {step.name!r}", step.name, step.limiter
        yield f"executor= of step {step.name!r}", step.name, step.executor
    settings = core.settings
    yield "hooks=", None, settings.hooks
    yield "around=", None, settings.around
    yield "migrate=", None, settings.migrate
    yield f"the handler, a {type(core.handler).__qualname__}", None, core.handler


def _is_imported(module: ModuleType) -> bool:
    spec = getattr(module, "__spec__", None)
    return spec is not None and not getattr(spec, "_initializing", False)


def _travels_by_value(name: str) -> bool:
    """Whether the user has told cloudpickle to send the module, or a package around it, along."""
    cloudpickle = sys.modules.get("cloudpickle")
    if cloudpickle is None:
        return False
    registered: set[str] = cloudpickle.list_registry_pickle_by_value()
    return any(f"{name}.".startswith(f"{one}.") for one in registered)
