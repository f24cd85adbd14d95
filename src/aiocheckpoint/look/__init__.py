"""What is stored, as records to show: the read model of every display.

Nothing here unpickles, and nothing here writes. Records are made of headers, sizes and an inert
decoder, which gives plain values and placeholders. Displays render these records and nothing else.
`open_store` opens a store. `check_store` says what is wrong with one.
Open `_records.py` first.
"""

from aiocheckpoint import _public
from aiocheckpoint.look._findings import FindingView
from aiocheckpoint.look._health import check_store
from aiocheckpoint.look._records import (
    JSON_VERSION,
    ChangeView,
    CountView,
    DiffView,
    FlowView,
    KeyView,
    ProgressView,
    RunView,
    SnapshotView,
    StepView,
)
from aiocheckpoint.look._store import Store, open_store, store_of

__all__ = [
    "JSON_VERSION",
    "ChangeView",
    "CountView",
    "DiffView",
    "FindingView",
    "FlowView",
    "KeyView",
    "ProgressView",
    "RunView",
    "SnapshotView",
    "StepView",
    "Store",
    "check_store",
    "open_store",
    "store_of",
]

_public.publish(__name__, globals(), __all__)
