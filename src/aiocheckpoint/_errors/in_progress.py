"""The error of a run that another owner has."""

from __future__ import annotations

from aiocheckpoint._errors.owner import describe_owner
from aiocheckpoint._errors.root import CheckpointError

__all__ = ["RunInProgressError", "without_wait"]

_NO_WAIT = (
    "This call does not wait for it. Make it again when the run has ended, or end the run by "
    "aterminate(run_id), or terminate."
)


class RunInProgressError(CheckpointError):
    """Another run of the same checkpoint is running, in this process or another.

    Attributes:
        path: Where the checkpoint is.
        pid: The owner's process id, or None where it could not be read.
        host: The owner's host name, or None.
        since: When the owner took it, as ISO 8601 text in UTC, or None.
        lease_left: Seconds until this process may take the run, if it goes on asking, and sees no
            sign of life of the owner: no heartbeat from another machine, or a process that stays
            stopped by a signal. None where the owner is alive, or its lock ends with it at once.
        end_is_seen: Whether the store shows within a second that the owner's process has ended,
            though `lease_left` is longer. It does for a direct connection to PostgreSQL.
    """

    lease_left: float | None = None  # Pickles of 0.5 have none.
    end_is_seen: bool = False  # Nor have those of 0.7.

    def __init__(
        self,
        path: str,
        *,
        pid: int | None = None,
        host: str | None = None,
        since: str | None = None,
        lease_left: float | None = None,
        end_is_seen: bool = False,
        waits: bool = True,
    ) -> None:
        owner, remedy = describe_owner(pid, host, since, lease_left, end_is_seen=end_is_seen)
        remedy = remedy if waits else _NO_WAIT
        super().__init__(f"{path} is in use by {owner}. {remedy}")
        self.path = path
        self.pid = pid
        self.host = host
        self.since = since
        self.lease_left = lease_left
        self.end_is_seen = end_is_seen


def without_wait(error: RunInProgressError) -> RunInProgressError:
    """The error of a call that has no `wait=`, as of `apatch`, `adelete` and `arequeue`."""
    return RunInProgressError(
        error.path,
        pid=error.pid,
        host=error.host,
        since=error.since,
        lease_left=error.lease_left,
        end_is_seen=error.end_is_seen,
        waits=False,
    )
