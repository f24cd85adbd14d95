"""Flows of more steps than a header names, in each kind of place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint._model.step_names import BESIDE, MOST_NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from run_factories import Runs
    from support import Runner

    from aiocheckpoint import CheckpointFlow, Header

COUNT = MOST_NAMES + 10
NAMES = tuple(f"step-{index:04}" for index in range(COUNT))
POSITIONS = (1, BESIDE, BESIDE + 1, COUNT - BESIDE, COUNT - 1)


def flow(runs: Runs, names: Sequence[str] = NAMES, **options: Any) -> CheckpointFlow:  # noqa: ANN401 (passed on as is)
    """Make a flow whose steps write down their names, and are cheap."""
    cp = runs.empty_flow(**options)
    for name in names:
        cp.add_step(name=name)(lambda state, name=name: runs.log.append(f"step {name}"))
    return cp


def stop_at(runs: Runs, runner: Runner, position: int, **options: Any) -> Header:  # noqa: ANN401
    """Let a run "x" stop at a position, and give its header as it is stored."""
    cp = flow(runs, **options)
    runner(cp, {"n": 1}, run_id="x", until=position - 1)
    runs.log.clear()
    return stored(runs)


def stored(runs: Runs) -> Header:
    """Read the header of run "x", as another process would."""
    header: Header | None = runs.empty_flow().header("x")
    assert header is not None
    return header


def renamed(*places: int, names: Sequence[str] = NAMES) -> tuple[str, ...]:
    """Rename steps."""
    return tuple(f"{name}-new" if n in places else name for n, name in enumerate(names))
