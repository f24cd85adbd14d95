"""Tools for tests of flows, and of state handlers of your own.

>>> from aiocheckpoint import CheckpointFlow
>>> from aiocheckpoint.testing import crash_everywhere
>>> def make_flow(path):
...     cp = CheckpointFlow(path)
...     cp.add_step()(count)
...     return cp
>>> def count(state):
...     state["n"] = state["n"] + 1
>>> crash_everywhere(make_flow, {"n": 0}) > 0
True

No test framework is needed: a failed check raises an `AssertionError`. `check_handler` reports what
it could not check.
"""

from aiocheckpoint import _public
from aiocheckpoint.testing._checking import HandlerCheck
from aiocheckpoint.testing._conformance import HANDLER_CHECKS, HandlerReport, check_handler
from aiocheckpoint.testing._crashing import crash_everywhere
from aiocheckpoint.testing._faults import Faults
from aiocheckpoint.testing._memory import MemoryStateHandler

__all__ = [
    "HANDLER_CHECKS",
    "Faults",
    "HandlerCheck",
    "HandlerReport",
    "MemoryStateHandler",
    "check_handler",
    "crash_everywhere",
]

_public.publish(__name__, globals(), __all__)
