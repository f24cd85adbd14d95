"""The note at a `KeyError` for a key of `data`, in a step whose loader was not called."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import Runner, State

CONFIG: dict[str, int] = {}
NOTE = "`data` has no 'rows', and the loader of step 'use' was not called"


def total(values: State) -> int:
    """Use `data` in a helper."""
    return sum(values["rows"])


def total_of_data(state: State, data: State) -> None:
    """Use `data` in the step itself."""
    state["total"] = sum(data["rows"])


def raised(state: State, data: State) -> None:
    """Raise the error by hand."""
    if "rows" not in data:
        raise KeyError("rows")


class Table(dict[str, Any]):
    """A dict that is looked up by code of its own, as a table is."""

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401
        """Find a column."""
        table = self
        if key not in table:
            raise KeyError(key)
        return super().__getitem__(key)


FROM_DATA: dict[str, Callable[[State, State], object]] = {
    "item": lambda state, data: data["rows"],
    "item of it": lambda state, data: data["rows"]["mean"],
    "in a call": lambda state, data: sum(data["rows"]),
    "in a loop": lambda state, data: [data["rows"] for _ in range(2)],
    "pop": lambda state, data: data.pop("rows"),
    "getter": lambda state, data: operator.itemgetter("rows")(data),
    "del": lambda state, data: data.__delitem__("rows"),
    "formatted": lambda state, data: "{rows}".format(**data),
    "mapped": lambda state, data: "{rows}".format_map(data),
    "percent": lambda state, data: "%(rows)s" % data,  # noqa: UP031
    "lines": lambda state, data: data["rows"],  # first
    "helper": lambda state, data: total(data),
}
UNKNOWN: dict[str, Any] = {}
exec("def step(state, data):\n    return state['rows']", UNKNOWN)  # noqa: S102 - has no source
PERCENT, FORMAT = "%(rows)s", "{rows}"
FROM_ELSEWHERE: dict[str, Callable[[State, State], object]] = {
    "state": lambda state, data: state["rows"],
    "global": lambda state, data: CONFIG["rows"],
    "nested": lambda state, data: data["table"]["rows"],
    "popped from state": lambda state, data: state.pop("rows"),
    "lines of state": lambda state, data: state["rows"],  # first
    "percent": lambda state, data: PERCENT % state,
    "formatted": lambda state, data: FORMAT.format(data, data=data),
    "raised": raised,
    "no source": UNKNOWN["step"],
    "table": lambda state, data: Table()["rows"],
    "there": lambda state, data: {"table": data}["rows"] or data["table"]["rows"],
    "number": lambda state, data: data.__getitem__(5),  # type: ignore[index]
    "index": lambda state, data: [].pop(),
}


def break_in(step: Callable[[State, State], object], runner: Runner, path: Path) -> list[str]:
    """Run a flow whose second step breaks, and give the notes."""
    cp = CheckpointFlow(path / "a.pkl")
    cp.add_step(name="make")(lambda state, data: data.update(table={}, other=1))

    def load(state: State) -> State:
        return {"rows": [1]}

    cp.add_step(load, name="use")(step)
    with pytest.raises(LookupError) as info:
        runner(cp, {})
    return list(info.value.__notes__)


@pytest.mark.parametrize("step", FROM_DATA.values(), ids=FROM_DATA)
def test_key_of_data(
    step: Callable[[State, State], object], runner: Runner, tmp_path: Path
) -> None:
    """The note names the key and the two remedies, before the line that says how to go on."""
    note, last = break_in(step, runner, tmp_path)
    assert NOTE in note
    assert "needs=('rows',)" in note
    assert "load_policy='always'" in note
    assert "broke in its part 'step'" in last


def test_note_is_stored(runner: Runner, tmp_path: Path) -> None:
    """Who looks into the store learns of the loader, as a worker shows no exception in full."""
    break_in(total_of_data, runner, tmp_path)
    failure = CheckpointFlow(tmp_path / "a.pkl").header().failure  # type: ignore[union-attr]
    assert failure is not None
    assert NOTE in failure.traceback
    assert "broke in its part" not in failure.traceback


@pytest.mark.parametrize("step", FROM_ELSEWHERE.values(), ids=FROM_ELSEWHERE)
def test_other_key(step: Callable[[State, State], object], runner: Runner, tmp_path: Path) -> None:
    """An error of another dict, or of a key that is there, has no such note."""
    (only,) = break_in(step, runner, tmp_path)
    assert "loader" not in only


def test_async_step(runner: Runner, tmp_path: Path) -> None:
    """A coroutine step has the note as well."""

    async def use(state: State, data: State) -> None:
        state["n"] = len(data["rows"])

    assert NOTE in break_in(use, runner, tmp_path)[0]


def test_saver(runner: Runner, tmp_path: Path) -> None:
    """So has the saver of such a step."""
    cp = CheckpointFlow(tmp_path / "a.pkl")
    cp.add_step(name="make")(lambda state: None)

    def save(state: State, data: State) -> None:
        state["saved"] = data["rows"]

    cp.add_step(lambda state: {"rows": 1}, save, name="use")(lambda state: None)
    with pytest.raises(KeyError) as info:
        runner(cp, {})
    assert NOTE in info.value.__notes__[0]
    assert "part 'save'" in info.value.__notes__[1]


def test_loader_was_called(runner: Runner, tmp_path: Path) -> None:
    """A loader that was called and did not bring the key is not the one that was not called."""
    cp = CheckpointFlow(tmp_path / "a.pkl")
    cp.add_step(lambda state: {"other": 1}, name="use")(lambda state, data: data["rows"])
    with pytest.raises(KeyError) as info:
        runner(cp, {})
    assert len(info.value.__notes__) == 1


def test_no_loader(runner: Runner, tmp_path: Path) -> None:
    """A step without a loader has a note that says how a resumed run gets the key."""
    cp = CheckpointFlow(tmp_path / "a.pkl")
    cp.add_step(name="use")(lambda state, data: data["rows"])
    with pytest.raises(KeyError) as info:
        runner(cp, {})
    assert "step 'use' has no loader" in info.value.__notes__[0]
    assert "needs=('rows',)" in info.value.__notes__[0]
    assert info.value.__notes__[-1].endswith("run()")
