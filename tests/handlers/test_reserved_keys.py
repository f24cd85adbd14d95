"""The keys `checkpoint_index` and `checkpoint_data` exist at the border of a handler alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support import Runner, State, load_bare

from aiocheckpoint import CheckpointFlow, InvalidValueError, LocalStateHandler, open_handler

if TYPE_CHECKING:
    from pathlib import Path

PLACES = ("one.pkl", "many/", "sqlite:///{}/runs.db")
NO_INDICES = ("2", None, 1.0, True, [1])


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the path of a file, a directory or a database."""
    found: str = request.param
    return found.format(tmp_path) if "://" in found else f"{tmp_path}/{found}"


@pytest.mark.parametrize("written", [{}, {"a": [1], 3: {"b"}}, {"f": print}], ids=str)
def test_what_was_written_is_read(written: State, place: str) -> None:
    """`read` gives what `write` stored, with the position if it had one, and without if not."""
    handler = open_handler(place)
    for state in (written, {**written, "checkpoint_index": 2}, written):
        before = dict(state)
        handler.write(state)
        assert handler.read() == before == state


def test_large_states_as_well(tmp_path: Path) -> None:
    """A state of many pieces is stored without the key, and plain dill reads the same."""
    handler = LocalStateHandler(tmp_path / "c.pkl")
    state = {"rows": list(range(200_000)), "blob": bytes(3 << 20)}
    handler.write(state)
    assert handler.read() == state == load_bare(tmp_path / "c.pkl")


def test_written_without_position_begins_at_the_first(place: str, runner: Runner) -> None:
    """A run takes the written state from its first step on. Then `read` has the position."""
    cp = CheckpointFlow(place)
    cp.add_step(name="one")(lambda state: state.update(seen=sorted(state)))
    cp.handler.write({"a": 1})
    assert runner(cp) == {"a": 1, "seen": ["a"]}
    assert cp.handler.read() == {"a": 1, "seen": ["a"], "checkpoint_index": 0}


def test_own_handler_is_read_as_it_is(tmp_path: Path, runner: Runner) -> None:
    """`cp.read` of a user's own handler gives its dict, with or without the key."""

    class Own:
        def __init__(self) -> None:
            self.kept: State = {"a": 1}

        def read(self) -> State:
            return dict(self.kept)

        def write(self, state: State) -> None:
            self.kept = state

    own = Own()
    cp = CheckpointFlow(tmp_path / "c.pkl", handler=own)
    cp.add_step(name="one")(lambda state: None)
    assert runner.do(cp, "read") == {"a": 1}
    own.kept = {"a": 1, "checkpoint_index": 0}
    assert runner.do(cp, "read") == {"a": 1, "checkpoint_index": 0}


RESERVED: list[State] = [
    *({"checkpoint_index": value} for value in NO_INDICES),
    *({"checkpoint_data": value} for value in ({"rows": [1]}, {}, None, 3)),
]


@pytest.mark.parametrize("reserved", RESERVED, ids=str)
def test_values_that_would_be_lost_are_refused(reserved: State, place: str, runner: Runner) -> None:
    """A state with a value of its own under a reserved key is refused before any step runs."""
    ran: list[str] = []
    cp = CheckpointFlow(place)
    cp.add_step(name="one")(lambda state: ran.append("one"))
    given = {"n": 1, **reserved}
    for call in (runner, runner.plan):
        with pytest.raises(InvalidValueError, match=next(iter(reserved))):
            call(cp, given)
    cp.run({"n": 1}, run_id="x")
    with pytest.raises(InvalidValueError, match="values= of patch"):
        runner.do(cp, "patch", reserved, run_id="x")
    assert given == {"n": 1, **reserved}
    assert cp.read("x") == {"n": 1, "checkpoint_index": 0}
    assert ran == ["one"]


@pytest.mark.parametrize("index", [-7, 0, 5, 1 << 70])
def test_any_int_is_taken_off(index: int, place: str, runner: Runner) -> None:
    """An int under the key of the position moves nothing, and no step sees it."""
    cp = CheckpointFlow(place)
    cp.add_step(name="one")(lambda state: state.update(seen=sorted(state)))
    assert runner(cp, {"n": 1, "checkpoint_index": index}) == {"n": 1, "seen": ["n"]}


@pytest.mark.parametrize("reserved", RESERVED, ids=str)
def test_values_of_a_step_are_refused(reserved: State, place: str, runner: Runner) -> None:
    """A step that leaves such a value fails as with one that cannot be stored. Nothing is lost."""
    cp = CheckpointFlow(place)
    steps: list[Any] = [lambda state: state.update(a=1), lambda state: state.update(reserved)]
    for name, step in zip("ab", steps, strict=True):
        cp.add_step(name=name)(step)
    with pytest.raises(InvalidValueError, match="the state after step 'b'") as info:
        runner(cp, {"n": 1})
    assert "resumes there" in info.value.__notes__[0]
    assert cp.read() == {"n": 1, "a": 1, "checkpoint_index": 1}
