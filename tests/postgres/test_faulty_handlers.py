"""Each conformance check detects a PostgreSQL handler that is wrong in one way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from conformance_checks import CHECKS
from faulty_postgres import ServerFaults, maker

from aiocheckpoint.errors import CheckpointError

if TYPE_CHECKING:
    from postgres_server import PostgresServer


@pytest.mark.parametrize(
    ("fault", "check", "rule"),
    [
        ("never frees", "killed_owner", "an owner that was killed is succeeded within its lease"),
        ("lists owned", "unowned", "unowned= leaves out runs that a living owner has"),
        ("never prunes", "keep", "keep=3 keeps the newest 3"),
        ("retains nothing", "keep", "keep=3 keeps the newest 3"),
        ("retains amended", "amended_snapshot", "amends= replaces the amended snapshot"),
        ("unfenced", "fence", r"replace\(\) .* raises LeaseLostError .* released and taken"),
        ("unfenced", "stolen_lease", r"replace\(\) .* raises LeaseLostError .* stolen and taken"),
        ("unfenced", "stolen_run", "raises LeaseLostError at its next snapshot"),
        ("hides owners", "owner_told", r"runs\(\) tells the owner of a run"),
        ("beats once", "living_owner", "a living owner keeps its run for longer than its lease"),
        ("keeps locks", "fork", "a forked child does not hold its parent's lock"),
        ("leaves rows", "rows_left", "a lock that was released leaves nothing in the store"),
        ("unfenced", "stopped_owner", "an owner that wakes raises LeaseLostError"),
        ("gives to all", "lock", "a run that has an owner gets no second one"),
        ("gives to all", "race", "one of two processes gets the run, not 2"),
    ],
)
def test_fault_is_found_on_postgres(
    fault: str, check: str, rule: str, postgres: PostgresServer, database: str
) -> None:
    """The check names the rule that the handler breaks. The sound handler passes every check."""
    with pytest.raises(AssertionError, match=rule):
        run(check, postgres.url(database), fault, ServerFaults(postgres, database))


@pytest.mark.parametrize(
    ("fault", "check", "rule", "options"),
    [
        ("commits in memory", "crash", "outlives a crash of the store", {}),
        (
            "raw errors",
            "long_outage",
            "comes out as StorageError, not as OperationalError",
            {"patience": 1.0},
        ),
        ("beats once", "owner_in_outage", "a living owner keeps its run", {"lease": 4.0}),
    ],
)
def test_fault_is_found_by_a_crash(
    fault: str, check: str, rule: str, options: dict[str, float], own_postgres: PostgresServer
) -> None:
    """So does a check that needs a server which stops."""
    faults = ServerFaults(own_postgres, "postgres")
    try:
        with pytest.raises(AssertionError, match=rule):
            run(check, own_postgres.url(), fault, faults, **options)
    finally:
        faults.join()


def test_cut_snapshots_on_postgres(postgres: PostgresServer, database: str) -> None:
    """A handler that cuts snapshots fails at the first one that is read."""
    with pytest.raises(CheckpointError, match="not a sound snapshot"):
        run("stored_state", postgres.url(database), "cuts snapshots", None)


def run(check: str, url: str, fault: str, faults: ServerFaults | None, **options: Any) -> None:  # noqa: ANN401
    """Run a check for a handler with a fault, and close the handler."""
    given: dict[str, Any] = {"lease": 1.0, "patience": 20.0, "keep": 3} | options
    make = maker(url, fault, **given)
    handler = make()
    try:
        CHECKS[check](make, faults)
    finally:
        handler.close()
