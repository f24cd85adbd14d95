"""The owner of a run in words, and how its second run gets by, for `RunInProgressError`."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
from pathlib import Path

__all__ = ["describe_owner", "describe_process"]

_WAIT = (
    "Wait for it with wait=<seconds>, or use another path or run_id; when that process ends or is "
    "killed, the checkpoint is free at once."
)
_WATCH = (
    "Wait for it with wait=<seconds>, or use another path or run_id. This process takes the run "
    "where it sees no sign of life of that one for {seconds:.1f} s more, so wait for longer than "
    "that, or ask again and again."
)
_WATCH_CONNECTION = (
    "Wait for it with wait=<seconds>, or use another path or run_id. When that process ends or is "
    "killed, a process that asks again has the run within a second. If it is stopped, or cut off "
    "from the store, this process takes the run where it sees no sign of life of it for "
    "{seconds:.1f} s more."
)
_GUARD = 'Put the run under `if __name__ == "__main__":` there.'
_OWN_RUN = (
    "Another task, thread or step of it is running the flow: await that one, wait for it with "
    "wait=<seconds>, or use another path or run_id. Or a step imports the module of the script, "
    f"and the import runs the flow again. {_GUARD}"
)
_RUN_OF_PARENT = (
    "A worker process, as of a process pool, imports the script of its parent, and the import runs "
    f"the flow again. {_GUARD} If this process runs the flow on purpose, use another path or "
    "run_id: the step of the parent that waits for this process would wait for itself."
)


def describe_owner(
    pid: int | None,
    host: str | None,
    since: str | None,
    lease_left: float | None,
    *,
    end_is_seen: bool = False,
) -> tuple[str, str]:
    """Name the owner of a run, and give the remedy.

    Args:
        pid: The owner's process id, or None where it is unknown.
        host: The owner's host name, or None.
        since: When the owner took the run, or None.
        lease_left: Seconds for which it has to be seen without a sign of life, or None.
        end_is_seen: Whether the end of its process is seen before that.
    """
    watch = _WATCH_CONNECTION if end_is_seen else _WATCH
    wait = _WAIT if lease_left is None else watch.format(seconds=lease_left)
    if pid is None:
        return "an unknown process", wait
    # Another machine's process may have the host name and number of this one.
    if host == socket.gethostname() and (lease_left is None or end_is_seen):
        if pid == os.getpid():
            return f"this very process, {pid}", _OWN_RUN
        if pid in _parents():
            return f"the parent of this process, {pid}", _RUN_OF_PARENT
    return describe_process(pid, host) + ("" if since is None else f" since {since}"), wait


def describe_process(pid: int, host: str | None) -> str:
    """Name a process of any machine."""
    return f"process {pid} on {host}"


def _parents() -> set[int]:
    """The ids of the processes that started this one."""
    parents = {os.getppid()}
    if (started_by := multiprocessing.parent_process()) is not None and started_by.pid is not None:
        parents.add(started_by.pid)
    # A fork server is between a worker and its parent, which the worker does not know while it
    # imports the script. The parent's id is the second field behind the name in parentheses.
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{os.getppid()}/stat").read_bytes().rpartition(b")")[2].split()
        parents.add(int(fields[1]))
    return parents
