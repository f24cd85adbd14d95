"""The host of a benchmark: processor, system, file system, load and versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

from aiocheckpoint import __version__

__all__ = ["keep_bytecode_in", "machine"]

DEPENDENCIES = ("dill", "aiofiles", "anyio")


def machine(directory: Path | None) -> dict[str, str]:
    """Give the host and the versions that figures were measured with, by name.

    Args:
        directory: Where files were written, if any were.
    """
    found = {
        "CPU": _cpu(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
    }
    if directory is not None:
        found["file system"] = _file_system(directory)
    if hasattr(os, "getloadavg"):
        # Load of other processes slows the disk most, which flatters every ratio to a floor.
        found["load of the last minute"] = f"{os.getloadavg()[0]:.1f}"
    found["Python"] = platform.python_version()
    found["aiocheckpoint"] = __version__
    return found | {name: version(name) for name in DEPENDENCIES}


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _file_system(directory: Path) -> str:
    """Type of the file system that holds a directory, as Linux lists it (proc(5), mountinfo)."""
    mounts = Path("/proc/self/mountinfo")
    if not mounts.exists():
        return "unknown"
    found = {}
    for line in mounts.read_text("utf-8").splitlines():
        before, _, after = line.partition(" - ")
        found[before.split()[4]] = after.split()[0]
    places = [directory.resolve(), *directory.resolve().parents]
    return next((found[str(place)] for place in places if str(place) in found), "unknown")


def keep_bytecode_in(directory: Path) -> None:
    """Let Python keep the bytecode in a directory, from the next process on.

    Measured processes then find it there, even if the environment forbids Python to write any.
    """
    os.environ["PYTHONPYCACHEPREFIX"] = str(directory)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
