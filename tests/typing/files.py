"""Typical uses of files, never run: the type checkers read them."""

from pathlib import Path
from typing import assert_type

from aiocheckpoint import (
    CheckpointFlow,
    Header,
    LocalStateHandler,
    RunInProgressError,
    adopt,
    replacing,
)


async def of_a_saver() -> None:
    """The temporary path is a `Path`, in both kinds of block."""
    with replacing("rows.csv") as temporary:
        assert_type(temporary, Path)
    async with replacing(Path("rows.csv")) as temporary:
        assert_type(temporary, Path)


def of_files() -> None:
    """Options of handlers and of `adopt`."""
    assert_type(adopt("c.pkl"), Header)
    assert_type(adopt("c.pkl", secret=["s" * 32], flow="c"), Header)
    adopt("c.pkl", secret=None)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    CheckpointFlow("c.pkl", lock="lease", lease=10)
    assert_type(LocalStateHandler("c.pkl", lock="lease").lease, float | None)
    LocalStateHandler("c.pkl", lock="flock")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def of_an_owner(error: RunInProgressError) -> None:
    """What an owner that is in the way tells."""
    assert_type(error.lease_left, float | None)
