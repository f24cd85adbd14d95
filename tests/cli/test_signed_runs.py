"""Signed runs of the command line: without their secret, and with another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from shop import Shop, make_shop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RIGHT, WRONG = "r" * 40, "w" * 40


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A shop with two broken runs, whose flow signs by a secret."""
    with make_shop(tmp_path, "directory", f", secret={RIGHT!r}") as shop:
        for run_id in ("x", "y"):
            shop.run(run_id, 1, declined=True)
        yield shop


def damage(shop: Shop, run_id: str) -> None:
    """Change the first byte of a run's file."""
    (file,) = shop.folder.glob(f"orders/**/*{run_id}*.pkl")
    file.write_bytes(b"X" + file.read_bytes()[1:])


def test_delete_without_the_secret(shop: Shop) -> None:
    """It is refused in words of its own, also before it is done, and of a damaged run."""
    damage(shop, "y")
    for words in (["--dry-run"], ["--write", "--yes"]):
        for run_id in ("x", "y"):
            done = shop.bare("delete", run_id, *words)
            assert done.code == 2
            assert f"{run_id}  refused: it is signed by " in done.out
            assert "Name the secret by --secret-env or --secret-file" in done.out
            assert "without a signature" not in done.out
    given = ["--secret-env", "SHOP_SECRET"]
    for run_id in ("x", "y"):
        done = shop.bare("delete", run_id, "--write", "--yes", *given, env={"SHOP_SECRET": RIGHT})
        assert (done.code, done.out) == (0, f"{run_id}  deleted\n")


def test_requeue_without_the_secret(shop: Shop) -> None:
    """The dry run says what the real one says."""
    planned = shop.bare("requeue", "x", "--dry-run")
    done = shop.bare("requeue", "x", "--write")
    assert (planned.code, planned.out) == (done.code, done.out)
    assert "refused: it is signed by" in done.out


def test_dry_run_with_another_secret(shop: Shop, tmp_path: Path) -> None:
    """Runs that the flow cannot read are refused, in words for a shell, and not left out."""
    (tmp_path / "other").mkdir()
    with make_shop(tmp_path / "other", "directory", f", secret={WRONG!r}") as other:
        (other.folder / "orders").symlink_to(shop.folder / "orders")
        for words in (["--all"], ["--status", "failed"]):
            done = other.does("resume", *words, "--dry-run")
            assert done.code == 5
            assert "x  refused: it is signed with the secret of id " in done.out
            assert done.err.endswith("none would run, 2 refused. Nothing was done.\n")
    assert shop.does("resume", "--status", "failed", "--dry-run").code == 0
