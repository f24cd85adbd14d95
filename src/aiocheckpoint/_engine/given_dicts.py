"""The dicts that callers gave to the runs of this process. No two runs have one at a time.

Steps change a given dict in place. A dict of two runs would carry the values of one into the
snapshots of the other.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from aiocheckpoint.errors import InvalidValueError

if TYPE_CHECKING:
    from aiocheckpoint._model.request import Request
    from aiocheckpoint.handlers._run_store import RunStore

__all__ = ["claim_dicts", "release_dicts"]

_runs: dict[int, RunStore] = {}
"""The run that has a dict, by the id of the dict, which the run keeps alive. There is no lock,
because a signal handler may run a flow at any line. Each change is one operation of a dict."""


def claim_dicts(request: Request, run_store: RunStore, *, owns: bool = False) -> None:
    """Claim the given dicts for a run, again without effect.

    A call for the same run may have its dict: it waits until that run has ended.

    Args:
        request: The call.
        run_store: Its run.
        owns: Whether the call has the lock of the run. It takes the dicts from a call before it,
            which may have given up its lock with its last snapshot, and releases them after that.

    Raises:
        InvalidValueError: Another run has one of the dicts.
    """
    for given, argument in ((request.state, "the state"), (request.data, "data=")):
        if given is None:
            continue
        other = _runs.setdefault(id(given), run_store)
        if other is not run_store and other.location != run_store.location:
            release_dicts(request, run_store)
            raise InvalidValueError(
                f"{argument} of the run in {run_store.location} is the very dict that the run in "
                f"{other.location} has, which is in progress. Each would store values of the "
                "other. Give each run a copy, such as dict(defaults), or copy.deepcopy(defaults) "
                "where it holds lists or dicts."
            )
        if owns:
            _runs[id(given)] = run_store


def release_dicts(request: Request, run_store: RunStore) -> None:
    """Release the dicts that a run has."""
    for given in (request.state, request.data):
        if given is not None and _runs.get(id(given)) is run_store:
            del _runs[id(given)]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_runs.clear)  # The runs are those of the parent.
