"""Modules of tests that are skipped, without an import, where packages are missing."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


class _SkippedModule(pytest.Module):
    """A module of tests that is not imported."""

    why = ""

    def collect(self) -> list[pytest.Item]:
        """Skip it."""
        pytest.skip(self.why, allow_module_level=True)


def skipped_module(path: Path, parent: pytest.Collector, why: str) -> pytest.Module:
    """Give a module in place of the one of tests, which is skipped for the reason."""
    module = _SkippedModule.from_parent(parent, path=path)
    module.why = why
    return module


def missing(*packages: str) -> list[str]:
    """Give the packages that cannot be imported here."""
    return [name for name in packages if find_spec(name) is None]
