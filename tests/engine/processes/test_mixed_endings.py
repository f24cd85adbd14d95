"""Whatever happens to runs, and however they go on: they end as if nothing had happened."""

from __future__ import annotations

import asyncio
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mixed_rounds import IDS, KIND, ROUNDS, SPECS, Round, Story

if TYPE_CHECKING:
    from collections.abc import Callable

    from mixed import Spec
    from support import State

ENOUGH = 30
HEALTH = [HealthCheck.too_slow, HealthCheck.data_too_large]
LONG = [pytest.mark.torture, pytest.mark.timeout(7200)]


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


def final_states(rounds: list[Round], make: Callable[[Path], Story]) -> dict[str, State]:
    """Let a story happen in a place of its own; give the final states."""
    with tempfile.TemporaryDirectory() as place:
        return asyncio.run(live(make(Path(place)), rounds))


@given(kind=KIND, specs=SPECS, keep_data=st.booleans(), heard=st.booleans(), rounds=ROUNDS)
def check_mix(
    kind: str, specs: tuple[Spec, ...], *, keep_data: bool, heard: bool, rounds: list[Round]
) -> None:
    """Let anything happen, and then nothing more; compare with a run in which nothing did."""
    plain = partial(Story, kind="memory", specs=specs, keep_data=False, heard=False)
    undisturbed = final_states([], plain)
    mixed = partial(Story, kind=kind, specs=specs, keep_data=keep_data, heard=heard)
    ended = final_states(rounds, mixed)
    for run_id in IDS:
        told = set(ended[run_id]) - set(undisturbed[run_id])  # by pauses out of turn
        assert told <= {f"s{index}" for index in range(len(specs))}
        assert {key: ended[run_id][key] for key in undisturbed[run_id]} == undisturbed[run_id]


@pytest.mark.parametrize("examples", [30, pytest.param(4000, marks=LONG)])
def test_any_mix_ends_as_undisturbed(examples: int) -> None:
    """Any mix of endings, in any place: the same final state, and no step once too often.

    What must hold of each call of a step, and after each round, is in the model.
    """
    settings(deadline=None, max_examples=examples, suppress_health_check=HEALTH)(check_mix)()
