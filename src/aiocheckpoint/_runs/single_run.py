"""One stored run: read its state, patch it, delete it, reset its checkpoint."""

from __future__ import annotations

from dataclasses import replace
from functools import partial as bind
from typing import TYPE_CHECKING, Any, NamedTuple

from aiocheckpoint._engine.locking import hold_lock
from aiocheckpoint._model.checks import checked_reason
from aiocheckpoint._model.compatibility import check_version
from aiocheckpoint._model.given_state import call_site
from aiocheckpoint._model.start_points import find_step
from aiocheckpoint._snapshot.keys import (
    DATA_KEY,
    POSITION_KEY,
    check_reserved_keys,
    drop_position,
)
from aiocheckpoint.errors import InvalidTypeError, InvalidValueError
from aiocheckpoint.handlers._identifiers import checked_run_id
from aiocheckpoint.handlers._registry import moves_snapshots

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.step_names import StepNames
    from aiocheckpoint._runs.core import FlowCore
    from aiocheckpoint.handlers import StateHandler

__all__ = ["make_delete", "make_patch", "position_of", "read_header", "read_state", "reset_run"]

_STAYS = frozenset({"queued", "paused", "terminated", "finished"})
"""The statuses that a run keeps when its values alone are patched."""


async def read_header(core: FlowCore, backend: Backend, run_id: str | None) -> Header | None:
    """Read the header of a run, or give None where nothing is stored."""
    if moves_snapshots(core.handler):
        header: Header | None = await backend.read(core.handler.header, checked_run_id(run_id))
        return header
    return await core.run_store(run_id, backend).read_header()


async def read_state(
    core: FlowCore, backend: Backend, run_id: str | None, *, partial: bool = False
) -> dict[str, Any]:
    """Read the state of a run, or give an empty dict where nothing is stored.

    Raises:
        InvalidValueError: `partial` is true, and the handler is a user's own class.
    """
    if partial or moves_snapshots(core.handler):
        caller = call_site() if partial else None
        return await backend.read(core.snapshot_handler().read_for, caller, checked_run_id(run_id))
    run_store = core.run_store(run_id, backend)
    return {} if await run_store.read_header() is None else await run_store.state()


def make_patch(
    core: FlowCore,
    run_id: str | None,
    values: dict[str, Any],
    checkpoint: int | str | None,
    *,
    unset: Collection[str] = (),
    reason: object = None,
) -> Callable[[], Header]:
    """Check the arguments of `patch`, and make the blocking function that does it.

    Raises:
        InvalidTypeError, InvalidValueError: An argument is invalid.
    """
    change = _checked_change(values, unset)
    names = core.registry.steps.names
    position = None if checkpoint is None else position_of(names.all, checkpoint)
    handler = core.snapshot_handler()
    patch = bind(_patch, handler, checked_run_id(run_id), change, names, position)
    return bind(patch, version=core.settings.version, actor=checked_reason(reason))


def make_delete(core: FlowCore, run_id: str) -> Callable[[], bool]:
    """Check the argument of `delete`, and make the blocking function that does it.

    Raises:
        InvalidTypeError, InvalidValueError: `run_id` is no id.
    """
    if run_id is None:  # pyright: ignore[reportUnnecessaryComparison]
        raise InvalidTypeError(
            "a run is deleted by its run_id. reset() deletes the one without an id."
        )
    return bind(_delete, core.snapshot_handler(), checked_run_id(run_id))


async def reset_run(core: FlowCore, backend: Backend, run_id: str | None) -> None:
    """Delete a checkpoint under the run's lock."""
    run_store = core.run_store(run_id, backend)
    await hold_lock(run_store, backend, run_store.remove)


class _Change(NamedTuple):
    """A change of a stored state: values to put into it, and keys to take out of it."""

    values: dict[str, Any]
    unset: frozenset[str]

    def applied_to(self, state: dict[str, Any], *, holds_data: bool) -> dict[str, Any]:
        """Give the changed state, without the key of the position.

        Raises:
            InvalidValueError: A value is under a reserved key, or a key to take out is missing.
        """
        check_reserved_keys(self.values, "values= of patch()", takes_data=holds_data)
        for key in self.unset - state.keys():
            raise InvalidValueError(
                f"unset= of patch() names the key {key!r}, and the stored state has none of this "
                "name. read() gives the state."
            )
        changed = {key: state[key] for key in state if key not in self.unset} | self.values
        drop_position(changed)
        return changed


def _checked_change(values: object, unset: object) -> _Change:
    """Check what a patch changes.

    Raises:
        InvalidTypeError, InvalidValueError: It is no dict or no collection of keys, or one key is
            in both, or is reserved.
    """
    if not isinstance(values, dict):
        raise InvalidTypeError(f"values= of patch() is a dict, not a {type(values).__name__}.")
    if not isinstance(unset, (list, tuple, set, frozenset)):
        kind = type(unset).__name__
        raise InvalidTypeError(f"unset= of patch() is a list or set of keys, not a {kind}.")
    change = _Change(values, frozenset(unset))
    for key in change.unset & change.values.keys():
        raise InvalidValueError(f"values= and unset= of patch() both name the key {key!r}.")
    for key in change.unset & {POSITION_KEY, DATA_KEY}:
        raise InvalidValueError(f"unset= of patch() names the key {key!r}, which is reserved.")
    return change


def _patch(
    handler: StateHandler,
    run_id: str | None,
    change: _Change,
    names: StepNames,
    position: int | None,
    *,
    version: int,
    actor: str | None,
) -> Header:
    with handler.locked(run_id) as lock, handler.stored(run_id) as found:
        if found is None:
            raise InvalidValueError(
                f"nothing is stored in {handler.locate(run_id)}, so there is nothing to patch. "
                "runs() lists the stored runs."
            )
        if position is not None:
            check_version(found.header, version, found.location)
        state = change.applied_to(found.state(), holds_data=found.header.holds_data)
        header = _moved(found.header, names, position)
        header = replace(
            handler.patched(header, run_id, header.position),
            status=header.status,
            pause=header.pause,
            due=header.due,
            terminated_by=header.terminated_by,
            termination=header.termination,
            stopped_by="patch" if header.status == "stopped" else None,
            actor=actor,
        )
        emit = bind(handler.codec.write, header, state, None)
        handler.write_progress(run_id, None, lock=lock)  # It is of the state before.
        return handler.replace(run_id, emit, lock=lock)[0]


def _moved(header: Header, names: StepNames, position: int | None) -> Header:
    """The header with another position, or with its own for None."""
    if position is None:
        return header if header.status in _STAYS else replace(header, status="stopped", due=None)
    finished = position == len(names.all)
    return replace(
        header,
        steps=names.listed,
        excerpt=names.excerpt(position, finished=finished),
        position=0 if finished else position,
        status="finished" if finished else "stopped",
        pause=None,
        due=None,
        terminated_by=None,
        termination=None,
    )


def position_of(names: tuple[str, ...], checkpoint: int | str) -> int:
    """Find the index that `checkpoint` of a patch names. The number of steps is the end.

    Raises:
        InvalidTypeError, InvalidValueError: There is no such step.
    """
    at_the_end = not isinstance(checkpoint, (bool, str)) and checkpoint == len(names)
    return len(names) if at_the_end else find_step(names, checkpoint, "checkpoint")


def _delete(handler: StateHandler, run_id: str | None) -> bool:
    with handler.locked(run_id) as lock:
        file = handler.open(run_id)
        if file is None:
            return False
        file.close()
        handler.remove(run_id, lock=lock)
        return True
