"""Steps that record their names, and runs that an older flow has left, on each kind of store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from run_factories import Runs
    from support import State

    from aiocheckpoint import CheckpointFlow, Header


class BrokenError(Exception):
    """Raised by the functions of tests."""


def recorded(runs: Runs, name: str) -> Callable[[State], None]:
    """Make a step that writes its name down, in the state too."""

    def step(state: State) -> None:
        runs.log.append(f"step {name}")
        state.setdefault("trail", []).append(name)

    return step


def breaks(state: State, version: int = 0) -> None:
    """Break, as a step or as a `migrate`."""
    state["half"] = version
    raise BrokenError


def flow(runs: Runs, *names: str, **options: Any) -> CheckpointFlow:  # noqa: ANN401
    """Make a flow of recording steps."""
    cp = runs.empty_flow(**options)
    for name in names:
        cp.add_step(name=name)(recorded(runs, name))
    return cp


def stand(
    runs: Runs, *names: str, at: str, version: int | None = 1, run_id: str | None = "x"
) -> None:
    """Leave a run of a flow of some version that broke at one of its steps."""
    cp = runs.empty_flow(version=version)
    for name in names:
        cp.add_step(name=name)(breaks if name == at else recorded(runs, name))
    with pytest.raises(BrokenError):
        cp.run({"name": "Ann"}, run_id=run_id)
    runs.log.clear()


def header(runs: Runs, run_id: str | None = "x") -> Header:
    """Read a stored header."""
    found: Header | None = runs.empty_flow().header(run_id)
    assert found is not None
    return found
