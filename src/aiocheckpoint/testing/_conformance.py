"""The conformance checks of state handlers."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unittest import SkipTest

from aiocheckpoint.testing._checks_closing import CLOSING_CHECKS
from aiocheckpoint.testing._checks_endings import ENDING_CHECKS
from aiocheckpoint.testing._checks_fences import FENCE_CHECKS
from aiocheckpoint.testing._checks_filters import FILTER_CHECKS
from aiocheckpoint.testing._checks_keeping import KEEPING_CHECKS
from aiocheckpoint.testing._checks_locks import LOCK_CHECKS
from aiocheckpoint.testing._checks_outages import OUTAGE_CHECKS
from aiocheckpoint.testing._checks_owners import OWNER_CHECKS
from aiocheckpoint.testing._checks_processes import PROCESS_CHECKS
from aiocheckpoint.testing._checks_progress import PROGRESS_CHECKS
from aiocheckpoint.testing._checks_queue import QUEUE_CHECKS
from aiocheckpoint.testing._checks_runs import RUN_CHECKS
from aiocheckpoint.testing._checks_snapshots import SNAPSHOT_CHECKS
from aiocheckpoint.testing._checks_stores import STORE_CHECKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint.handlers import StateHandler
    from aiocheckpoint.testing._checking import Check, HandlerCheck
    from aiocheckpoint.testing._faults import Faults

__all__ = ["HANDLER_CHECKS", "HandlerReport", "check_handler"]


@dataclass(frozen=True)
class HandlerReport:
    """What `check_handler` has checked. Its `str()` is the report in a few lines.

    Attributes:
        checked: Names of the checks that passed.
        not_checked: Names of the checks that could not be made, each with the reason.
    """

    checked: tuple[str, ...]
    not_checked: dict[str, str]

    def __str__(self) -> str:
        lines = (f"\n  {name}: {reason}" for name, reason in self.not_checked.items())
        return (
            f"{len(self.checked)} checks passed, {len(self.not_checked)} not made{''.join(lines)}"
        )


def check_handler(make: Callable[[], StateHandler], faults: Faults | None = None) -> HandlerReport:
    """Check that a state handler does everything that a flow needs.

    With pytest, parametrize a test with `HANDLER_CHECKS`, and call each check with `make` and
    `faults`.

    Some checks start processes of their own, which use the same store. For them `make` is sent as
    dill sends it: by its name if it can be imported, else with all that it refers to. A lambda or
    local function that refers to paths, texts and numbers can be sent. One that refers to a handler
    or a connection cannot, and these checks are not made.

    Handlers with short leases make checks of leases fast: with `lease=1`, a stopped owner is
    succeeded in a second. Under a lease of more than 5 s, checks that would wait for it to run out
    are not made.

    Args:
        make: Makes a handler of the same store at each call, as a new process would. The runs in
            the store are lost.
        faults: Makes faults of the store. Checks that need a missing fault are not made.

    Returns:
        The checks that passed, and those that could not be made.

    Raises:
        AssertionError: A check failed. The message is the rule.
    """
    checked: list[str] = []
    skipped: dict[str, str] = {}
    for check in HANDLER_CHECKS:
        name = check.__name__.removeprefix("check_")
        try:
            check(make, faults)
        except SkipTest as reason:
            skipped[name] = str(reason)
        else:
            checked.append(name)
    return HandlerReport(tuple(checked), skipped)


def _without_faults(check: Check) -> HandlerCheck:
    """Let a check that needs no faults take them."""

    @functools.wraps(check)
    def checks(make: Callable[[], StateHandler], faults: Faults | None = None) -> None:
        del faults
        check(make)

    return checks


HANDLER_CHECKS: tuple[HandlerCheck, ...] = (
    *map(_without_faults, SNAPSHOT_CHECKS),
    *map(_without_faults, LOCK_CHECKS),
    *map(_without_faults, RUN_CHECKS),
    *map(_without_faults, FILTER_CHECKS),
    *map(_without_faults, STORE_CHECKS),
    *map(_without_faults, ENDING_CHECKS),
    *map(_without_faults, PROGRESS_CHECKS),
    *map(_without_faults, QUEUE_CHECKS),
    *map(_without_faults, KEEPING_CHECKS),
    *map(_without_faults, CLOSING_CHECKS),
    *FENCE_CHECKS,
    *OWNER_CHECKS,
    *OUTAGE_CHECKS,
    *PROCESS_CHECKS,
)
"""The single checks of `check_handler`. Each is called with `make`, and perhaps with `faults`."""
