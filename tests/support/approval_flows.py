"""Flows that wait for somebody's approval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support import NAMES

from aiocheckpoint import CheckpointFlow, Pause

if TYPE_CHECKING:
    from collections.abc import Callable

    from flaky_steps import AnyStore
    from support import State

    from aiocheckpoint import RunResult

REASON = "waiting for approval"
UPDATE = {"approved": "by me"}


def wait_for_approval(state: State, data: State) -> None:
    """Change all there is, and then pause the run unless it is approved."""
    state["deep"][0].append("half")
    state.pop("gone", None)
    data["rows"].append("half")
    data["half"] = True
    if "approved" not in state:
        raise Pause(REASON)
    state["deep"][0][:] = ["approved"]


async def wait_for_it_later(state: State, data: State) -> None:
    """Do the same as a coroutine."""
    wait_for_approval(state, data)


def load_rows(state: State) -> State:
    """Load what is to be approved."""
    return {"rows": [1]}


def approvable(
    flows: AnyStore,
    at: str = "b",
    *,
    step: Callable[..., Any] = wait_for_approval,
    handler: object = None,
    **options: Any,  # noqa: ANN401 (passed on as is)
) -> CheckpointFlow:
    """Make a flow of a, b, c, one of which waits for approval."""
    cp = flows.empty_flow() if handler is None else CheckpointFlow(flows.path, handler)
    for name in NAMES:
        if name == at:
            cp.add_step(load_rows, name=name, **options)(step)
        else:
            cp.add_step(name=name)(lambda state, name=name: state["trail"].append(name))
    return cp


def paused(flows: AnyStore, at: str = "b") -> CheckpointFlow:
    """Make a flow, and a run of it that is paused."""
    cp = approvable(flows, at)
    cp.run(unapproved(), "always")
    flows.events.clear()
    return cp


def unapproved() -> State:
    """Give the state before."""
    return {"deep": [[]], "gone": 1, "trail": []}


def entry(at: str) -> State:
    """Give the state on entry to the step that waits."""
    return {"deep": [[]], "gone": 1, "trail": list(NAMES[: NAMES.index(at)])}


def approved(at: str) -> State:
    """Give the final state."""
    trail = [name for name in NAMES if name != at]
    return {"deep": [["approved"]], "trail": trail, **UPDATE}


async def results(cp: CheckpointFlow, runs: dict[str, State]) -> dict[str | None, RunResult]:
    """Run many, and give the results by id."""
    return {result.run_id: result async for result in cp.amap(runs, "always")}
