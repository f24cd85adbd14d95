"""How long the steps of a flow take, by the runs that have finished."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from aiocheckpoint.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiocheckpoint.handlers._base import StateHandler
    from aiocheckpoint.handlers._reader import StoreReader

__all__ = ["expected_in", "expected_of"]

_NEWEST = 20
"""As many runs give the median."""
_SECONDS = 60.0
"""The answer to a display is asked for again after so long."""
_known: dict[tuple[str, str], tuple[float, Mapping[str, float]]] = {}
"""By place and flow: when it was asked for, and the answer. A process has few of them."""


def expected_of(reader: StoreReader, flow: str) -> Mapping[str, float]:
    """Seconds that each step of a flow needs: the median of its newest 20 finished runs.

    Args:
        reader: Reads the store.
        flow: Name of the flow.

    Returns:
        The seconds by step. Empty where none has finished, and of a store without an index.

    Raises:
        StorageError: The store cannot be read.
    """
    seconds: dict[str, list[float]] = {}
    for run in reader.newest_finished(flow, _NEWEST):
        if run.header is not None and run.error is None:
            for step, one in run.header.durations.items():
                seconds.setdefault(step, []).append(one)
    return {step: statistics.median(those) for step, those in seconds.items()}


def expected_in(handler: StateHandler, flow: str) -> Mapping[str, float]:
    """As `expected_of`, for the display of a run: asked for at most once a minute.

    Args:
        handler: The handler of the flow.
        flow: Its name.

    Returns:
        The seconds by step. Empty where nothing is known, or the store cannot be read.
    """
    key, now = (handler.locate(), flow), time.monotonic()
    asked, expected = _known.get(key, (-_SECONDS, {}))
    if now - asked < _SECONDS:
        return expected
    reader = handler.reader()
    reader.checks_with(handler.codec)
    try:
        with reader:
            expected = expected_of(reader, flow) if reader.exists() else {}
    except CheckpointError:  # The run itself says so, if its store is out of order.
        expected = {}
    _known[key] = now, expected
    return expected
