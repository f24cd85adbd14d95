"""What every state handler must do, as functions to run against any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint.testing._checks_locks import LOCK_CHECKS
from aiocheckpoint.testing._checks_runs import RUN_CHECKS
from aiocheckpoint.testing._checks_snapshots import SNAPSHOT_CHECKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint.handlers import StateHandler

__all__ = ["HANDLER_CHECKS", "check_handler"]


def check_handler(make: Callable[[], StateHandler]) -> None:
    """See that a state handler does all that a flow needs of it.

    With pytest, the single checks read better: parametrize a test with `HANDLER_CHECKS` and call
    each with `make`.

    Args:
        make: Makes a handler, again and again, of one and the same place, as processes that
            start one after another would. The place is used up: what is stored there is lost.

    Raises:
        AssertionError: It does not; the message says what must hold.
    """
    for check in HANDLER_CHECKS:
        check(make)


HANDLER_CHECKS: tuple[Callable[[Callable[[], StateHandler]], None], ...] = (
    *SNAPSHOT_CHECKS,
    *LOCK_CHECKS,
    *RUN_CHECKS,
)
"""The single checks of `check_handler`: each is called with `make`."""
