"""Checkpoints for a sequence of functions, native to asyncio.

>>> from aiocheckpoint import CheckpointFlow
>>> cp = CheckpointFlow("checkpoint.pkl")

Register functions with `cp.add_step()`, run them with `cp.run(state)` or `await cp.arun(state)`;
when one breaks, mend it and run again.
"""

import importlib
from typing import TYPE_CHECKING

from aiocheckpoint._model.current_step import CurrentStep, current_step
from aiocheckpoint._model.header import Failure, Header
from aiocheckpoint._model.pause import Pause
from aiocheckpoint._model.plan import Plan
from aiocheckpoint._model.step_names import StepNamesExcerpt
from aiocheckpoint._version import __version__
from aiocheckpoint.errors import (
    CheckpointError,
    CorruptSnapshotError,
    DrainingError,
    FlowChangedError,
    FlowDefinitionError,
    IncompatibleSnapshotError,
    InvalidTypeError,
    InvalidValueError,
    LeaseLostError,
    MissingExtraError,
    NotDurableError,
    OutsideStepError,
    RunInProgressError,
    StepTimeoutError,
    StorageError,
    StreamConsumedError,
    UnknownHandlerError,
    UnserializableStateError,
    UntrustedSnapshotError,
)
from aiocheckpoint.flow import CheckpointFlow
from aiocheckpoint.handlers import LocalStateHandler, StateHandler
from aiocheckpoint.handlers._registry import HandlerOptions, open_handler

if TYPE_CHECKING:
    from aiocheckpoint import events
    from aiocheckpoint._model.retry import Retry
    from aiocheckpoint._runs.results import RunResult
    from aiocheckpoint._runs.streams import Stream
    from aiocheckpoint.handlers.local._inspect import adopt, inspect

__all__ = [
    "CheckpointError",
    "CheckpointFlow",
    "CorruptSnapshotError",
    "CurrentStep",
    "DrainingError",
    "Failure",
    "FlowChangedError",
    "FlowDefinitionError",
    "HandlerOptions",
    "Header",
    "IncompatibleSnapshotError",
    "InvalidTypeError",
    "InvalidValueError",
    "LeaseLostError",
    "LocalStateHandler",
    "MissingExtraError",
    "NotDurableError",
    "OutsideStepError",
    "Pause",
    "Plan",
    "Retry",
    "RunInProgressError",
    "RunResult",
    "StateHandler",
    "StepNamesExcerpt",
    "StepTimeoutError",
    "StorageError",
    "Stream",
    "StreamConsumedError",
    "UnknownHandlerError",
    "UnserializableStateError",
    "UntrustedSnapshotError",
    "__version__",
    "adopt",
    "current_step",
    "events",
    "inspect",
    "open_handler",
]

# What a run needs only where it is asked for: by a hook, retry=, amap() and the like.
_LATER = {
    "Retry": "_model.retry",
    "RunResult": "_runs.results",
    "Stream": "_runs.streams",
    "adopt": "handlers.local._inspect",
    "inspect": "handlers.local._inspect",
}


def __getattr__(name: str) -> object:
    """Give a public name whose module is imported only when it is asked for (PEP 562)."""
    if name == "events":
        return importlib.import_module("aiocheckpoint.events")
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"aiocheckpoint.{_LATER[name]}"), name)
    globals()[name] = found  # the next time it is found without this
    return found


def __dir__() -> list[str]:
    """List the public names, those of modules not imported yet as well."""
    return sorted({*globals(), *__all__})
