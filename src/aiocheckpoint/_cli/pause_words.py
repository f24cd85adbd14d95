"""How a pause is answered, for commands that show a paused run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiocheckpoint._cli.context import Context

__all__ = ["suggest_answer"]


def suggest_answer(context: Context) -> None:
    """Name the command that answers the pause of the run of a command, if there is a flow."""
    name = [] if context.run_id is None else [context.run_id]
    words = ["aiocheckpoint", "approve", context.target.text, *name, "--set", "KEY=VALUE"]
    if context.target.is_module:
        context.output.suggest("What answers the pause", words)
