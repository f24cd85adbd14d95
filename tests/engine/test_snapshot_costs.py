"""Size and time of snapshots: in the header, in the events, and in the warning about large ones."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from support import NAMES, FlowFactory, Runner, State, add_with

from aiocheckpoint import CheckpointFlow, LocalStateHandler, events
from aiocheckpoint._engine import snapshots as snapshots_module

if TYPE_CHECKING:
    from pathlib import Path

    from flaky_steps import AnyStore

SECONDS = 0.1


class SlowHandler(LocalStateHandler):
    """A handler whose snapshots take long."""

    def replace(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Wait before writing."""
        time.sleep(SECONDS)
        return super().replace(*args, **kwargs)


def named(store: AnyStore) -> CheckpointFlow:
    """Make a flow of three steps."""
    cp = store.empty_flow()
    for name in NAMES:
        cp.add_step(name=name)(lambda state: state.update(n=[*state.get("n", ()), 1]))
    return cp


def costs(store: AnyStore) -> list[tuple[int, float]]:
    """Sizes and times as the events have them, without the snapshots of starts."""
    written = store.events_of(events.SnapshotWritten)
    return [(event.bytes, round(event.seconds, 6)) for event in written[1:]]


def test_header_has_them(any_store: AnyStore, runner: Runner) -> None:
    """The header of a later snapshot has bytes and seconds of the ones before, as the events."""
    if not any_store.has_headers:
        pytest.skip("this store has no headers")
    cp = named(any_store)
    any_store.go(runner, cp, {}, until="b")
    assert list(any_store.header().snapshots) == ["a"]
    any_store.go(runner, cp)
    snapshots = any_store.header().snapshots
    assert list(snapshots) == ["a"]  # that of "b" ended the first run, and could not hold itself
    any_store.events.clear()
    any_store.go(runner, cp, {})
    assert [*any_store.header().snapshots.items()] == [*zip("ab", costs(any_store), strict=False)]


def test_failure_records_the_newest(flows: FlowFactory, runner: Runner) -> None:
    """The header of a broken run has the snapshot behind the last finished step, too."""
    flows.faults["step c"] = ValueError("own")
    with pytest.raises(ValueError, match="own"):
        runner(flows.flow(), {})
    assert list(flows.header().snapshots) == ["a", "b"]
    assert flows.flow().header() == flows.header()


def test_durations_are_without_them(runner: Runner, tmp_path: Path) -> None:
    """A slow snapshot is no part of a step's duration."""
    path = tmp_path / "c.pkl"
    cp = CheckpointFlow(path, handler=SlowHandler(path))
    cp.add_step(name="a")(lambda state: None)
    cp.add_step(name="b")(lambda state: None)
    runner(cp, {})
    header = cp.header()
    assert header is not None
    assert header.snapshots["a"][1] >= SECONDS
    assert sum(header.durations.values()) < SECONDS


def test_newest_twenty(runner: Runner, tmp_path: Path) -> None:
    """A header has at most 20 of them, so that it does not grow."""
    cp = CheckpointFlow(tmp_path / "c.pkl", fsync=False)
    names = [str(number) for number in range(30)]
    for name in names:
        cp.add_step(name=name)(lambda state: None)
    runner(cp, {})
    header = cp.header()
    assert header is not None
    assert list(header.snapshots) == names[9:29]


def warning_of(caplog: pytest.LogCaptureFixture) -> str:
    """The one warning."""
    (warning,) = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    return warning


PLACES: dict[str, tuple[bool, str, str, str]] = {
    "state": (False, "state", 'state["rows"]', "Keep large values in `data`, with a loader"),
    "state kept": (True, "state", 'state["rows"]', "keep the path in the state"),
    "data kept": (True, "data", 'data["rows"]', "without it, savers write large values away"),
}


@pytest.mark.parametrize("case", PLACES)
def test_warning_names_the_key(
    case: str,
    runner: Runner,
    flows: FlowFactory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The warning names the largest value, and the remedy fits `keep_data=`."""
    keeps, place, path, remedy = PLACES[case]
    monkeypatch.setattr(snapshots_module, "LARGE_BYTES", 3_000_000)

    def fill(state: State, data: State) -> None:
        state["small"] = data["small"] = bytes(500_000)
        {"state": state, "data": data}[place]["rows"] = [b"%d" % n for n in range(400_000)]

    cp = CheckpointFlow(flows.path, keep_data=keeps, fsync=False)
    add_with(cp, "a", "step", fill)
    cp.add_step(name="b")(lambda state: None)
    runner(cp, {})
    warning = warning_of(caplog)
    assert f"The largest value, {path}, has 3 MB." in warning
    assert remedy in warning


def test_small_data_is_not_named(
    runner: Runner,
    flows: FlowFactory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Values of `data` that are not stored are not measured."""
    monkeypatch.setattr(snapshots_module, "LARGE_BYTES", 1_000_000)
    cp = CheckpointFlow(flows.path, fsync=False)

    @cp.add_step()
    def fill(state: State, data: State) -> None:
        state["rows"], data["more"] = bytes(1_000_000), bytes(2_000_000)

    runner(cp, {})
    assert 'The largest value, state["rows"], has 1 MB.' in warning_of(caplog)
