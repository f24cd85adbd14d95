"""The process that `large_state.py` starts for memory: does one durable step of a large array.

Arguments: a directory, the method ("run" or "arun"), and the size of the array in bytes. It prints
the growth of its peak resident memory during the step, in bytes, beside the array. Each step has a
process of its own, because memory freed by one step would serve the next.
"""

import asyncio
import logging
import sys
from pathlib import Path

from workloads.large import OneWrite, array


def _do(method: str, work: OneWrite) -> None:
    if method == "run":
        work.by_run()
    else:
        asyncio.run(work.by_arun())


class Peak:
    """The peak of resident memory since the object was made.

    Linux can reset the peak (proc(5), clear_refs). Elsewhere it is the peak of the whole process,
    most of which is the array.
    """

    def __init__(self) -> None:
        forget = Path("/proc/self/clear_refs")
        self._can_reset = forget.exists()
        if self._can_reset:
            forget.write_text("5", "ascii")
        self._before = self._most()

    def grown(self) -> int:
        """The growth since then, in bytes."""
        return max(0, self._most() - self._before)

    def _most(self) -> int:
        if self._can_reset:
            for line in Path("/proc/self/status").read_text("ascii").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        import resource  # noqa: PLC0415 - there is none on Windows

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> None:
    """Measure, and print it."""
    logging.getLogger("aiocheckpoint").setLevel(logging.ERROR)  # It warns of large states.
    directory, method, size = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    _do(method, OneWrite(directory / "small.pkl", array(8)))  # imports, threads, buffers
    work = OneWrite(directory / "large.pkl", array(size))
    peak = Peak()
    _do(method, work)
    print(peak.grown())


if __name__ == "__main__":
    main()
