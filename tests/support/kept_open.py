"""Descriptors and connections that the library keeps open on purpose, closed after each test."""

from __future__ import annotations

import os
import sys

from aiocheckpoint.handlers._files import databases


def close_kept_open() -> None:
    """Close them. No other process uses the databases of a test that has ended."""
    closing = sys.modules.get("aiocheckpoint.handlers.sqlite._closing")
    if closing is not None:
        for connection in closing._abandoned:  # noqa: SLF001
            connection.close()
        closing._abandoned.clear()  # noqa: SLF001
        closing._files.clear()  # noqa: SLF001
    for descriptor in databases._held_open.values():  # noqa: SLF001
        os.close(descriptor)
    databases._held_open.clear()  # noqa: SLF001
