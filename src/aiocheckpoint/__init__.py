"""Checkpoints for a sequence of functions, native to asyncio.

>>> from aiocheckpoint import CheckpointFlow
>>> cp = CheckpointFlow("checkpoint.pkl")

Register functions with `cp.add_step()`, run them with `cp.run(state)` or `await cp.arun(state)`.
When one breaks, mend it and run again.
"""

from aiocheckpoint import _old_pickles, _public, events
from aiocheckpoint._display.cards import cards as _cards
from aiocheckpoint._display.diagrams.diagram import Diagram
from aiocheckpoint._model.current_step import CurrentStep, current_step
from aiocheckpoint._model.header import Failure, Header
from aiocheckpoint._model.pause import Pause
from aiocheckpoint._model.plan import Plan
from aiocheckpoint._model.retry import Retry
from aiocheckpoint._model.run_result import RunResult
from aiocheckpoint._model.step_names import StepNamesExcerpt
from aiocheckpoint._model.termination import Terminate
from aiocheckpoint._runs.streams import Stream
from aiocheckpoint._runs.sync_streams import SyncStream
from aiocheckpoint._runs.watching import Watch
from aiocheckpoint._version import __version__
from aiocheckpoint.errors import (
    CheckpointError,
    CorruptSnapshotError,
    DrainingError,
    ExecutorError,
    FlowChangedError,
    FlowDefinitionError,
    FlowVersionError,
    ForeignFileError,
    GivenStateIgnoredWarning,
    IncompatibleSnapshotError,
    InvalidTypeError,
    InvalidValueError,
    LeaseLostError,
    LostValuesWarning,
    MissingExtraError,
    NotDurableError,
    NoThreadError,
    NotTransactionalError,
    OutsideStepError,
    PauseConflictError,
    RemoteError,
    RunInProgressError,
    RunNotFoundError,
    RunStatusError,
    RunTerminatedError,
    SeveralFlowsError,
    StateConflictError,
    StepTimeoutError,
    StepTransactionError,
    StorageError,
    StoreUnreachableError,
    StreamConsumedError,
    UnknownHandlerError,
    UnpicklableFlowError,
    UnserializableStateError,
    UntrustedSnapshotError,
    WorkerLostError,
)
from aiocheckpoint.flow import CheckpointFlow
from aiocheckpoint.handlers import LocalStateHandler, StateHandler
from aiocheckpoint.handlers._adopting import AdoptOptions, adopt, adopt_all
from aiocheckpoint.handlers._copying import copy_runs
from aiocheckpoint.handlers._inspecting import inspect, inspect_all
from aiocheckpoint.handlers._registry import HandlerOptions, open_handler
from aiocheckpoint.handlers._replacing import Replacing, replacing

__all__ = [
    "AdoptOptions",
    "CheckpointError",
    "CheckpointFlow",
    "CorruptSnapshotError",
    "CurrentStep",
    "Diagram",
    "DrainingError",
    "ExecutorError",
    "Failure",
    "FlowChangedError",
    "FlowDefinitionError",
    "FlowVersionError",
    "ForeignFileError",
    "GivenStateIgnoredWarning",
    "HandlerOptions",
    "Header",
    "IncompatibleSnapshotError",
    "InvalidTypeError",
    "InvalidValueError",
    "LeaseLostError",
    "LocalStateHandler",
    "LostValuesWarning",
    "MissingExtraError",
    "NoThreadError",
    "NotDurableError",
    "NotTransactionalError",
    "OutsideStepError",
    "Pause",
    "PauseConflictError",
    "Plan",
    "RemoteError",
    "Replacing",
    "Retry",
    "RunInProgressError",
    "RunNotFoundError",
    "RunResult",
    "RunStatusError",
    "RunTerminatedError",
    "SeveralFlowsError",
    "StateConflictError",
    "StateHandler",
    "StepNamesExcerpt",
    "StepTimeoutError",
    "StepTransactionError",
    "StorageError",
    "StoreUnreachableError",
    "Stream",
    "StreamConsumedError",
    "SyncStream",
    "Terminate",
    "UnknownHandlerError",
    "UnpicklableFlowError",
    "UnserializableStateError",
    "UntrustedSnapshotError",
    "Watch",
    "WorkerLostError",
    "__version__",
    "adopt",
    "adopt_all",
    "copy_runs",
    "current_step",
    "events",
    "inspect",
    "inspect_all",
    "open_handler",
    "replacing",
]

_public.publish(__name__, globals(), __all__)
_old_pickles.install()
_cards.register()
