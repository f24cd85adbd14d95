"""Descriptors and connections that the library keeps open on purpose, closed after each test."""

from __future__ import annotations

import os
import sys

from aiocheckpoint.handlers._files import databases


def close_kept_open() -> None:
    """Close them. No other process uses the databases of a test that has ended."""
    closing = sys.modules.get("aiocheckpoint.handlers.sqlite._closing")
    kept = [databases._held_open]  # noqa: SLF001
    if closing is not None:
        for connection in closing._abandoned:  # noqa: SLF001
            connection.close()
        closing._abandoned.clear()  # noqa: SLF001
        kept.append(closing._descriptors)  # noqa: SLF001
    for descriptors in kept:
        for descriptor in descriptors.values():
            os.close(descriptor)
        descriptors.clear()
