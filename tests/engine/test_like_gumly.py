"""Any sequence of runs, breaks and edits does the same as in gumly."""

from __future__ import annotations

import copy
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from gumly_model import KEY, GumlyModel
from hypothesis import given, settings
from hypothesis import strategies as st

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Callable

State = dict[str, Any]
LONGEST = 3


class BrokenError(Exception):
    """Raised by the steps that break."""


@dataclass(frozen=True)
class Call:
    """One run: its arguments, and the steps that break in it. Or an edit of the stored state.

    Attributes:
        edit: A value that is put into the stored state by `read` and `write`, instead of a run.
        given: A value in the state that is given, None without a state.
        policy: "first only", "always" or a list.
        checkpoint: An index, or None.
        breaks: Indexes of the steps that break.
    """

    edit: int | None
    given: int | None
    policy: str | tuple[bool, ...]
    checkpoint: int | None
    breaks: frozenset[int]


CALLS = st.builds(
    Call,
    edit=st.none() | st.none() | st.integers(0, 9),
    given=st.none() | st.integers(0, 9),
    policy=st.sampled_from(["first only", "always"]) | st.tuples(*[st.booleans()] * LONGEST),
    checkpoint=st.none() | st.none() | st.integers(0, LONGEST - 1),
    breaks=st.frozensets(st.integers(0, LONGEST - 1), max_size=1),
)


@dataclass
class Recorder:
    """Makes the parts of a flow, which record their calls, and breaks some of them."""

    loaders: tuple[bool, ...]
    log: list[object] = field(default_factory=list[object])
    breaks: frozenset[int] = frozenset()

    def parts(self, index: int) -> tuple[Callable[..., State] | None, Callable[..., Any], Any]:
        """Give the loader, function and saver of a step."""

        def load(state: State) -> State:
            self.log.append(("load", index))
            return {f"loaded {index}": index}

        def step(state: State, data: State) -> None:
            self.log.append(("step", index, sorted(data)))
            if index in self.breaks:
                state["half"] = index
                raise BrokenError
            state["trail"] = [*state.get("trail", []), index]
            data[f"made {index}"] = index

        def save(state: State, data: State) -> None:
            self.log.append(("save", index, sorted(data)))

        return load if self.loaders[index] else None, step, save


def do(flow: Any, read: Any, write: Any, recorder: Recorder, call: Call) -> object:  # noqa: ANN401
    """Make a call, and give its outcome: how it ended, the given dict, and the calls of parts."""
    recorder.log.clear()
    if call.edit is not None:
        write({**read(), "edited": call.edit})
        return None
    recorder.breaks = call.breaks
    given = None if call.given is None else {"given": call.given}
    policy = call.policy if isinstance(call.policy, str) else list(call.policy)
    try:
        flow.run(given, policy, call.checkpoint)
        ended = True
    except BrokenError:
        ended = False
    return ended, {**(given or {}), KEY: None}, copy.copy(recorder.log)


def is_over(call: Call, outcome: Any) -> bool:  # noqa: ANN401
    """Whether a run broke in its first step. gumly then has not stored the state given to it."""
    return call.edit is None and not outcome[0] and not any("save" in one for one in outcome[2])


@pytest.mark.filterwarnings("ignore")  # gumly warns of nothing
@settings(deadline=None, max_examples=60)
@given(st.tuples(*[st.booleans()] * LONGEST), st.lists(CALLS, min_size=1, max_size=6))
def test_same_as_gumly(loaders: tuple[bool, ...], calls: list[Call]) -> None:
    """Each call runs the same parts with the same data, and leaves the same state."""
    theirs, ours = Recorder(loaders), Recorder(loaders)
    model = GumlyModel([theirs.parts(index) for index in range(LONGEST)])
    with tempfile.TemporaryDirectory() as folder:
        cp = CheckpointFlow(str(Path(folder) / "c.pkl"), fsync=False)
        for index in range(LONGEST):
            load, step, save = ours.parts(index)
            cp.add_step(load, save, name=f"step {index}")(step)
        for call in calls:
            expected = do(model, model.read, model.write, theirs, call)
            assert do(cp, cp.handler.read, cp.handler.write, ours, call) == expected
            if is_over(call, expected):
                break
            assert {KEY: 0, **cp.check_point()} == {KEY: 0, **model.read()}
