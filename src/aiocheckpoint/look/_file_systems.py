"""The file system that a path is on, as Linux tells it in its table of mounts."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

__all__ = ["FileSystem", "file_system_of"]

_TABLE = "/proc/self/mountinfo"
_LINE = re.compile(
    r"(?:\S+ ){4}(?P<at>\S+) (?P<options>\S+) (?:.* )?- (?P<kind>\S+) \S* (?P<more>\S+)"
)
_VOLATILE = frozenset({"tmpfs", "ramfs", "devtmpfs", "overlay", "aufs", "zram"})
"""File systems in memory, and the layer of a container, which ends with it."""
_NETWORK = frozenset(
    {
        *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "glusterfs", "gpfs", "lustre", "ncpfs"),
        *("nfs", "nfs4", "ocfs2", "orangefs", "smb3", "smbfs", "vboxsf", "virtiofs"),
        *("fuse.ceph-fuse", "fuse.gcsfuse", "fuse.glusterfs", "fuse.grpcfuse", "fuse.juicefs"),
        *("fuse.mount-s3", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "fuse.vmhgfs-fuse"),
    }
)
_NO_FLUSH = frozenset({"nobarrier", "barrier=0"})
"""Options with which a flush does not reach the disk."""


class FileSystem(NamedTuple):
    """A mounted file system.

    Attributes:
        kind: Its type, such as "ext4".
        mounted_at: The path at which it is mounted.
        options: Its options.
    """

    kind: str
    mounted_at: str
    options: frozenset[str]

    @property
    def is_volatile(self) -> bool:
        """Whether its files end with the machine's power, or with a container."""
        return self.kind in _VOLATILE

    @property
    def is_container_layer(self) -> bool:
        """Whether it is the layer of a container over its image."""
        return self.kind in {"overlay", "aufs"}

    @property
    def is_network(self) -> bool:
        """Whether its files are on another machine."""
        return self.kind in _NETWORK

    @property
    def ignores_flushes(self) -> bool:
        """Whether it is mounted so that a flush does not reach the disk."""
        return not self.options.isdisjoint(_NO_FLUSH)


def file_system_of(path: str) -> FileSystem | None:
    """Find the file system of a path. None where the system has no table of mounts.

    Args:
        path: An absolute path. What is missing at its end counts as in the last directory there is.
    """
    try:
        # Names are bytes, and a name that is no UTF-8 must compare equal to the path's.
        with open(_TABLE, encoding="utf-8", errors="surrogateescape") as table:
            lines = table.read().splitlines()
    except OSError:
        return None
    real = os.path.realpath(path)
    found: FileSystem | None = None
    for line in lines:
        one = _parsed(line)
        if one is None or not _has(one.mounted_at, real):
            continue
        # The later of two mounts at one path hides the earlier.
        if found is None or len(one.mounted_at) >= len(found.mounted_at):
            found = one
    return found


def _parsed(line: str) -> FileSystem | None:
    """Read a line, see proc_pid_mountinfo(5)."""
    found = _LINE.match(line)
    if found is None:
        return None
    mounted_at = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), found["at"])
    options = f"{found['options']},{found['more']}".split(",")
    return FileSystem(found["kind"], mounted_at, frozenset(options))


def _has(directory: str, path: str) -> bool:
    return path == directory or path.startswith(f"{directory.rstrip('/')}/")
