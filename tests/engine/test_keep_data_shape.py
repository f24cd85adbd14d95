"""`keep_data=True` stores both dicts as one graph, which can be read and edited by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from flaky_steps import AnyStore
from kept_snapshots import SECRET
from support import Runner, State, load_bare

from aiocheckpoint import CheckpointFlow, InvalidTypeError, LocalStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def two_steps(
    file_store: AnyStore,
    one: Callable[[State, State], object],
    two: Callable[[State, State], object],
    **options: Any,  # noqa: ANN401 (passed on as is)
) -> CheckpointFlow:
    """Make a flow of two steps that keeps its data."""
    cp = file_store.empty_flow(keep_data=True, **options)
    cp.add_step(name="one")(one)
    cp.add_step(name="two")(two)
    return cp


def test_state_that_contains_itself(any_store: AnyStore, runner: Runner) -> None:
    """Both dicts may contain themselves and each other, also after a resume."""

    def tie(state: State, data: State) -> None:
        state["self"] = state
        data["self"] = data
        data["state"] = state
        state["data"] = [data]

    def look(state: State, data: State) -> None:
        state["self"]["seen"] = "through itself"
        reported.append((state["seen"], data["state"] is state, data["self"] is data))
        state["data"][0]["more"] = 1
        state.pop("self")
        state.pop("data")

    reported: list[tuple[str, bool, bool]] = []
    any_store.go(runner, two_steps(any_store, tie, look), {"n": 1}, until="one")
    result = any_store.go(runner, two_steps(any_store, tie, look))
    assert result == {"n": 1, "seen": "through itself"}
    assert reported[0][:2] == ("through itself", True)


def test_seen_by_no_step_and_no_caller(any_store: AnyStore, runner: Runner) -> None:
    """Steps, hooks and the caller never see the key. The given dict is the result."""
    seen: list[bool] = []

    def look(state: State, data: State) -> None:
        seen.append("checkpoint_data" in state or "checkpoint_data" in data)
        data["n"] = 1

    given = {"n": 1}
    cp = two_steps(any_store, look, look)
    assert any_store.go(runner, cp, given, until="one") is given
    assert any_store.go(runner, cp) == given == {"n": 1}
    assert seen == [False, False]


@pytest.mark.parametrize(
    "options", [{}, {"secret": SECRET}, {"verify": True}, {"keep": 3}], ids=str
)
def test_read_edit_write_run(options: dict[str, Any], file_store: AnyStore, runner: Runner) -> None:
    """`read()` gives data under a key, and `write()` stores edited data."""
    cp = two_steps(
        file_store,
        lambda state, data: data.update(rows=[1]),
        lambda state, data: state.update(rows=data["rows"]),
        **options,
    )
    runner(cp, {"n": 1}, until="one")
    stored = runner.read(cp.handler)
    assert stored == {"n": 1, "checkpoint_index": 1, "checkpoint_data": {"rows": [1]}}
    stored["checkpoint_data"]["rows"].append("by hand")
    runner.write(cp.handler, stored)
    assert runner(cp) == {"n": 1, "rows": [1, "by hand"]}
    assert runner.read(cp.handler) == {"n": 1, "rows": [1, "by hand"], "checkpoint_index": 0}


def test_by_plain_dill(file_store: AnyStore, runner: Runner) -> None:
    """Plain dill reads the same dict as the handler."""
    cp = two_steps(file_store, lambda state, data: data.update(rows=[1]), lambda state, data: None)
    runner(cp, {"n": 1}, until="one")
    assert load_bare(file_store.path) == runner.read(cp.handler)
    assert file_store.header().holds_data


def test_patched(file_store: AnyStore, runner: Runner) -> None:
    """Patching the state of a run leaves its data unchanged."""
    cp = two_steps(
        file_store,
        lambda state, data: data.update(rows=state["rows"]),
        lambda state, data: state.update(same=data["rows"] is state["rows"], got=data["rows"]),
    )
    runner(cp, {"rows": [1]}, until="one")
    header = runner.do(cp, "patch", {"n": 2})
    assert header.holds_data
    assert runner(cp) == {"rows": [1], "n": 2, "same": True, "got": [1]}


def test_users_own_handler_gets_the_key(tmp_path: Path, runner: Runner) -> None:
    """A handler of dicts keeps data under the key, as copies, until the run is finished."""
    file_store, rows = AnyStore.at(tmp_path, "own"), [1]
    cp = two_steps(
        file_store,
        lambda state, data: data.update(rows=rows),
        lambda state, data: state.update(rows=data["rows"]),
    )
    runner(cp, {"n": 1}, until="one")
    assert file_store.own.kept == {"n": 1, "checkpoint_index": 1, "checkpoint_data": {"rows": [1]}}
    rows.append(2)
    assert runner(cp) == {"n": 1, "rows": [1]}
    assert file_store.own.kept == {"n": 1, "rows": [1], "checkpoint_index": 0}


def test_finished_snapshot_has_none(any_store: AnyStore, runner: Runner) -> None:
    """A finished snapshot holds the state alone, and the next run begins without data."""
    seen: list[State] = []

    def note(state: State, data: State) -> None:
        seen.append(dict(data))
        data[f"{len(seen)}"] = 1

    cp = two_steps(any_store, note, note)
    any_store.go(runner, cp, {"n": 1})
    assert any_store.stored() == {"n": 1, "checkpoint_index": 0}
    if any_store.has_headers:
        assert not any_store.header().holds_data
    any_store.go(runner, cp)
    assert seen == [{}, {"1": 1}, {}, {"3": 1}]


def test_state_written_by_hand(file_store: AnyStore, runner: Runner) -> None:
    """A state written by hand with data is resumed."""
    handler = LocalStateHandler(file_store.path)
    handler.write({"n": 1, "checkpoint_index": 1, "checkpoint_data": {"rows": [7]}})
    cp = two_steps(file_store, lambda state, data: None, lambda state, data: state.update(data))
    assert runner(cp) == {"n": 1, "rows": [7]}


@pytest.mark.parametrize("wrong", [None, 3, [1]], ids=repr)
def test_key_that_holds_no_dict(wrong: object, file_store: AnyStore, runner: Runner) -> None:
    """A value that is no dict is refused under the key, as no run could use it."""
    handler = LocalStateHandler(file_store.path)
    with pytest.raises(InvalidTypeError, match="checkpoint_data must be a dict"):
        runner.write(handler, {"n": 1, "checkpoint_index": 1, "checkpoint_data": wrong})
    assert runner.read(handler) == {}


@pytest.mark.parametrize("keep_data", [1, None, "yes"], ids=repr)
def test_neither_true_nor_false(keep_data: Any, tmp_path: Path) -> None:  # noqa: ANN401
    """A `keep_data=` that is no bool is refused when the flow is made."""
    with pytest.raises(InvalidTypeError, match="keep_data= is True or False"):
        CheckpointFlow(tmp_path / "c.pkl", keep_data=keep_data)
