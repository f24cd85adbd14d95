"""Tests of other folders, called for a further kind of store."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["shared_tests"]

_TESTS = Path(__file__).parent.parent


def shared_tests(folder: str, name: str) -> ModuleType:
    """Import a module of tests, as pytest does, so that its assertions are rewritten.

    Its tests are then called with a store of a further kind in the place of a fixture.

    Args:
        folder: Its folder under "tests".
        name: Its name.
    """
    path = str(_TESTS / folder)
    if path not in sys.path:
        sys.path.insert(0, path)
    return importlib.import_module(name)
