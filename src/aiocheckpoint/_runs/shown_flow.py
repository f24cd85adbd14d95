"""The facts that the card of a flow shows, found out in a moment and without an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._concurrency.short_waits import call_within
from aiocheckpoint._display.cards.flow_facts import FlowFacts
from aiocheckpoint._runs.descriptions import location_of
from aiocheckpoint._texts import quoted
from aiocheckpoint.errors import CheckpointError
from aiocheckpoint.handlers._registry import moves_snapshots
from aiocheckpoint.look._glance import glance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint._runs.core import FlowCore
    from aiocheckpoint.look._glance import Glance

__all__ = ["facts_of_flow"]

_SECONDS = 1.0


def facts_of_flow(core: FlowCore) -> FlowFacts:
    """Find out what the card of a flow shows.

    The store is looked at for a second at most. Whatever it raises, is said in words.
    """
    stored, problem = _stored(core)
    return FlowFacts(
        name=core.settings.flow,
        place=location_of(core),
        options=tuple(_options(core)),
        steps=tuple(core.registry.steps),
        stored=stored,
        problem=problem,
    )


def _stored(core: FlowCore) -> tuple[Glance | None, str]:
    if not moves_snapshots(core.handler):
        return None, ""
    handler = core.snapshot_handler()
    try:
        return call_within(_SECONDS, lambda: glance(handler)), ""
    except TimeoutError:
        return None, "The store does not answer."
    except CheckpointError as error:
        return None, f"The store cannot be read: {error}"
    except Exception as error:  # noqa: BLE001 - a store of a user's own raises anything
        return None, f"The store cannot be read: {quoted(type(error).__qualname__)}"


def _options(core: FlowCore) -> Iterator[str]:
    """Say how runs are stored, without secrets."""
    handler = core.handler
    kind = type(handler).__qualname__
    yield kind.removesuffix("StateHandler").lower() or kind
    if not moves_snapshots(handler):
        return
    fsync = getattr(handler, "fsync", None)
    if fsync is not None:
        yield "fsync" if fsync else "no fsync"
    if handler.key_ids:
        yield "signed"
    keep = getattr(handler, "keep", 1)
    if keep != 1:
        yield f"keep={keep!r}"
    if getattr(handler, "locking", "kernel") == "lease":
        yield "lease"
    if core.settings.version:
        yield f"version {core.settings.version}"
