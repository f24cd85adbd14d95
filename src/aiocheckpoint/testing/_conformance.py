"""The conformance checks of state handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint.testing._checks_endings import ENDING_CHECKS
from aiocheckpoint.testing._checks_filters import FILTER_CHECKS
from aiocheckpoint.testing._checks_locks import LOCK_CHECKS
from aiocheckpoint.testing._checks_progress import PROGRESS_CHECKS
from aiocheckpoint.testing._checks_queue import QUEUE_CHECKS
from aiocheckpoint.testing._checks_runs import RUN_CHECKS
from aiocheckpoint.testing._checks_snapshots import SNAPSHOT_CHECKS
from aiocheckpoint.testing._checks_stores import STORE_CHECKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint.handlers import StateHandler

__all__ = ["HANDLER_CHECKS", "check_handler"]


def check_handler(make: Callable[[], StateHandler]) -> None:
    """Check that a state handler does everything that a flow needs.

    With pytest, parametrize a test with `HANDLER_CHECKS` and call each check with `make`.

    Args:
        make: Makes a handler of the same store at each call, as a new process would. The runs in
            the store are lost.

    Raises:
        AssertionError: A check failed. The message is the rule.
    """
    for check in HANDLER_CHECKS:
        check(make)


HANDLER_CHECKS: tuple[Callable[[Callable[[], StateHandler]], None], ...] = (
    *SNAPSHOT_CHECKS,
    *LOCK_CHECKS,
    *RUN_CHECKS,
    *FILTER_CHECKS,
    *STORE_CHECKS,
    *ENDING_CHECKS,
    *PROGRESS_CHECKS,
    *QUEUE_CHECKS,
)
"""The single checks of `check_handler`. Each is called with `make`."""
