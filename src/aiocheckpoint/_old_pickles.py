"""Pickles of 0.5.0: records that users stored in states or files of their own are still loaded.

They name private modules that are gone. `install` makes these modules importable, with the public
classes alone, and gives headers and plans the way to take the attributes of that version.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from aiocheckpoint._model.header import Header
from aiocheckpoint._model.plan import Plan

__all__ = ["install"]

_OLD_PLAN_FIELDS = (
    *("steps", "start", "stop", "loads", "source", "kept", "fresh", "relocates", "restores_data"),
    *("ignores_given", "reason", "done"),
)
"""The fields of a plan of 0.5.0 by today's names, in the order in which it pickled their values."""

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


def install() -> None:
    """Put the old modules where pickles look for them."""
    Header.__setstate__ = _set_header_state  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
    Plan.__setstate__ = _set_plan_state  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
    for name in _OLD_MODULES:
        sys.modules[f"aiocheckpoint.{name}"] = _OldModule(f"aiocheckpoint.{name}")


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
