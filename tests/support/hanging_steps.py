"""Steps that hang in one of their parts, and have a time limit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from support import do_nothing

if TYPE_CHECKING:
    from collections.abc import Callable

    from flaky_steps import AnyStore
    from support import State

    from aiocheckpoint import CheckpointFlow

SHORT = 0.01


async def do_nothing_later(state: State) -> None:
    """Be an async step, for loaders and savers to stand around."""


async def hang(state: State) -> State:
    """Change the state, and never come to an end."""
    state["deep"][0]["list"].append("half")
    await asyncio.Event().wait()
    return {}


def limited(flows: AnyStore, part: str, call: Callable[..., Any], **options: Any) -> CheckpointFlow:  # noqa: ANN401
    """Make a flow whose step b has the call as one of its parts, and a time limit."""
    cp = flows.empty_flow()
    cp.add_step(name="a")(do_nothing)
    settings: dict[str, Any] = {"name": "b", "timeout": SHORT, **options}
    parts: dict[str, Any] = {} if part == "step" else {part: call}
    cp.add_step(**parts, **settings)(call if part == "step" else do_nothing_later)
    return cp
