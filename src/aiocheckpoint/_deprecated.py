"""Names of 0.5.0 that still work, with a DeprecationWarning. This module goes as a whole in 0.8.

The package and `handlers` ask `renamed` for names that they lack. `keep_old_names` puts the old
methods on today's classes, and makes the modules importable that pickles of 0.5.0 name.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import warnings
from dataclasses import replace
from functools import partial, wraps
from operator import attrgetter
from types import ModuleType
from typing import TYPE_CHECKING, Any

from aiocheckpoint._model.header import Header
from aiocheckpoint._model.plan import Plan
from aiocheckpoint._model.step_names import StepNamesExcerpt
from aiocheckpoint._snapshot.header_json import decode_header, encode_header
from aiocheckpoint._snapshot.versions import stamped
from aiocheckpoint._tracebacks import front_door

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["keep_old_names", "renamed"]

_RENAMED = {
    ("aiocheckpoint", "Excerpt"): "StepNamesExcerpt",
    ("aiocheckpoint.handlers", "Target"): "SnapshotTarget",
}

_OLD_ATTRIBUTES: dict[type, dict[str, str]] = {
    Header: {
        "advanced": "next",
        "begins_as": "matches_prefix",
        "entered": "next_step",
        "enters": "is_at",
        "is_of": "matches",
        "made_of": "from_trusted",
        "of_unnamed": "without_names",
        "tell_attempts": "record_attempt",
    },
    Plan: {"moves": "relocates"},
    StepNamesExcerpt: {"are": "matches", "begin_as": "matches_prefix", "name": "at"},
}

_OLD_PLAN_FIELDS = (
    *("steps", "start", "stop", "loads", "source", "kept", "fresh", "relocates", "restores_data"),
    *("ignores_given", "reason", "done"),
)
"""The fields of a plan of 0.5.0 by today's names, in the order in which it pickled their values."""

_OLD_HANDLER_METHODS = {"slot": "run_store", "under": "hold_or_check"}
"""Old methods of `StateHandler`, which this module must not import: `handlers` imports it."""

_OLD_MODULES = {
    "_current": ("CurrentStep",),
    "_durations": ("Durations",),
    "_header": ("Failure", "Header"),
    "_names": ("Excerpt",),
    "_pause": ("Pause",),
    "_plan": ("Plan",),
    "_results": ("RunResult",),
    "_retry": ("Retry",),
}
"""The private modules of 0.5.0 with the public classes that its pickles find there."""


def renamed(module: str, name: str) -> Any:  # noqa: ANN401 - a class
    """Give the attribute of a module that an old name stands for.

    Raises:
        AttributeError: It had no such name.
    """
    new = _RENAMED.get((module, name))
    if new is None:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    _warn(f"{module}.{name} is now {module}.{new}", stacklevel=4)
    return getattr(importlib.import_module(module), new)


def keep_old_names() -> None:
    """Put the old methods on the classes, and the old modules where pickles look for them."""
    handler: type = importlib.import_module("aiocheckpoint.handlers").StateHandler
    for kind, names in (_OLD_ATTRIBUTES | {handler: _OLD_HANDLER_METHODS}).items():
        for old, new in names.items():
            text = f"{kind.__name__}.{old} is now {kind.__name__}.{new}"
            setattr(kind, old, _Alias(text, attrgetter(new)))
    for old, give in _OLD_METHODS.items():
        setattr(Header, old, _Alias(f"Header.{old} is private now", give))
    runs: type = importlib.import_module("aiocheckpoint._runs.stored_api").StoredRuns
    for name, wrap in (("patch", _patch_of_old), ("apatch", _apatch_of_old)):
        setattr(runs, name, front_door(wrap(inspect.unwrap(getattr(runs, name)))))
    Header.__setstate__ = _set_header_state  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
    Plan.__setstate__ = _set_plan_state  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
    for name in _OLD_MODULES:
        sys.modules[f"aiocheckpoint.{name}"] = _OldModule(f"aiocheckpoint.{name}")


def _warn(text: str, stacklevel: int) -> None:
    warnings.warn(f"{text}. The old name goes in 0.8.", DeprecationWarning, stacklevel=stacklevel)


class _Alias:
    """An old name of a method or property.

    Args:
        text: The warning.
        give: Gives its value for an instance, or for the class.
    """

    def __init__(self, text: str, give: Callable[[Any], Any]) -> None:
        self._text, self._give = text, give

    def __get__(self, instance: object, owner: type) -> Any:  # noqa: ANN401 - any attribute
        if instance is not None:
            _warn(self._text, stacklevel=3)
            return self._give(instance)
        # Tools that list the attributes of a class look them up, and mean no use of them.
        return partial(self._call, owner)

    def _call(self, owner: type, /, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - any method
        _warn(self._text, stacklevel=3)
        return self._give(owner)(*args, **options)


def _with_versions(header: Header, **changes: Any) -> Header:  # noqa: ANN401 - any field
    return replace(stamped(header, code=header.code), **changes)


_OLD_METHODS: dict[str, Callable[[Any], Any]] = {
    "by_this_program": lambda header: partial(_with_versions, header),
    "decode": lambda _: decode_header,
    "encode": lambda header: partial(encode_header, header),
}


def _patch_of_old(patch: Callable[..., Header]) -> Callable[..., Header]:
    """Let `patch` take the run id before the values, as in 0.5."""

    @wraps(patch)
    def patched(flow: Any, /, *args: Any, **options: Any) -> Header:  # noqa: ANN401
        args, options = _values_first("patch", args, options)
        return patch(flow, *args, **options)

    return patched


def _apatch_of_old(patch: Callable[..., Awaitable[Header]]) -> Callable[..., Awaitable[Header]]:
    @wraps(patch)
    async def patched(flow: Any, /, *args: Any, **options: Any) -> Header:  # noqa: ANN401
        args, options = _values_first("apatch", args, options)
        return await patch(flow, *args, **options)

    return patched


def _values_first(
    name: str, args: tuple[Any, ...], options: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Take the run id of an old call from its place before the values."""
    follows = "values" in options or (len(args) > 1 and isinstance(args[1], dict))
    if not args or isinstance(args[0], dict) or not follows:
        return args, options
    text = f"{name}(run_id, values) is now {name}(values, run_id=...)"
    _warn(text, stacklevel=5)
    return args[1:], {**options, "run_id": args[0]}


class _Durations(dict[str, float]):
    """Stands in for a class of 0.5.0 while a pickle is loaded."""

    def __setstate__(self, state: object) -> None:
        """Skip the cached text."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Be copied and pickled as the dict that it is."""
        return dict, (dict(self),)


def _set_header_state(header: Header, state: dict[str, Any]) -> None:
    new: dict[str, Any] = {"initial_digest": None, "step_digests": {}}
    new |= {"expected": {}, "snapshots": {}}
    attributes = {**new, **state, "durations": dict(state["durations"])}
    attributes.pop("fixed", None)  # cached text of 0.5.0
    header.__dict__.update(attributes)


def _set_plan_state(plan: Plan, state: dict[str, Any] | list[Any]) -> None:
    if isinstance(state, list):
        state = dict(zip(_OLD_PLAN_FIELDS, state, strict=True))
    plan.__dict__.update(state)


class _OldModule(ModuleType):
    """A private module of 0.5.0, of which only the public classes are left."""

    def __getattr__(self, name: str) -> object:
        """Give a class under the name that it has in pickles."""
        if name not in _OLD_MODULES[self.__name__.rpartition(".")[2]]:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if name == "Durations":
            return _Durations
        new = "StepNamesExcerpt" if name == "Excerpt" else name
        return getattr(importlib.import_module("aiocheckpoint"), new)
