"""The file system of a path, read from tables of mounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aiocheckpoint.look import _file_systems
from aiocheckpoint.look._file_systems import file_system_of

if TYPE_CHECKING:
    from pathlib import Path

TABLE = """\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
23 22 0:21 / /run rw,nosuid,nodev shared:2 - tmpfs tmpfs rw
24 22 0:40 / /mnt/share rw,relatime shared:3 master:1 - nfs4 box:/share rw,vers=4.2
25 22 8:1 / /mnt/my\\040disk rw - ext4 /dev/sda1 rw,nobarrier
26 22 8:2 / /mnt/share/local rw - xfs /dev/sda2 rw
27 22 0:50 / /mnt/share/local rw - fuse.sshfs me@box: rw
28 22 0:60 / /c rw - overlay overlay rw,lowerdir=/a
a line of a later kernel
"""
KINDS = {
    "/srv/orders.db": ("ext4", ""),
    "/run": ("tmpfs", "volatile"),
    "/run/a/b.db": ("tmpfs", "volatile"),
    "/runall": ("ext4", ""),
    "/mnt/share/o.db": ("nfs4", "network"),
    "/mnt/share/local/o.db": ("fuse.sshfs", "network"),
    "/mnt/my disk/o.db": ("ext4", "ignores"),
    "/c/o.db": ("overlay", "volatile container"),
}


@pytest.fixture(autouse=True)
def _table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(TABLE)
    monkeypatch.setattr(_file_systems, "_TABLE", str(table))


@pytest.mark.parametrize("path", KINDS)
def test_kinds(path: str) -> None:
    """The mount with the longest path has a file, the last of two at one path."""
    found = file_system_of(path)
    assert found is not None
    words = {
        "volatile": found.is_volatile,
        "container": found.is_container_layer,
        "network": found.is_network,
        "ignores": found.ignores_flushes,
    }
    assert (found.kind, " ".join(word for word, holds in words.items() if holds)) == KINDS[path]


def test_systems_without_a_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is known where the system has no such table."""
    monkeypatch.setattr(_file_systems, "_TABLE", str(tmp_path / "missing"))
    assert file_system_of("/") is None
