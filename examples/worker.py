"""A queue of jobs that several processes work off. Any of them may be killed at any moment.

Queue a job for each file, start workers in as many terminals as you like, and look:

    python examples/worker.py jobs submit docs/*.md
    python examples/worker.py jobs work
    python examples/worker.py jobs show

Each job counts the words of a file, step by step, and writes its result into the folder. A file
that is submitted again is not done again, and one that has changed is refused. After Ctrl-C or
SIGTERM a worker ends behind its steps. What it leaves, and what a killed worker leaves, the other
workers do within a second or two.
"""

import argparse
import asyncio
import hashlib
import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import NotRequired, TypedDict

from aiocheckpoint import CheckpointFlow, Terminate, current_step, replacing

AT_ONCE = 4  # jobs of one worker side by side
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Job(TypedDict):
    """The state of a job. Steps add what they find out."""

    file: str
    digest: str
    words: NotRequired[int]
    longest: NotRequired[str]


def make_flow(folder: Path, pause: float = 0.0) -> CheckpointFlow[Job]:
    """Make the flow. Each job is a run of it.

    Args:
        folder: Where queue and results are.
        pause: Seconds that a step takes longer, to watch the workers.
    """
    cp = CheckpointFlow[Job](f"sqlite:///{folder}/jobs.db", conflict="raise", starts=5, backoff=2.0)

    @cp.add_step()
    async def count(state: Job) -> None:
        note(folder, "count")
        await asyncio.sleep(pause)
        state["words"] = len(words_of(state))

    @cp.add_step()
    async def compare(state: Job) -> None:
        note(folder, "compare")
        await asyncio.sleep(pause)
        state["longest"] = max(words_of(state), key=len, default="")

    @cp.add_step()
    def store(state: Job) -> None:  # sync, so it runs in a thread and never stalls the loop
        note(folder, "store")
        target = folder / f"{Path(state['file']).stem}.json"
        with replacing(target) as new:  # whole or not at all, also when the process is killed
            new.write_text(json.dumps(state), "utf-8")

    return cp


def words_of(state: Job) -> list[str]:
    """Read the words of a job's file.

    Raises:
        Terminate: The file is not the one that was submitted. No further try would help.
    """
    path = Path(state["file"])
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != state["digest"]:
        raise Terminate(f"{path.name} has changed since it was submitted")
    return content.decode("utf-8", "replace").split()


def note(folder: Path, step: str) -> None:
    """Write down which process does which step of which job."""
    with (folder / "log.txt").open("a", encoding="utf-8") as log:
        log.write(f"{os.getpid()} {step} {current_step().run_id}\n")


def jobs_of(files: Iterable[Path]) -> Iterator[tuple[str, Job]]:
    """Make a job for each file. The name of the file is its id."""
    for path in files:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        yield path.name, Job(file=str(path.resolve()), digest=digest)


def submit(cp: CheckpointFlow[Job], files: list[Path], later: float) -> int:
    """Queue the jobs, and give the exit code."""
    due = timedelta(seconds=later) if later else None
    failed = 0
    for result in cp.submit(jobs_of(files), due=due, once=True):
        print(f"{result.run_id}: {result.status or type(result.error).__name__}")
        failed += result.error is not None
    return 1 if failed else 0


async def work(cp: CheckpointFlow[Job], *, until_empty: bool) -> int:
    """Work the queue off until a signal comes, or until it is empty."""
    loop, draining = asyncio.get_running_loop(), set[asyncio.Task[object]]()
    async with cp:  # at its end the flow is drained, and the database closed
        for number in SIGNALS if sys.platform != "win32" else ():
            loop.add_signal_handler(
                number, lambda: draining.add(asyncio.create_task(cp.adrain(timeout=20)))
            )
        print(f"worker {os.getpid()} is ready", flush=True)
        async for result in cp.awork(limit=AT_ONCE, until_empty=until_empty):
            print(f"{result.run_id}: {result.status or repr(result.error)}", flush=True)
    return 0


def show(cp: CheckpointFlow[Job]) -> int:
    """Print how many jobs there are of each status, and why some were ended for good."""
    for status, count in cp.count("status").items():
        if count:
            print(f"{count} {status}")
    for header in cp.runs("terminated"):
        print(f"{header.run_id}: {header.termination}. requeue({header.run_id!r}) tries again.")
    return 0


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="Count the words of files, in several processes.")
    parser.add_argument("folder", type=Path, help="where the queue and the results are")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds that each step takes")
    commands = parser.add_subparsers(dest="command", required=True)
    submitting = commands.add_parser("submit", help="queue a job for each file")
    submitting.add_argument("files", nargs="+", type=Path)
    submitting.add_argument("--later", type=float, default=0.0, help="seconds until they are due")
    working = commands.add_parser("work", help="work the queue off")
    working.add_argument("--until-empty", action="store_true", help="end when nothing is left")
    commands.add_parser("show", help="count the jobs by status")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    cp = make_flow(options.folder, options.pause)
    if options.command == "submit":
        return submit(cp, options.files, options.later)
    if options.command == "work":
        return asyncio.run(work(cp, until_empty=options.until_empty))
    return show(cp)


if __name__ == "__main__":
    sys.exit(main())
