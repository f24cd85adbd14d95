"""A short look at the runs of a flow, with a bound on its work: for the card of the flow."""

from __future__ import annotations

import errno
import time
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers._found_runs import sort_key
from aiocheckpoint.handlers._run_filter import ALL
from aiocheckpoint.look._views import view_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiocheckpoint.handlers._base import StateHandler
    from aiocheckpoint.handlers._found_runs import FoundRun
    from aiocheckpoint.handlers._reader import StoreReader
    from aiocheckpoint.look._records import RunView

__all__ = ["Glance", "glance"]

_MOST_FILES = 500
_SECONDS = 0.3


class Glance(NamedTuple):
    """What a short look has found.

    Attributes:
        counts: Number of runs by status.
        complete: Whether all runs were counted. False for a directory of many.
        newest: The run that began last, as far as was looked, or None where there is none.
    """

    counts: Mapping[str, int]
    complete: bool
    newest: RunView | None


def glance(handler: StateHandler) -> Glance:
    """Look at the runs of a flow. Nothing is changed or unpickled.

    A database counts by an index. Of files, 500 headers are read at most, and none any more after
    0.3 seconds.

    Args:
        handler: The handler of the flow.

    Raises:
        StorageError: The store cannot be read.
        IncompatibleSnapshotError: It is of a later version of this library.
    """
    reader = handler.reader()
    reader.checks_with(handler.codec)
    try:
        with reader:
            if not reader.exists():
                return Glance({}, complete=True, newest=None)
            return _by_index(reader, handler) if reader.has_index else _by_headers(reader, handler)
    except StorageError as error:
        if error.errno == errno.ENOENT:  # Deleted meanwhile.
            return Glance({}, complete=True, newest=None)
        raise


def _by_index(reader: StoreReader, handler: StateHandler) -> Glance:
    counts = {
        status or "": count
        for (status,), count in reader.counts(handler.flow, ("status",), ALL).items()
    }
    newest = next(reader.runs(handler.flow, ALL, "began", 1), None)
    return Glance(counts, complete=True, newest=None if newest is None else view_of(newest))


def _by_headers(reader: StoreReader, handler: StateHandler) -> Glance:
    counts, newest, complete = Counter[str](), None, True
    ends = time.monotonic() + _SECONDS
    for run in islice(reader.found(handler.flow), _MOST_FILES + 1):
        if counts.total() == _MOST_FILES or time.monotonic() > ends:
            complete = False
            break
        counts[run.status] += 1
        newest = run if newest is None else max(newest, run, key=_began)
    return Glance(dict(counts), complete, None if newest is None else view_of(newest))


def _began(run: FoundRun) -> tuple[object, ...]:
    return sort_key("began", run)
