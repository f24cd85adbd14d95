"""The text of `repr(cp)`, which holds no secret and no value of a state."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from aiocheckpoint.handlers import StateHandler
from aiocheckpoint.handlers._urls import redact_url

if TYPE_CHECKING:
    from aiocheckpoint._runs.core import FlowCore

__all__ = ["describe_flow", "location_of"]

_MOST_STEPS = 8


def describe_flow(core: FlowCore, kind: str) -> str:
    """Describe a flow by its name, path, handler and steps."""
    names = [repr(step.name) for step in core.registry.steps]
    if len(names) > _MOST_STEPS:
        names[_MOST_STEPS - 2 : -1] = [f"... {len(names) - _MOST_STEPS + 1} more ..."]
    handler = type(core.handler).__qualname__
    steps = ", ".join(names)
    return f"{kind}({core.settings.flow!r}, {location_of(core)!r}, {handler}, steps=[{steps}])"


def location_of(core: FlowCore) -> str:
    """The path that the user gave, or that of the handler object, without credentials."""
    path = getattr(core.handler, "path", None) if isinstance(core.handler, StateHandler) else None
    if not isinstance(path, (str, os.PathLike)):
        path = core.state_path
    return redact_url(os.fsdecode(path))
