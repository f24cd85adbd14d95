"""Whether a process has ended or is stopped: one of this machine and container, by /proc."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from typing import NamedTuple

__all__ = [
    "Machine",
    "boot_id",
    "has_ended",
    "machine",
    "started_at",
    "switches_while_stopped",
]

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_PID_NAMESPACE = "/proc/self/ns/pid"
_MOST_BYTES = 1 << 14
_STATE, _THREADS, _STARTED = 0, 17, 19
"""Places in /proc/<pid>/stat behind the name of the program, see proc_pid_stat(5)."""
_SWITCHES = ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")


class Machine(NamedTuple):
    """Where the numbers of processes mean something.

    Attributes:
        boot: The id of this start of the machine. Empty where the system has none.
        namespace: The namespace of process ids: a container has one of its own.
    """

    boot: str
    namespace: str


def boot_id() -> str:
    """The id of this start of the machine. Empty where the system has none."""
    return _read_system_file(_BOOT_ID).strip()


@cache
def machine() -> Machine:
    """Where this process runs."""
    try:
        return Machine(boot_id(), os.readlink(_PID_NAMESPACE))
    except OSError:
        return Machine("", "")


def started_at(pid: int) -> str:
    """When a process was started, as its machine counts. Empty where the system does not say."""
    found = _stat(pid)
    return found[_STARTED] if found else ""


def has_ended(pid: int, started: str) -> bool:
    """Whether a process of this machine and namespace has ended, or its number is another's."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        pass
    found = _stat(pid)
    if not found:
        return False
    is_zombie = found[_STATE] in "ZX" and int(found[_THREADS]) <= 1
    return is_zombie or found[_STARTED] != started


def switches_while_stopped(pid: int) -> tuple[str, ...] | None:
    """How often the system has switched to and from a process that a signal has stopped.

    The counts change when the process goes on, even for an instant. None for a process that runs,
    sleeps or is stopped by a debugger ("t"), and where the system does not say, see
    proc_pid_status(5).
    """
    lines = _read_system_file(f"/proc/{pid}/status").splitlines()
    facts = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if not facts.get("State", "").startswith("T"):
        return None
    switches = tuple(facts[name] for name in _SWITCHES if name in facts)
    return switches if len(switches) == len(_SWITCHES) else None


def _stat(pid: int) -> list[str]:
    # The name is in parentheses, and may hold any character.
    return _read_system_file(f"/proc/{pid}/stat").rpartition(")")[2].split()


def _read_system_file(path: str) -> str:
    """Read a file of /proc, which is below 16 KiB. Empty where the system has none.

    Finalizers may call this at the end of the interpreter, which has no `open` any more.
    """
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            return os.read(descriptor, _MOST_BYTES).decode("ascii", "replace")
        finally:
            os.close(descriptor)
    return ""
