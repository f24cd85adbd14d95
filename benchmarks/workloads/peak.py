"""The process that `large_state.py` asks for memory: does one durable step of a large array.

Arguments: a directory, the door ("run" or "arun"), and the size of the array in bytes. It prints
how many bytes of memory the step took beside the array, by the most that was resident at once.
A process for each, for what one step has given back would serve the next.
"""

import asyncio
import logging
import sys
from pathlib import Path

from workloads.large import OneWrite, array


def _do(door: str, work: OneWrite) -> None:
    if door == "run":
        work.by_run()
    else:
        asyncio.run(work.by_arun())


class Peak:
    """The most memory that was resident, from when it is made.

    Linux can be told to begin anew (proc(5), clear_refs); elsewhere the most of the whole process
    is compared, of which the array is nearly all.
    """

    def __init__(self) -> None:
        forget = Path("/proc/self/clear_refs")
        self._begins_anew = forget.exists()
        if self._begins_anew:
            forget.write_text("5", "ascii")
        self._before = self._most()

    def grown(self) -> int:
        """How many bytes more than at first."""
        return max(0, self._most() - self._before)

    def _most(self) -> int:
        if self._begins_anew:
            for line in Path("/proc/self/status").read_text("ascii").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        import resource  # noqa: PLC0415 - there is none on Windows

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> None:
    """Measure, and print it."""
    logging.getLogger("aiocheckpoint").setLevel(logging.ERROR)  # It warns of large states.
    directory, door, size = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    _do(door, OneWrite(directory / "small.pkl", array(8)))  # imports, threads, buffers
    work = OneWrite(directory / "large.pkl", array(size))
    peak = Peak()
    _do(door, work)
    print(peak.grown())


if __name__ == "__main__":
    main()
