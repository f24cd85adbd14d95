"""Snapshots of many runs in an object store, for processes of many machines.

Imports `handlers.leased` and everything below it, and obstore. Open `_handler` first.
"""

from aiocheckpoint import _public
from aiocheckpoint.handlers.objects._handler import ObjectStateHandler

__all__ = ["ObjectStateHandler"]

_public.publish(__name__, globals(), __all__)
