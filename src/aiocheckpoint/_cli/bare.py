"""Handlers of bare stores: no flow is known, and so neither its options nor its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint.handlers._addresses import find_store
from aiocheckpoint.handlers.local import LocalStateHandler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint.handlers import StateHandler
    from aiocheckpoint.handlers.local._run_lock import RunLock

__all__ = ["open_bare"]


def open_bare(
    path: str, flow: str | None, secret: Sequence[str | bytes] | None = None
) -> StateHandler:
    """Open the handler of a bare store for writing.

    Args:
        path: The path or URL.
        flow: Name of the flow. None for that of the path.
        secret: Its secrets, the signing one first.

    Raises:
        InvalidValueError: The path is the location of one run, or a secret is invalid.
        CheckpointError: As `open_handler` has them.
    """
    address = find_store(path, flow, None)
    address.check_whole("the command")
    options: dict[str, Any] = {} if secret is None else {"secret": secret}
    if address.is_file:
        return _BareFiles(address.path, flow=flow, **options)
    return address.open(flow or "", options)


class _BareFiles(LocalStateHandler):
    """Files whose flow may work by the kernel's locks, or by leases. Each lock file shows it."""

    def lock(self, run_id: str | None = None) -> RunLock:
        """The lock of a run, a lease where its lock file names an owner by a lease."""
        return self.lock_in_use(run_id)
