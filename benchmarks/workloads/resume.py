"""The process that `start_up.py` times: resumes a flow at its second step and prints the time.

Arguments: the path of a checkpoint and "ours" to resume it, or "dill" only to load it, or the URL
of a database and "row" to resume its run "order". The process prints `time.perf_counter()` once the
state is loaded. All processes of a system share this clock on Linux, macOS and Windows.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any


def _arrive() -> None:
    print(time.perf_counter(), flush=True)
    os._exit(0)  # as if killed, so the checkpoint stays


def _resume(path: str, run_id: str | None = None) -> None:
    from aiocheckpoint import CheckpointFlow  # noqa: PLC0415 - its time counts

    flow = CheckpointFlow(path)

    @flow.add_step()
    def prepare(state: dict[str, Any]) -> None:
        """Represent the work done before."""

    @flow.add_step()
    def go_on(state: dict[str, Any]) -> None:
        _arrive()

    flow.run(run_id=run_id)


def _resume_row(path: str) -> None:
    _resume(path, "order")


def _load(path: str) -> None:
    import dill  # type: ignore[import-untyped]  # noqa: PLC0415 - its time counts

    with Path(path).open("rb") as file:
        dill.load(file)
    _arrive()


if __name__ == "__main__":
    {"ours": _resume, "dill": _load, "row": _resume_row}[sys.argv[2]](sys.argv[1])
