"""Each conformance check of leases, fences and outages detects a store that is wrong in one way."""

from __future__ import annotations

import unittest
from typing import TYPE_CHECKING, Any

import pytest
from conformance_checks import CHECKS
from faulty_memory import MemoryFaults, MemoryMaker

from aiocheckpoint.errors import CheckpointError
from aiocheckpoint.testing import HANDLER_CHECKS

if TYPE_CHECKING:
    from collections.abc import Generator

    from aiocheckpoint.testing import HandlerCheck

# One that waits for longer than patience is made with less of it.
WITH_PATIENCE = [check for check in HANDLER_CHECKS if check is not CHECKS["long_outage"]]
every_check = pytest.mark.parametrize("check", WITH_PATIENCE, ids=lambda check: check.__name__)


@pytest.fixture
def makers() -> Generator[list[MemoryMaker]]:
    """Give a list of makers, whose handlers are closed afterwards."""
    made: list[MemoryMaker] = []
    yield made
    for maker in made:
        maker.close()


def run(check: str, fault: str, makers: list[MemoryMaker], **options: Any) -> None:  # noqa: ANN401
    """Run a check for a store with a fault."""
    makers.append(MemoryMaker(fault, **options))
    CHECKS[check](makers[-1], MemoryFaults(makers[-1].server))


@pytest.mark.parametrize(
    ("fault", "check", "rule"),
    [
        ("never frees", "paused_owner", "an owner that was stopped is succeeded within its lease"),
        ("lists owned", "unowned", "unowned= leaves out runs that a living owner has"),
        ("never prunes", "keep", "keep=3 keeps the newest 3"),
        ("retains nothing", "keep", "keep=3 keeps the newest 3"),
        ("retains amended", "amended_snapshot", "amends= replaces the amended snapshot"),
        ("unfenced", "fence", r"replace\(\) .* raises LeaseLostError .* released and taken"),
        (
            "unfenced",
            "stolen_lease",
            r"replace\(\) .* raises LeaseLostError .* stolen and taken",
        ),
        ("unfenced", "stolen_run", "raises LeaseLostError at its next snapshot"),
        ("commits in memory", "crash", "outlives a crash of the store"),
        ("hides owners", "owner_told", r"runs\(\) tells the owner of a run"),
        ("beats once", "living_owner", "a living owner keeps its run for longer than its lease"),
        ("keeps locks", "fork", "a forked child does not hold its parent's lock"),
        ("raw errors", "long_outage", "comes out as StorageError, not as DriverError"),
        ("leaves rows", "rows_left", "a lock that was released leaves nothing in the store"),
        (
            "raw errors",
            "outage",
            "waited for, and not raised|comes out as StorageError|is free behind it",
        ),
        ("forgets footers", "lost_answers", "waited for, and not raised"),
        ("gives to all", "lock", "a run that has an owner gets no second one"),
    ],
)
def test_fault_is_found(fault: str, check: str, rule: str, makers: list[MemoryMaker]) -> None:
    """The check names the rule that the store breaks, and a sound store passes it."""
    options = {"patience": 0.5} if check == "long_outage" else {}
    run(check, "", makers, **options)
    with pytest.raises(AssertionError, match=rule):
        run(check, fault, makers, **options)


def test_cut_snapshots(makers: list[MemoryMaker]) -> None:
    """A store that cuts snapshots fails at the first one that is read."""
    with pytest.raises(CheckpointError, match="not a sound snapshot"):
        run("stored_state", "cuts snapshots", makers)


@every_check
def test_sound_store(check: HandlerCheck, makers: list[MemoryMaker]) -> None:
    """The store in memory passes each check that needs no process. Each handler is an owner."""
    name = check.__name__.removeprefix("check_")
    if name in {"race", "killed_owner", "stopped_owner", "owner_in_outage", "backup"}:
        with pytest.raises(unittest.SkipTest, match=r"of this process alone|makes no copies"):
            run(name, "", makers)
        return
    run(name, "", makers)
