"""The exit codes of all commands."""

from enum import IntEnum

__all__ = ["MEANINGS", "ExitCode"]


class ExitCode(IntEnum):
    """What a command ended with. Scripts depend on the numbers."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    IN_PROGRESS = 4
    DAMAGED = 5
    REFUSED = 6
    PAUSED = 10
    STOPPED = 11
    TERMINATED = 12
    QUEUED = 13
    INTERRUPTED = 130
    CLOSED_PIPE = 141
    ENDED = 143


MEANINGS = {
    ExitCode.DONE: "done; a command that runs something: finished; work: drained by one signal",
    ExitCode.FAILED: "a run failed, or the command could not do its work",
    ExitCode.USAGE: "wrong usage, or a target that cannot be loaded",
    ExitCode.NOT_FOUND: "no such run, flow or store",
    ExitCode.IN_PROGRESS: "the run is in progress elsewhere",
    ExitCode.DAMAGED: "damaged, untrusted, or of a later version",
    ExitCode.REFUSED: (
        "refused: changed steps, a draining flow, another state or answer, or nothing left to do"
    ),
    ExitCode.PAUSED: "the run is paused",
    ExitCode.STOPPED: "the run is stopped",
    ExitCode.TERMINATED: "the run is terminated",
    ExitCode.QUEUED: "the run is queued",
    ExitCode.INTERRUPTED: "ended by Ctrl-C, after the runs were stored; work: at a second signal",
    ExitCode.CLOSED_PIPE: "the reader of the output has gone",
    ExitCode.ENDED: "ended by SIGTERM, in the same way",
}
"""What each code means, as `--help` says it."""
