"""Stores of each kind with a few runs, to be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from pathlib import Path

    from support import State

__all__ = ["KINDS", "SERVER", "STEPS", "make_store", "place_in"]

SERVER = "server"
"""The kind of a store whose URL is in a file of this name, in the folder of the test."""
KINDS = {"directory": "runs/", "file": "runs.pkl", "database": "runs.db"}
STEPS = ("reserve", "charge", "invoice")


def place_in(folder: Path, kind: str) -> str:
    """The path or URL of a store of a kind in a folder."""
    if kind == SERVER:
        return (folder / SERVER).read_text("utf-8")
    return f"{'sqlite:///' if kind == 'database' else ''}{folder}/{KINDS[kind]}"


def make_store(
    folder: Path,
    kind: str,
    count: int = 4,
    *,
    more: State | None = None,
    **options: Any,  # noqa: ANN401 - passed on as is
) -> CheckpointFlow:
    """Store runs of three steps. The last one fails in its second step.

    Args:
        folder: Where the store is made.
        kind: One of `KINDS`, or `SERVER`.
        count: How many runs.
        more: More keys of each state.
        options: Options of the flow.
    """
    chosen: dict[str, Any] = {"name": "orders", **options}
    if kind != SERVER:
        chosen["fsync"] = False
    cp = CheckpointFlow(place_in(folder, kind), **chosen)

    def charge(state: State) -> None:
        if state["n"] == count - 1:
            raise TimeoutError("no answer")
        state["paid"] = 10 * state["n"]

    for name in STEPS:
        cp.add_step(name=name)(charge if name == "charge" else lambda state: None)
    for n in range(count):
        try:
            cp.run({"n": n, **(more or {})}, run_id=f"order-{n}")
        except TimeoutError:
            continue
    cp.handler.close()
    return cp
