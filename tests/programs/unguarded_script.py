"""A script without the guard of `__main__`, whose step has it imported again.

Usage: python unguarded_script.py <checkpoint> <spawn|forkserver|module>
"""

import importlib
import multiprocessing
import sys
from pathlib import Path
from typing import Any

from aiocheckpoint import CheckpointFlow

place, way = sys.argv[1:]
cp = CheckpointFlow(place)


@cp.add_step()
def work(state: dict[str, Any]) -> None:
    """Start a process, or import the module of the script by its name."""
    if way == "module":
        sys.path.insert(0, str(Path(__file__).parent))
        importlib.import_module("unguarded_script")
        return
    spawn, server = multiprocessing.get_context("spawn"), multiprocessing.get_context("forkserver")
    process = (spawn if way == "spawn" else server).Process(target=print)
    process.start()
    process.join()
    state["exitcode"] = process.exitcode


cp.run()
