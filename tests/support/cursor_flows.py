"""Flows whose second step goes through pages and keeps a cursor, on stores of each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint import CheckpointFlow, current_step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import State

__all__ = ["PLACES", "SECRET", "CursorStore"]

SECRET = "cursors are signed by this " * 2
PLACES = ("file", "signed directory", "signed database")
"""Those of the tests of flows. The conformance checks take all handlers."""
_PATHS = {"file": "jobs.pkl", "directory": "jobs/", "database": "jobs.db"}


class CursorStore:
    """A store, and flows on it, each as another process would make it.

    Args:
        folder: Where the store is made.
        place: "file", "directory" or "database", perhaps with "signed " before it.

    Attributes:
        seen: The cursors that the attempts at the step "pages" were given, in their order.
    """

    def __init__(self, folder: Path, place: str) -> None:
        signed, _, kind = place.rpartition(" ")
        self.options: dict[str, Any] = {"secret": SECRET} if signed else {}
        self.seen: list[State | None] = []
        scheme = "sqlite:///" if kind == "database" else ""
        self.path = f"{scheme}{folder}/{_PATHS[kind]}"
        self.run_id: str | None = None if kind == "file" else "nightly"

    def flow(self, work: Callable[[State], object], **options: Any) -> CheckpointFlow:  # noqa: ANN401
        """Make the flow "fetch", "pages", "tell", whose step "pages" does `work`."""
        step_options = options.pop("step", {})
        cp = self.bare_flow(**options)
        cp.add_step(name="fetch")(_nothing)

        def pages(state: State) -> object:
            self.seen.append(current_step().cursor)
            return work(state)

        cp.add_step(name="pages", **step_options)(pages)
        cp.add_step(name="tell")(_nothing)
        return cp

    def bare_flow(self, **options: Any) -> CheckpointFlow:  # noqa: ANN401
        """Make the flow without steps."""
        chosen: dict[str, Any] = {"fsync": False, **self.options, **options}
        return CheckpointFlow(self.path, name="jobs", **chosen)

    def record(self) -> bytes | None:
        """The record of progress as it is stored."""
        record: bytes | None = self.bare_flow().handler.read_progress(self.run_id)
        return record


def _nothing(state: State) -> None:
    pass
