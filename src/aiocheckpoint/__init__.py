"""Checkpoints for a sequence of functions, native to asyncio.

>>> from aiocheckpoint import CheckpointFlow
>>> cp = CheckpointFlow("checkpoint.pkl")

Register functions with `cp.add_step()`, run them with `cp.run(state)` or `await cp.arun(state)`;
when one breaks, mend it and run again.
"""

from aiocheckpoint import events
from aiocheckpoint._current import CurrentStep, current_step
from aiocheckpoint._files import adopt, inspect
from aiocheckpoint._header import Failure, Header
from aiocheckpoint._names import Excerpt
from aiocheckpoint._pause import Pause
from aiocheckpoint._places import HandlerOptions
from aiocheckpoint._plan import Plan
from aiocheckpoint._results import RunResult
from aiocheckpoint._retry import Retry
from aiocheckpoint._streams import Stream
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

__all__ = [
    "CheckpointError",
    "CheckpointFlow",
    "CorruptSnapshotError",
    "CurrentStep",
    "DrainingError",
    "Excerpt",
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
]
