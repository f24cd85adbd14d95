"""How long the steps of a flow took in earlier runs of its store, asked for once a minute."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aiocheckpoint.errors import CheckpointError
from aiocheckpoint.look._expected import expected_of
from aiocheckpoint.look._store import store_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiocheckpoint.handlers import StateHandler

__all__ = ["expected_in"]

_SECONDS = 60.0
_known: dict[tuple[str, str], tuple[float, Mapping[str, float]]] = {}
"""By place and flow: when it was asked for, and the answer. A process has few of them."""


def expected_in(handler: StateHandler, flow: str) -> Mapping[str, float]:
    """Give the seconds by step. Empty where nothing is known, or the store cannot be read.

    Args:
        handler: The handler of the flow.
        flow: Its name.
    """
    key, now = (handler.locate(), flow), time.monotonic()
    asked, expected = _known.get(key, (-_SECONDS, {}))
    if now - asked < _SECONDS:
        return expected
    try:
        with store_of(handler) as store:
            expected = expected_of(store, flow)
    except CheckpointError:  # The run itself says so, if its store is out of order.
        expected = {}
    _known[key] = now, expected
    return expected
