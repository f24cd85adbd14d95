"""A file system in a file whose power can be cut: unflushed writes are lost.

The cut is the shutdown that XFS and ext4 have for tests of this kind: from then on nothing reaches
the disk any more, neither data nor log. The next mount replays the log as after a power failure.
See ioctl_xfs_goingdown(2); ext4 takes the same number and flags.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CUT = 0x8004587D
WITHOUT_FLUSHING = struct.pack("I", 2)
MIB = 1 << 20
# XFS refuses to be smaller. Without the option, ext4 writes a file out that is renamed over
# another, which hides a missing fsync.
SIZES = {"xfs": 320 * MIB, "ext4": 32 * MIB}
OPTIONS = {"xfs": "loop", "ext4": "loop,noauto_da_alloc"}
KINDS = tuple(SIZES)


@dataclass(frozen=True)
class Disk:
    """A disk with one file system.

    Attributes:
        kind: "xfs" or "ext4".
        place: Where it is mounted; its image file is beside the mount point.
    """

    kind: str
    place: Path

    @property
    def image(self) -> Path:
        """The file that the file system is in."""
        return self.place.with_name(f"{self.place.name}.{self.kind}")

    def make(self) -> None:
        """Make the file system, empty, and mount it."""
        with self.image.open("wb") as file:
            file.truncate(SIZES[self.kind])
        _do(f"mkfs.{self.kind}", "-q", self.image)
        self.place.mkdir()
        self.mount()

    def mount(self, more: str = "") -> None:
        """Mount it, which replays the log, perhaps with more options (",errors=remount-ro")."""
        _do("mount", "-t", self.kind, "-o", OPTIONS[self.kind] + more, self.image, self.place)

    def unmount(self) -> None:
        """Unmount it."""
        _do("umount", self.place)

    def cut(self) -> None:
        """Cut the power: all later writes fail, and nothing is flushed."""
        import fcntl  # noqa: PLC0415 (is not everywhere)

        descriptor = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, CUT, WITHOUT_FLUSHING)
        finally:
            os.close(descriptor)

    def clear(self) -> None:
        """Remove it in any case, even from under a process that still uses it."""
        # A disk without power is not reported as mounted, since even its root is unreadable.
        while _run("umount", "--lazy", self.place).returncode == 0:
            pass
        self.image.unlink(missing_ok=True)


def what_is_missing(kind: str) -> str | None:
    """Return the reason why there can be no such disk here, or None."""
    if not sys.platform.startswith("linux"):
        return "needs Linux"
    if os.geteuid() != 0:
        return "only the superuser may mount"
    programs = [name for name in (f"mkfs.{kind}", "mount", "umount") if shutil.which(name) is None]
    if programs:
        return f"needs {' and '.join(programs)}"
    return None if Path("/dev/loop-control").exists() else "needs loop devices"


def _do(program: str, *words: str | Path) -> None:
    _run(program, *words).check_returncode()


def _run(program: str, *words: str | Path) -> subprocess.CompletedProcess[bytes]:
    command = [shutil.which(program) or program, *words]
    return subprocess.run(command, check=False, capture_output=True)
