"""Every system call of a run fails, with every error, or is the last one, each in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from disk_faults import (
    MissedError,
    Site,
    Way,
    expected,
    fail,
    fail_to_make,
    find_site,
    kill,
    list_sites,
    until_met,
)
from tracing import needs_strace

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.torture,
    pytest.mark.timeout(1800),
    pytest.mark.strace,
    needs_strace,
    pytest.mark.leaves_files,
]

WAYS = [
    Way(durable=durable, ahead=ahead)
    for durable in ("fsync", "no-fsync")
    for ahead in (False, True)
]
every_way = pytest.mark.parametrize("way", WAYS, ids=str)


@every_way
@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EDQUOT"])
def test_failure_of_every_call(error: str, way: Way, tmp_path: Path) -> None:
    """Whichever call on the directory fails: the documented error, and a sound snapshot."""
    sites = list_sites(way)
    assert {"openat", "write", "close"} <= {site.name for site in sites}
    for number, site in enumerate(sites):
        assert fail(tmp_path / str(number), way, site, error) == expected(site), site


@pytest.mark.parametrize("stage", ["fsync", "rename", "fsync dir"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EDQUOT"])
def test_failure_in_a_thread(error: str, stage: str, number: int, tmp_path: Path) -> None:
    """The calls that only a snapshot makes, where a thread makes them."""
    way = Way(method="arun")
    site = find_site(way, stage, number)
    came_out = until_met(tmp_path, lambda folder: fail(folder, way, site, error))
    assert came_out == expected(site)


@pytest.mark.parametrize("name", ["mkdir", "fsync"])
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EDQUOT"])
def test_failure_to_make_a_directory(name: str, number: int, error: str, tmp_path: Path) -> None:
    """A directory that cannot be made, or flushed into the one above, is found before any step."""
    fail_to_make(tmp_path, name, number, error)


@every_way
def test_kill_on_every_call(way: Way, tmp_path: Path) -> None:
    """Killed on entry to any system call at all, from the first on the directory to the end.

    What was renamed is stored, no more and no less, and the flow goes on from there.
    """
    traced = way.trace(tmp_path / "undisturbed", more=["all"])
    mine = traced.on(tmp_path / "undisturbed" / "place")
    calls = traced.calls[traced.calls.index(mine[0]) :]
    missed = list[Site]()
    for number, call in enumerate(calls):
        site = Site("", 0, call.name, call.number)
        try:
            kill(tmp_path / f"{number:011}", way, site, more=["all"])
        except MissedError:
            missed.append(site)
    # Memory is not asked for equally often in each run.
    assert len(missed) <= len(calls) / 20, missed


@pytest.mark.parametrize("stage", ["fsync", "rename", "fsync dir"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_kill_in_a_thread(stage: str, number: int, tmp_path: Path) -> None:
    """The calls that only a snapshot makes, where a thread makes them."""
    way = Way(method="arun")
    site = find_site(way, stage, number)
    until_met(tmp_path, lambda folder: kill(folder, way, site))
