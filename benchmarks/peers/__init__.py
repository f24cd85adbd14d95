"""Other libraries, each measured in an environment and a process of its own."""

from __future__ import annotations

from pathlib import Path

__all__ = ["WORKERS"]

WORKERS = Path(__file__).with_name("workers")
"""The scripts for the interpreters of these environments; each imports only its neighbours."""
