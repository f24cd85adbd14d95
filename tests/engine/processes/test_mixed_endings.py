"""Whatever happens to runs, and however they go on: they end as if nothing had happened."""

from __future__ import annotations

import asyncio
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fuzz_rounds import IDS, KIND, ROUNDS, SPECS, Round, RunHistory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

    from fuzzed_flow import Spec
    from support import State

ENOUGH = 30
HEALTH = [HealthCheck.too_slow, HealthCheck.data_too_large]
LONG = [pytest.mark.torture, pytest.mark.timeout(7200)]


async def to_the_end(history: RunHistory) -> None:
    """Go on with all runs until they have finished, and nothing happens to them any more."""
    for _ in range(ENOUGH):
        for run_id in IDS:
            await history.play(Round("go_on", run_id, {}, None))
        await history.play(Round("many", "x", {}, None))
        if all(run.finished for run in history.runs.values()):
            return
    raise AssertionError("they did not come to their end")


async def live(history: RunHistory, rounds: list[Round]) -> dict[str, State]:
    """Live through some rounds and come to the end; give the final states."""
    for one in rounds:
        await history.play(one)
    await to_the_end(history)
    await history.play(Round("many", "x", {}, None))
    return dict(history.results)


def final_states(rounds: list[Round], make: Callable[[Path], RunHistory]) -> dict[str, State]:
    """Let a history happen in a place of its own; give the final states."""
    with tempfile.TemporaryDirectory() as place:
        return asyncio.run(live(make(Path(place)), rounds))


@given(kind=KIND, specs=SPECS, keep_data=st.booleans(), received=st.booleans(), rounds=ROUNDS)
def check_mix(
    kind: str, specs: tuple[Spec, ...], *, keep_data: bool, received: bool, rounds: list[Round]
) -> None:
    """Let anything happen, and then nothing more; compare with a run in which nothing did."""
    plain = partial(RunHistory, kind="memory", specs=specs, keep_data=False, received=False)
    undisturbed = final_states([], plain)
    mixed = partial(RunHistory, kind=kind, specs=specs, keep_data=keep_data, received=received)
    ended = final_states(rounds, mixed)
    for run_id in IDS:
        reported = set(ended[run_id]) - set(undisturbed[run_id])  # by pauses out of turn
        assert reported <= {f"s{index}" for index in range(len(specs))}
        assert {key: ended[run_id][key] for key in undisturbed[run_id]} == undisturbed[run_id]


@pytest.mark.parametrize("examples", [30, pytest.param(4000, marks=LONG)])
def test_any_mix_ends_as_undisturbed(examples: int) -> None:
    """Any mix of endings, in any place: the same final state, and no step once too often.

    What must hold of each call of a step, and after each round, is in the model.
    """
    settings(deadline=None, max_examples=examples, suppress_health_check=HEALTH)(check_mix)()
