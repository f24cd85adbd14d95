"""The base of stores whose runs are owned by leases, which many processes and hosts share.

Imports the handlers' `_base` and everything below it. Open `_connection` first: its classes are all
that the author of a store writes, beside a handler that names the place.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from aiocheckpoint import _public
from aiocheckpoint.handlers.leased._requests import Claim, Key, LeaseRecord, Release, Save
from aiocheckpoint.handlers.leased._rows import (
    OwnedRow,
    OwnerBeat,
    QueuedColumns,
    QueuedRow,
    RunRow,
    SeenOwner,
    StartRow,
    StoredRun,
)
from aiocheckpoint.handlers.leased._store import LeasedStore

if TYPE_CHECKING:
    from aiocheckpoint.handlers.leased._connection import StoreConnection
    from aiocheckpoint.handlers.leased._handler import LeasedStateHandler
    from aiocheckpoint.handlers.leased._listener import StoreListener

__all__ = [
    "Claim",
    "Key",
    "LeaseRecord",
    "LeasedStateHandler",
    "LeasedStore",
    "OwnedRow",
    "OwnerBeat",
    "QueuedColumns",
    "QueuedRow",
    "Release",
    "RunRow",
    "Save",
    "SeenOwner",
    "StartRow",
    "StoreConnection",
    "StoreListener",
    "StoredRun",
]

_public.publish(__name__, globals(), __all__)

_LATE = {
    "LeasedStateHandler": "_handler",
    "StoreConnection": "_connection",
    "StoreListener": "_listener",
}
"""The modules of names that SQLite does without, which has its own session. They take 5 ms."""


def __getattr__(name: str) -> object:
    """Import a name with its module (PEP 562)."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
    globals()[name] = value
    return value
