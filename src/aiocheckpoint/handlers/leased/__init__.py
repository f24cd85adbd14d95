"""The base of stores whose runs are owned by leases, which many processes and hosts share.

Imports the handlers' `_base` and everything below it. Open `_connection` first: its classes are all
that the author of a store writes, beside a handler that names the place.
"""

from aiocheckpoint import _public
from aiocheckpoint.handlers.leased._connection import StoreConnection
from aiocheckpoint.handlers.leased._handler import LeasedStateHandler
from aiocheckpoint.handlers.leased._requests import Claim, LeaseRecord, Release, Save
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

__all__ = [
    "Claim",
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
    "StoredRun",
]

_public.publish(__name__, globals(), __all__)
