"""The runs of a command: named, read from stdin, or chosen by `--all` or filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from aiocheckpoint._cli.filters import asks_for_some
from aiocheckpoint._cli.problems import UsageProblem

if TYPE_CHECKING:
    from aiocheckpoint._cli.context import Context
    from aiocheckpoint._model.header import Status
    from aiocheckpoint.handlers._run_filter import FilterOptions, RunFilter

__all__ = ["chosen_filter", "chosen_ids", "filter_options", "is_by_filter"]

_ARGUMENTS = {"steps": "step"}
"""Arguments of a flow's methods that have another name than the part of a filter."""


def is_by_filter(context: Context) -> bool:
    """Whether the runs are chosen by `--all` or filters, and not named.

    Raises:
        UsageProblem: Both are given. Or none is, and each stored run has an id.
        CheckpointError: The store cannot be read.
    """
    chosen: bool = context.arguments.all or asks_for_some(context.filter())
    if chosen == bool(context.runs) and (chosen or not context.has_run_without_id):
        raise UsageProblem(
            "name the runs, or give - to read their ids from stdin, or choose them by --all or "
            f"filters such as --status{', and not both' if chosen else ''}."
        )
    return chosen


def chosen_ids(context: Context, where: RunFilter | None) -> list[str | None]:
    """List the ids of the runs, each once.

    Args:
        context: The command.
        where: The filter that chooses them. None where they are named.

    Raises:
        UsageProblem: Stdin has something else than ids.
        CheckpointError: The store cannot be read.
    """
    if where is None:
        return [*dict.fromkeys(context.run_ids())]
    views = context.store().runs(where, flow=context.flow_name, damaged=False)
    return [view.run_id for view in views]


def chosen_filter(context: Context, default: frozenset[Status]) -> RunFilter | None:
    """Give the filter that chooses the runs, or None where they are named.

    Args:
        context: The command.
        default: The statuses that filters choose from where they name none.

    Raises:
        UsageProblem: None are named or chosen.
        CheckpointError: The store cannot be read.
    """
    if not is_by_filter(context):
        return None
    where = context.filter()
    if where.statuses is None and not where.stale:  # A stale run is shown as running.
        where = where._replace(statuses=default)
    return where


def filter_options(where: RunFilter) -> FilterOptions:
    """Give a filter, apart from its statuses, as the arguments of a flow's methods."""
    asked = where._replace(statuses=None)._asdict()
    named = {_ARGUMENTS.get(name, name): value for name, value in asked.items() if value}
    return cast("FilterOptions", named)
