"""Programs written for gumly's `CheckpointFlow` go on with a changed import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support import Runner, State, dump_bare

from aiocheckpoint import CheckpointFlow, LocalStateHandler

if TYPE_CHECKING:
    from pathlib import Path

Calls = list[str]


class BrokenStepError(Exception):
    """Raised by a step until it is mended."""


def read_and_invert(path: Path, calls: Calls) -> CheckpointFlow:
    """Make a flow as gumly's users do: a loader and a saver that print, and a step that breaks."""
    cp = CheckpointFlow(str(path))

    def load(state: State) -> dict[str, Any]:
        calls.append("load read")
        return {"rows": [1, 2, 4]}

    def save(state: State, data: dict[str, Any]) -> None:
        calls.append(f"save {sorted(data)}")

    @cp.add_step(load=load, save=save)
    def read(state: State, data: dict[str, Any]) -> None:
        state["count"] = len(data["rows"])

    @cp.add_step()
    def invert(state: State, data: dict[str, Any]) -> None:
        calls.append("invert")
        if state["breaks"]:
            raise BrokenStepError

    def load_names(state: State) -> dict[str, Any]:
        calls.append("load names")
        return {"names": ["a", "b"]}

    @cp.add_step(load=load_names, save=save)
    def sum_up(state: State, data: dict[str, Any]) -> None:
        state["sum"] = 7

    return cp


def test_written_state_is_read_by_another_handler(tmp_path: Path) -> None:
    """A file that exists and is empty holds nothing. A new handler reads what was written."""
    path = tmp_path / "state.pkl"
    path.touch()
    assert LocalStateHandler(str(path)).read() == {}
    LocalStateHandler(str(path)).write({"x": "one", "y": 2})
    stored = LocalStateHandler(str(path)).read()
    assert stored.pop("checkpoint_index", 0) == 0
    assert stored == {"x": "one", "y": 2}


def test_state_is_mended_through_the_handler(tmp_path: Path) -> None:
    """A step breaks because of the state, which is read, mended, written, and run again."""
    calls: Calls = []
    cp = read_and_invert(tmp_path / "c.pkl", calls)
    given = {"breaks": True}
    with pytest.raises(BrokenStepError):
        cp.run(given)
    stored = cp.handler.read()
    assert stored == {"breaks": True, "count": 3, "checkpoint_index": 1}
    cp.handler.write({**stored, "breaks": False})
    calls.clear()
    cp.run(given)
    assert calls == ["invert", "save []"]
    assert cp.handler.read() == {"breaks": False, "count": 3, "sum": 7, "checkpoint_index": 0}


def test_given_state_starts_at_a_checkpoint(tmp_path: Path) -> None:
    """With `checkpoint=2`, the step that would break is left out, and the given dict changed."""
    calls: Calls = []
    given: State = {"breaks": True}
    read_and_invert(tmp_path / "c.pkl", calls).run(given, checkpoint=2)
    assert given == {"breaks": True, "sum": 7}
    assert calls == ["load names", "save ['names']"]


@pytest.mark.parametrize(
    ("policy", "loads"),
    [
        ("first only", ["load read"]),
        ("always", ["load read", "load names"]),
        ([False, False, True], ["load names"]),
    ],
    ids=str,
)
def test_loaders_by_policy(policy: Any, loads: Calls, tmp_path: Path) -> None:  # noqa: ANN401
    """A policy decides which loaders are called, run by run, with the same flow and state."""
    calls: Calls = []
    cp = CheckpointFlow(str(tmp_path / "c.pkl"))
    for name in ("read", "count", "names"):

        def load(state: State, name: str = name) -> dict[str, Any]:
            calls.append(f"load {name}")
            return {}

        cp.add_step(None if name == "count" else load, name=name)(lambda state, data: None)
    given: State = {"x": 1}
    cp.run(given)
    calls.clear()
    cp.run(given, load_policy=policy)
    assert calls == loads


def test_check_point_reads_the_state(tmp_path: Path) -> None:
    """`check_point()` gives the stored state with its position, of gumly's own files too."""
    cp = read_and_invert(tmp_path / "c.pkl", [])
    assert cp.check_point() == {}
    dump_bare(tmp_path / "c.pkl", {"breaks": True, "checkpoint_index": 1})
    assert cp.check_point() == {"breaks": True, "checkpoint_index": 1} == cp.read()


def test_check_point_of_a_handler_of_its_own() -> None:
    """It reads through the handler of a class with `read` and `write`."""

    class Own:
        def __init__(self, path: str) -> None:
            self.stored: State = {"a": 1, "checkpoint_index": 0}

        def read(self) -> State:
            return self.stored

        def write(self, state: State) -> None:
            self.stored = state

    assert CheckpointFlow("somewhere", handler=Own).check_point() == {"a": 1, "checkpoint_index": 0}


def test_table_of_handlers_has_the_local_one(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program looks up the handler "local", and puts a subclass in its place."""
    table = CheckpointFlow.state_handler_constructors
    assert list(table) == ["local"]
    assert table["local"] is LocalStateHandler
    seen: list[State] = []

    class Watched(LocalStateHandler):
        def write(self, state: State) -> None:  # type: ignore[override]
            seen.append(dict(state))
            super().write(state)

    monkeypatch.setitem(table, "local", Watched)
    cp = CheckpointFlow(str(tmp_path / "c.pkl"))
    cp.add_step(name="a")(lambda state: state.update(n=1))
    runner(cp, {})
    assert type(cp.handler) is Watched
    assert [state["checkpoint_index"] for state in seen] == [0, 0]
    assert seen[-1] == cp.handler.read() == {"n": 1, "checkpoint_index": 0}


def test_subclass_extends_the_table(tmp_path: Path) -> None:
    """A subclass of the flow adds to the inherited table, and both names are found."""

    class Other(LocalStateHandler):
        pass

    class Flow(CheckpointFlow):
        state_handler_constructors = {  # noqa: RUF012 - as gumly's is set
            **CheckpointFlow.state_handler_constructors,
            "other": Other,
        }

    assert type(Flow(str(tmp_path / "c.pkl"), "other").handler) is Other
    assert type(Flow(str(tmp_path / "c.pkl")).handler) is LocalStateHandler
