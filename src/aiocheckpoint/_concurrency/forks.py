"""Which process this is: a forked child is another one than its parent."""

from __future__ import annotations

import os

__all__ = ["is_forked", "process"]

process: object = object()
"""Stands for this process. It is read as `forks.process`, since a forked child has another."""

_FIRST = process


def is_forked() -> bool:
    """Whether this process was forked after this library was imported."""
    return process is not _FIRST


def _note_fork() -> None:
    global process  # noqa: PLW0603
    process = object()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)
