"""Checks of stores that are out of reach, lose an answer or crash, by the author's faults."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiocheckpoint.testing._checking import HandlerCheck

__all__ = ["OUTAGE_CHECKS"]

OUTAGE_CHECKS: tuple[HandlerCheck, ...] = ()
