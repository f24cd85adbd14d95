"""What `keep_data=True` stores is one graph of both dicts, to be read and edited by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from keeping import SECRET
from support import Door, State, load_bare
from trying import Anywhere

from aiocheckpoint import CheckpointFlow, InvalidTypeError, LocalStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def two_steps(
    in_file: Anywhere,
    one: Callable[[State, State], object],
    two: Callable[[State, State], object],
    **options: Any,  # noqa: ANN401 (passed on as is)
) -> CheckpointFlow:
    """Make a flow of two steps that keeps its data."""
    cp = in_file.bare(keep_data=True, **options)
    cp.add_step(name="one")(one)
    cp.add_step(name="two")(two)
    return cp


def test_state_that_contains_itself(anywhere: Anywhere, door: Door) -> None:
    """Both dicts may contain themselves and each other, and do so when the run resumes."""

    def tie(state: State, data: State) -> None:
        state["self"] = state
        data["self"] = data
        data["state"] = state
        state["data"] = [data]

    def look(state: State, data: State) -> None:
        state["self"]["seen"] = "through itself"
        told.append((state["seen"], data["state"] is state, data["self"] is data))
        state["data"][0]["more"] = 1
        state.pop("self")
        state.pop("data")

    told: list[tuple[str, bool, bool]] = []
    anywhere.go(door, two_steps(anywhere, tie, look), {"n": 1}, until="one")
    result = anywhere.go(door, two_steps(anywhere, tie, look))
    assert result == {"n": 1, "seen": "through itself"}
    assert told[0][:2] == ("through itself", True)


def test_seen_by_no_step_and_no_caller(anywhere: Anywhere, door: Door) -> None:
    """Steps, hooks and the one who called never see the key; the given dict is the result."""
    seen: list[bool] = []

    def look(state: State, data: State) -> None:
        seen.append("checkpoint_data" in state or "checkpoint_data" in data)
        data["n"] = 1

    given = {"n": 1}
    cp = two_steps(anywhere, look, look)
    assert anywhere.go(door, cp, given, until="one") is given
    assert anywhere.go(door, cp) == given == {"n": 1}
    assert seen == [False, False]


@pytest.mark.parametrize(
    "options", [{}, {"secret": SECRET}, {"verify": True}, {"keep": 3}], ids=str
)
def test_read_edit_write_run(options: dict[str, Any], in_file: Anywhere, door: Door) -> None:
    """`read()` gives data under a key, and what is written back there is used."""
    cp = two_steps(
        in_file,
        lambda state, data: data.update(rows=[1]),
        lambda state, data: state.update(rows=data["rows"]),
        **options,
    )
    door(cp, {"n": 1}, until="one")
    stored = door.read(cp.handler)
    assert stored == {"n": 1, "checkpoint_index": 1, "checkpoint_data": {"rows": [1]}}
    stored["checkpoint_data"]["rows"].append("by hand")
    door.write(cp.handler, stored)
    assert door(cp) == {"n": 1, "rows": [1, "by hand"]}
    assert door.read(cp.handler) == {"n": 1, "rows": [1, "by hand"], "checkpoint_index": 0}


def test_by_plain_dill(in_file: Anywhere, door: Door) -> None:
    """Anybody with dill reads the same dict as the handler."""
    cp = two_steps(in_file, lambda state, data: data.update(rows=[1]), lambda state, data: None)
    door(cp, {"n": 1}, until="one")
    assert load_bare(in_file.path) == door.read(cp.handler)
    assert in_file.header().holds_data


def test_patched(in_file: Anywhere, door: Door) -> None:
    """Mending the state of a run leaves its data where it is."""
    cp = two_steps(
        in_file,
        lambda state, data: data.update(rows=state["rows"]),
        lambda state, data: state.update(same=data["rows"] is state["rows"], got=data["rows"]),
    )
    door(cp, {"rows": [1]}, until="one")
    header = door.do(cp, "patch", None, {"n": 2})
    assert header.holds_data
    assert door(cp) == {"rows": [1], "n": 2, "same": True, "got": [1]}


def test_users_own_handler_gets_the_key(tmp_path: Path, door: Door) -> None:
    """A handler of dicts keeps data under the key, as copies, until the run is finished."""
    in_file, rows = Anywhere.at(tmp_path, "own"), [1]
    cp = two_steps(
        in_file,
        lambda state, data: data.update(rows=rows),
        lambda state, data: state.update(rows=data["rows"]),
    )
    door(cp, {"n": 1}, until="one")
    assert in_file.own.kept == {"n": 1, "checkpoint_index": 1, "checkpoint_data": {"rows": [1]}}
    rows.append(2)
    assert door(cp) == {"n": 1, "rows": [1]}
    assert in_file.own.kept == {"n": 1, "rows": [1], "checkpoint_index": 0}


def test_finished_snapshot_has_none(anywhere: Anywhere, door: Door) -> None:
    """What is finished holds the state alone, and the next run begins with no data."""
    seen: list[State] = []

    def note(state: State, data: State) -> None:
        seen.append(dict(data))
        data[f"{len(seen)}"] = 1

    cp = two_steps(anywhere, note, note)
    anywhere.go(door, cp, {"n": 1})
    assert anywhere.stored() == {"n": 1, "checkpoint_index": 0}
    if anywhere.has_headers:
        assert not anywhere.header().holds_data
    anywhere.go(door, cp)
    assert seen == [{}, {"1": 1}, {}, {"3": 1}]


def test_state_written_by_hand(in_file: Anywhere, door: Door) -> None:
    """A state that was made by hand, data and all, is resumed."""
    handler = LocalStateHandler(in_file.path)
    handler.write({"n": 1, "checkpoint_index": 1, "checkpoint_data": {"rows": [7]}})
    cp = two_steps(in_file, lambda state, data: None, lambda state, data: state.update(data))
    assert door(cp) == {"n": 1, "rows": [7]}


@pytest.mark.parametrize("wrong", [None, 3, [1]], ids=repr)
def test_key_that_holds_no_dict(wrong: object, in_file: Anywhere, door: Door) -> None:
    """Where somebody wrote something else there, the run has no data, and ends all the same."""
    handler = LocalStateHandler(in_file.path)
    handler.write({"n": 1, "checkpoint_index": 1, "checkpoint_data": wrong})
    cp = two_steps(in_file, lambda state, data: None, lambda state, data: state.update(got=[*data]))
    assert door(cp) == {"n": 1, "got": []}


@pytest.mark.parametrize("keep_data", [1, None, "yes"], ids=repr)
def test_neither_true_nor_false(keep_data: Any, tmp_path: Path) -> None:  # noqa: ANN401
    """It is refused when the flow is made, not taken for what it may mean."""
    with pytest.raises(InvalidTypeError, match="keep_data= is True or False"):
        CheckpointFlow(tmp_path / "c.pkl", keep_data=keep_data)
