"""Whatever happens to runs, and however they go on: they end as if nothing had happened."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mixed_rounds import IDS, KIND, ROUNDS, SPECS, Round, Story
from mixed_runs import first_state

if TYPE_CHECKING:
    from mixed import Spec
    from support import State

ENOUGH = 30


async def to_the_end(story: Story) -> None:
    """Go on with all runs until they have finished, and nothing happens to them any more."""
    for _ in range(ENOUGH):
        for run_id in IDS:
            await story.play(Round("go_on", run_id, {}, None))
        await story.play(Round("many", "x", {}, None))
        if all(run.finished for run in story.runs.values()):
            return
    raise AssertionError("they did not come to their end")


async def live(story: Story, rounds: list[Round]) -> dict[str, State]:
    """Live through some rounds and come to the end; give the final states."""
    for one in rounds:
        await story.play(one)
    await to_the_end(story)
    await story.play(Round("many", "x", {}, None))
    return dict(story.results)


def final_states(rounds: list[Round], *facts: object) -> dict[str, State]:
    """Let a story happen in a place of its own; give the final states."""
    with tempfile.TemporaryDirectory() as place:
        return asyncio.run(live(Story(Path(place), *facts), rounds))  # type: ignore[arg-type]


def told_of(state: State) -> set[str]:
    """What a run was told by updates."""
    return {*state} - {*first_state()}


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(kind=KIND, specs=SPECS, keep_data=st.booleans(), heard=st.booleans(), rounds=ROUNDS)
def test_any_mix_ends_as_undisturbed(
    kind: str, specs: tuple[Spec, ...], *, keep_data: bool, heard: bool, rounds: list[Round]
) -> None:
    """Any mix of endings, in any place: the same final state, and no step once too often.

    What must hold of each call of a step, and after each round, is in the model.
    """
    undisturbed = final_states([], kind, specs, keep_data, heard)
    ended = final_states(rounds, kind, specs, keep_data, heard)
    for run_id in IDS:
        missing = told_of(undisturbed[run_id]) - told_of(ended[run_id])
        assert not missing
        for key in first_state():
            assert ended[run_id][key] == undisturbed[run_id][key]
