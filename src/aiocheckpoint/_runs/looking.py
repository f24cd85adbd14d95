"""Looks at one stored run of a flow, as a record to show."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from aiocheckpoint.errors import RunNotFoundError, StorageError
from aiocheckpoint.handlers._identifiers import checked_run_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._runs.core import FlowCore
    from aiocheckpoint.look import RunView

__all__ = ["make_look"]


def make_look(
    core: FlowCore,
    run_id: str | None,
    to: str,
    *,
    values: bool = False,
    sizes: bool = False,
    diffs: bool = False,
) -> Callable[[], RunView]:
    """Check the arguments of a look at a run, and make the blocking function that looks.

    Args:
        core: The core of the flow.
        run_id: The run, or None for the one without an id.
        to: What is to be done with the run, for the error, such as "show".
        values: Whether the keys of the state are given, with their values.
        sizes: Whether the sizes of the keys are given.
        diffs: Whether it is given what changed in each step, from the kept snapshots.

    Raises:
        InvalidTypeError, InvalidValueError: `run_id` is no id, or the handler is a user's own
            class, which stores one state.
    """
    handler, checked = core.snapshot_handler(), checked_run_id(run_id)

    def look() -> RunView:
        from aiocheckpoint.look._store import store_of  # noqa: PLC0415 - shown rarely

        try:
            store = store_of(handler)
            return store.run(checked, flow=handler.flow, values=values, sizes=sizes, diffs=diffs)
        except RunNotFoundError:
            pass
        except StorageError as error:
            if error.errno != errno.ENOENT:
                raise
        raise RunNotFoundError(handler.locate(checked), to)

    return look
