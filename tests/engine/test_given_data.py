"""`data=`: the very dict that the steps use, looked at afterwards and handed to the next run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import CheckpointFlow, InvalidTypeError, InvalidValueError, Pause, Retry

if TYPE_CHECKING:
    from pathlib import Path

    from support import Runner, State


def make_flow(path: Path, **options: Any) -> CheckpointFlow:  # noqa: ANN401
    """Make a flow whose second step breaks where the state says so."""
    cp: CheckpointFlow = CheckpointFlow(path / "a.pkl", **options)

    @cp.add_step()
    def read(state: State, data: State) -> None:
        data["rows"] = [1, 2]

    @cp.add_step(load=lambda state: {"rows": [3]}, needs=("rows",))
    def use(state: State, data: State) -> None:
        data["used"] = list(data["rows"])
        if "fails" in data:
            raise ValueError(len(data))
        state["sum"] = sum(data["rows"])

    return cp


def test_the_very_dict(runner: Runner, tmp_path: Path) -> None:
    """What the steps put into `data` is in the given dict, beside what it had."""
    mine: State = {"table": [7]}
    assert runner(make_flow(tmp_path), {}, data=mine) == {"sum": 3}
    assert mine == {"table": [7], "rows": [1, 2], "used": [1, 2]}


def test_looked_at_and_handed_on(runner: Runner, tmp_path: Path) -> None:
    """After a broken step the dict is as the step left it, and the next run may have it."""
    cp, mine = make_flow(tmp_path), {"fails": True}
    with pytest.raises(ValueError, match="3"):
        runner(cp, {}, data=mine)
    assert mine == {"fails": True, "rows": [1, 2], "used": [1, 2]}
    del mine["fails"]
    assert runner(cp, load_policy=[False, False], data=mine) == {"sum": 3}
    assert runner(cp, checkpoint="use", data={}) == {"sum": 3}


def test_needs_are_met_by_the_given_dict(runner: Runner, tmp_path: Path) -> None:
    """A loader behind the first step is not called for keys that the dict has."""
    cp = CheckpointFlow(tmp_path / "a.pkl")
    cp.add_step(name="first")(lambda state: None)
    cp.add_step(load=lambda state: {"rows": 1}, needs=("rows",), name="use")(
        lambda state, data: state.update(rows=data["rows"])
    )
    assert runner(cp, {}, data={"rows": 2}) == {"rows": 2}
    assert runner(cp, {}, data={}) == {"rows": 1}


def test_stored_data_wins(runner: Runner, tmp_path: Path) -> None:
    """Under keep_data=True the stored values take the place of those under the same keys."""
    cp = make_flow(tmp_path, keep_data=True)
    with pytest.raises(ValueError, match="3"):
        runner(cp, {}, data={"fails": True})
    mine: State = {"rows": "mine", "other": "mine"}
    with pytest.raises(ValueError, match="4"):
        runner(cp, data=mine)
    assert mine == {"rows": [1, 2], "other": "mine", "fails": True, "used": [1, 2]}


def test_each_attempt(runner: Runner, tmp_path: Path) -> None:
    """Each attempt has the very dict, with its content as it was on entry."""
    cp, seen = CheckpointFlow(tmp_path / "a.pkl"), list[bool]()
    mine: State = {"n": 1}

    @cp.add_step(retry=Retry(attempts=2, wait_initial=0, wait_jitter=0))
    def step(state: State, data: State) -> None:
        seen.append(data is mine and data == {"n": 1})
        data["more"] = 1
        if len(seen) < 2:
            raise ConnectionError

    runner(cp, {}, data=mine)
    assert (seen, mine) == ([True, True], {"n": 1, "more": 1})


def test_pause(runner: Runner, tmp_path: Path) -> None:
    """A pause leaves the dict with its content."""
    cp = CheckpointFlow(tmp_path / "a.pkl")
    mine: State = {"n": 1}

    @cp.add_step()
    def step(state: State, data: State) -> None:
        data["more"] = 1
        raise Pause

    runner(cp, {}, data=mine)
    assert mine == {"n": 1, "more": 1}


@pytest.mark.parametrize("data", [5, [("rows", 1)], "rows"], ids=repr)
def test_no_dict(data: Any, runner: Runner, tmp_path: Path) -> None:  # noqa: ANN401
    """Anything but a dict is refused before the run."""
    with pytest.raises(InvalidTypeError, match="data= is a dict"):
        runner(make_flow(tmp_path), {}, data=data)
    assert list(tmp_path.iterdir()) == []


def test_state_as_data(runner: Runner, tmp_path: Path) -> None:
    """One dict cannot be both."""
    state: State = {}
    with pytest.raises(InvalidValueError, match="same dict"):
        runner(make_flow(tmp_path), state, data=state)
