"""Survey Python's standard library on a cluster of Dask, whose workers are killed meanwhile.

Each package is a run: its files are listed, their lines counted, and their definitions. The runs
are sent to worker processes. A worker that dies takes no finished step along, as the snapshots are
in a database. The rest of its runs is done by the next worker, behind the last finished step. When
the program itself is killed, its next start goes on, and finished packages are read alone.

It needs the extra "dask": pip install 'aiocheckpoint[dask]'. Run it with:

    python examples/dask_survey.py [--output DIR] [--limit N] [--workers N] [--kills N]
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import signal
import sysconfig
import threading
import warnings
from collections import Counter, defaultdict
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import survey_stdlib
from distributed import Client, LocalCluster

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Iterator

State = dict[str, Any]
Data = dict[str, Any]


def load_sources(state: State) -> Data:
    """Read the package's files, on the worker. Sources are no part of the state."""
    root = Path(state["root"])
    return {"sources": {name: (root / name).read_bytes() for name in state["files"]}}


def count_bytes(state: State, data: Data) -> None:
    """Count the bytes of the sources."""
    state["bytes"] = sum(map(len, data["sources"].values()))


def check_sources(state: State, data: Data) -> None:
    """List the files that are not valid Python, with the reason."""
    state["refused"] = {}
    for name, source in data["sources"].items():
        try:
            ast.parse(source, filename=name)
        except SyntaxError as error:
            decodes = survey_stdlib.can_decode(source)
            kind = "does not parse" if decodes else "does not decode"
            state["refused"][name] = f"{kind}: {error.msg}"


def measure(state: State, data: Data) -> None:
    """Add up lines, classes and functions of the valid files."""
    counts: Counter[str] = Counter()
    for name, source in data["sources"].items():
        if name not in state["refused"]:
            counts.update(survey_stdlib.describe(name, source), files=1)
    state["counts"] = dict(counts)


def make_flow(folder: Path) -> CheckpointFlow:
    """Make the flow. Each package is a run of it."""
    cp = CheckpointFlow(f"sqlite:///{folder.resolve()}/survey.db")
    for step in (count_bytes, check_sources, measure):
        cp.add_step(load=load_sources, needs=("sources",))(step)
    return cp


def find_packages(limit: int | None) -> dict[str, State]:
    """Give the first states, by package. Single modules count as one package."""
    found: State = {"limit": limit}
    survey_stdlib.find_files(found)
    packages: defaultdict[str, list[str]] = defaultdict(list)
    for name in found["files"]:
        package, slash, _ = name.partition("/")
        packages[package if slash else "(single modules)"].append(name)
    root = sysconfig.get_path("stdlib")
    return {name: {"root": root, "files": files} for name, files in packages.items()}


def kill_workers(cluster: LocalCluster, kills: int, finished: threading.Event) -> None:
    """Kill workers at random moments, as a machine that runs out of memory does."""
    for _ in range(kills):
        if finished.wait(random.uniform(0.1, 0.6)):  # noqa: S311 - no secret
            return
        nanny = random.choice([*cluster.workers.values()])  # noqa: S311
        if nanny.pid:  # Else its next worker has not started yet.
            print(f"worker {nanny.pid} is killed", flush=True)
            os.kill(nanny.pid, signal.SIGKILL)


def send(folder: Path, packages: dict[str, State], workers: int, kills: int) -> Iterator[State]:
    """Send the runs to a cluster, and give their states as they end."""
    cp, finished = make_flow(folder), threading.Event()
    cluster = LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=workers, threads_per_worker=1, dashboard_address=":0"
    )
    with (
        closing(cp.handler),
        cluster,
        Client(cluster) as client,  # type: ignore[no-untyped-call]
    ):
        threading.Thread(target=kill_workers, args=(cluster, kills, finished), daemon=True).start()
        executor = client.get_executor()
        for result in cp.map(packages, executor=executor, once=True):
            if result.state is None:
                raise SystemExit(f"{result.run_id} did not end: {result.error!r}")
            print(f"{result.run_id}: {result.state['bytes']:,} bytes", flush=True)
            yield {**result.state, "package": result.run_id}
        finished.set()


def main() -> None:
    """Read the command line, send the runs, and print the table."""
    parser = argparse.ArgumentParser(description="Survey the standard library, on a cluster.")
    parser.add_argument("--output", type=Path, default=Path("survey"), help="where results go")
    parser.add_argument("--limit", type=int, metavar="N", help="look at the first N files only")
    parser.add_argument("--workers", type=int, default=2, help="worker processes of the cluster")
    parser.add_argument("--kills", type=int, default=3, help="how many workers are killed")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")  # the surveyed code has its own old habits
    packages = find_packages(options.limit)
    states = [*send(options.output, packages, options.workers, options.kills)]
    counts = {state["package"]: state["counts"] for state in states if state["counts"]}
    refused = {name: why for state in states for name, why in state["refused"].items()}
    print()
    print(survey_stdlib.as_table({"packages": counts, "refused": dict(sorted(refused.items()))}))


if __name__ == "__main__":
    main()
