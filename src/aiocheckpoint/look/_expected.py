"""How long the steps of a flow take, by the runs that have finished."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiocheckpoint.look._store import Store

__all__ = ["expected_of"]

_NEWEST = 20
"""As many runs give the median."""


def expected_of(store: Store, flow: str) -> Mapping[str, float]:
    """Seconds that each step of a flow needs: the median of its newest 20 finished runs.

    Args:
        store: The store.
        flow: Name of the flow.

    Returns:
        The seconds by step. Empty where none has finished, and of a store without an index.

    Raises:
        StorageError: The store cannot be read.
    """
    reader = store._reader  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    seconds: dict[str, list[float]] = {}
    for run in reader.newest_finished(flow, _NEWEST):
        if run.header is not None and run.error is None:
            for step, one in run.header.durations.items():
                seconds.setdefault(step, []).append(one)
    return {step: statistics.median(those) for step, those in seconds.items()}
