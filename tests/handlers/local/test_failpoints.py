"""An error, Ctrl-C or a kill at every failpoint of a snapshot leaves the old or the new file."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import failpoint_script
import pytest
from failpoint_script import STEPS, Scenario, effects_at
from kept_snapshots import kept_files
from support import notes_of

from aiocheckpoint import LocalStateHandler, NotDurableError, StorageError
from aiocheckpoint.handlers._files.failpoints import FAILPOINTS, armed, reach

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint import Header

SCRIPT = Path(failpoint_script.__file__)
WAYS: list[tuple[bool, Any]] = [(True, 1), (False, 1), (True, 3), (False, "all")]
NUMBERS = (1, 3)
RENAMED = ("renamed", "durable")


def points(fsync: bool, keep: object) -> tuple[str, ...]:  # noqa: FBT001
    """Return the failpoints that a snapshot passes."""
    left_out = (set() if fsync else {"flushed", "durable"}) | ({"kept"} if keep == 1 else set())
    return tuple(point for point in FAILPOINTS if point not in left_out)


SCENARIOS = [
    *(
        Scenario(point, number, fsync, keep)
        for fsync, keep in WAYS
        for point in points(fsync, keep)
        for number in NUMBERS
    ),
    *(Scenario(point, 3, True, 3, "arun") for point in FAILPOINTS),  # noqa: FBT003
]
scenarios = pytest.mark.parametrize("scenario", SCENARIOS, ids=str)


# --- the points themselves


@pytest.mark.parametrize("method", ["run", "arun"])
@pytest.mark.parametrize(("fsync", "keep"), WAYS)
def test_points_are_reached_in_order(
    fsync: bool,  # noqa: FBT001
    keep: object,
    method: str,
    tmp_path: Path,
) -> None:
    """Every snapshot passes the failpoints in the documented order, each once."""
    reached: list[str] = []
    scenario = Scenario(points(fsync, keep)[0], 1, fsync, keep, method)
    run_through(list(FAILPOINTS), reached, lambda: scenario.go(tmp_path / "place"))
    assert reached == [*points(fsync, keep)] * (1 + len(STEPS))


def run_through(names: list[str], reached: list[str], run: Callable[[], object]) -> None:
    """Call `run` while each failpoint records its name."""
    if not names:
        run()
        return
    name = names[0]
    with armed(name, lambda: reached.append(name)):
        run_through(names[1:], reached, run)


def test_point_is_quiet_when_nothing_is_armed() -> None:
    """A failpoint does nothing unless it is armed, even after its action has raised."""
    for name in (*FAILPOINTS, "no such point"):
        reach(name)
    with pytest.raises(ZeroDivisionError), armed("written", lambda: 1 / 0):
        reach("written")
    reach("written")


def test_point_that_is_not_armed_is_quiet() -> None:
    """Arming one failpoint arms no other."""
    with armed("written", lambda: 1 / 0):
        reach("closed")


# --- the files afterwards


def position_at(place: Path) -> int | None:
    """Return the number of finished steps in the stored snapshot, or None if there is none."""
    handler = LocalStateHandler(place / "checkpoint.pkl")
    header = handler.header()
    if header is None:
        assert handler.read() == {}
        return None
    done = len(STEPS) if header.finished else header.position
    assert handler.read().get("trail", []) == list(STEPS[:done])
    return done


def check_stored(scenario: Scenario, place: Path) -> int | None:
    """Check that the new snapshot is stored if it was renamed already, and else the old one."""
    new = scenario.number - 1
    old = new - 1 if new else None
    done = position_at(place)
    assert done == (new if scenario.point in RENAMED else old)
    return done


def check_resumes(scenario: Scenario, place: Path, done: int | None) -> None:
    """Check that the next run ends like an undisturbed one, and cleans up."""
    assert scenario.go(place) == {"trail": [*STEPS]}
    assert position_at(place) == len(STEPS)
    effects = effects_at(place)
    assert [effects.count(name) for name in STEPS[: done or 0]] == [1] * (done or 0)
    assert len(effects) - len(STEPS) <= 1
    kept = kept_files(place / "checkpoint.pkl")
    number = {1: 0, 3: 3, "all": 4}[scenario.keep]
    assert len(kept) in {number, number - (scenario.point == "renamed")}
    assert all(file.samefile(place / "checkpoint.pkl") for file in kept[-1:])
    names = {path.name for path in place.iterdir()}
    assert names == {"checkpoint.pkl", *([".checkpoint.pkl.kept"] if kept else [])}


@scenarios
def test_error(scenario: Scenario, tmp_path: Path) -> None:
    """A system error is raised as the documented one. No temporary is left, no snapshot lost."""
    place = tmp_path / "place"

    def act() -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(StorageError) as info:
        scenario.run(place, act)
    kind = NotDurableError if scenario.point == "durable" else StorageError
    assert type(info.value) is kind
    assert (info.value.errno, info.value.path) == (errno.EIO, str(place / "checkpoint.pkl"))
    assert [path.name for path in place.iterdir() if path.name.endswith(".tmp")] == []
    check_resumes(scenario, place, check_stored(scenario, place))


class Interrupt(BaseException):
    """An exception other than KeyboardInterrupt, which asyncio handles specially."""


@scenarios
def test_interruption(scenario: Scenario, tmp_path: Path) -> None:
    """An exception that is no OSError is raised as the same object, and no snapshot is lost."""
    place = tmp_path / "place"
    error = KeyboardInterrupt() if scenario.method == "run" else Interrupt()

    def act() -> None:
        raise error

    with pytest.raises(type(error)) as info:
        scenario.run(place, act)
    assert info.value is error
    assert (scenario.number == 1) == (notes_of(error) == "")
    assert [path.name for path in place.iterdir() if path.name.endswith(".tmp")] == []
    check_resumes(scenario, place, check_stored(scenario, place))


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[Scenario, Path]:
    """Kill a child in each scenario, in a directory of its own."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    directory = tmp_path_factory.mktemp("killed")
    places = {scenario: directory / str(number) for number, scenario in enumerate(SCENARIOS)}
    text = json.dumps([scenario.encode(place) for scenario, place in places.items()])
    words = [sys.executable, str(SCRIPT)]
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [True] * len(places)
    return places


@scenarios
def test_kill(scenario: Scenario, killed: dict[Scenario, Path]) -> None:
    """A run killed at a failpoint resumes from a whole snapshot. The next run cleans up."""
    place = killed[scenario]
    temporaries = [path for path in place.iterdir() if path.name.endswith(".tmp")]
    assert len(temporaries) <= 1
    assert (temporaries == []) <= (scenario.point in RENAMED)
    check_resumes(scenario, place, check_stored(scenario, place))


def headers_at(scenario: Scenario, place: Path) -> list[Header]:
    """Headers of the kept snapshots, oldest first."""
    handler = LocalStateHandler(place / "checkpoint.pkl", keep=scenario.keep)
    found: list[Header] = []
    for name in reversed(handler.kept()):
        with handler.stored(None, name) as stored:
            assert stored is not None
            found.append(stored.header)
    return found


@pytest.mark.parametrize("number", NUMBERS)
def test_renamed_snapshot_is_kept(number: int, tmp_path: Path) -> None:
    """A snapshot that was renamed into place is kept, even if an exception follows."""
    scenario = Scenario("renamed", number, fsync=False, keep="all")

    def act() -> None:
        raise OSError(errno.EIO, "strikes")

    with pytest.raises(StorageError):
        scenario.run(tmp_path / "place", act)
    assert [header.position for header in headers_at(scenario, tmp_path / "place")] == list(
        range(number)
    )


@pytest.mark.parametrize("point", [*FAILPOINTS[:5], "durable"])
def test_error_keeps_what_was_kept(point: str, tmp_path: Path) -> None:
    """An unacknowledged snapshot is not kept, and displaces no older one."""
    scenario = Scenario(point, 3, fsync=True, keep=3)
    place = tmp_path / "place"

    def act() -> None:
        raise OSError(errno.ENOSPC, "no space")

    with pytest.raises(StorageError):
        scenario.run(place, act)
    positions = [header.position for header in headers_at(scenario, place)]
    assert positions == ([0, 1, 2] if point == "durable" else [0, 1])
