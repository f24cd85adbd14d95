"""The arguments of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["AlreadyFinishedError", "LoadPolicy", "Request"]


LoadPolicy = Literal["first only", "always"] | list[bool]
"""Which loaders run: the one of the first executed step, all, or one bool for each step."""


@dataclass(eq=False, kw_only=True)
class Request:
    """The arguments of a run.

    Attributes:
        state, load_policy, checkpoint, until, once, update: The arguments of `run`.
        unfinished_only: Whether only an unfinished run is resumed, and no new one begun.
        keep_data: Whether the flow has `data` in its snapshots.
    """

    state: dict[str, Any] | None = None
    load_policy: LoadPolicy = "first only"
    checkpoint: int | str | None = None
    until: int | str | None = None
    once: bool = False
    update: dict[str, Any] | None = None
    unfinished_only: bool = False
    keep_data: bool = False


class AlreadyFinishedError(Exception):
    """No unfinished run is stored, and only an unfinished one was to be resumed."""
