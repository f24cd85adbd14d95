"""Kills its own children, whose runs fail, pause and resume; prints the errors found.

    python service_kill_script.py DATABASE|DIRECTORY/ SEED

Each child has the same runs at once, and gives the paused ones their updates. It is killed at a
random moment, until one child comes to the end of them. The last line is the number of kills.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiocheckpoint import CheckpointFlow, Header, Pause, Retry, RunResult, current_step

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ("a", "b", "c", "d", "e", "f")
IDS = ("x", "y", "z")
ASKS = {"b", "e"}
LONGEST = 0.03
AT_ONCE = Retry(attempts=4, wait_initial=0, wait_max=0, wait_jitter=0)


def make_flow(place: str, report: Callable[[str], object]) -> CheckpointFlow:
    """Make a flow that keeps data, and half of whose attempts fail midway."""
    kind = "sqlite" if place.endswith(".db") else "local"
    cp = CheckpointFlow(place, kind, name="served", fsync=False, keep_data=True)

    def work(state: dict[str, Any], data: dict[str, Any]) -> None:
        me = current_step()
        done = [*NAMES[: NAMES.index(me.step)]]
        as_it_was = state["trail"] == done == data.get("done", [])
        report(f"{me.run_id} {NAMES.index(me.step)} {'as it was' if as_it_was else 'changed'}\n")
        state["trail"].append(me.step)
        data["done"] = [*done, me.step]
        if random.random() < 0.5 and me.attempt % 4:  # noqa: S311 - no secret
            raise ConnectionError
        if me.step in ASKS and me.step not in state:
            raise Pause(f"{me.step} waits")

    async def awork(state: dict[str, Any], data: dict[str, Any]) -> None:
        await asyncio.sleep(0.001)
        work(state, data)

    for name in NAMES:
        cp.add_step(name=name, retry=AT_ONCE)(awork if name in {"a", "e"} else work)
    return cp


async def live(cp: CheckpointFlow) -> None:
    """Execute all runs until they have finished."""
    states: dict[str, dict[str, Any]] = {run_id: {"trail": []} for run_id in IDS}
    while results := [one async for one in cp.amap(states, once=True) if one.status != "finished"]:
        for result in results:
            await report_one(cp, result)


async def report_one(cp: CheckpointFlow, result: RunResult) -> None:
    """Resume a paused run with its update."""
    header = await cp.aheader(result.run_id)
    if header is not None and header.status == "paused":
        try:
            await cp.arun(run_id=result.run_id, update={header.next_step or "": True})
        except ConnectionError:
            return


def kill_one(place: str, effects: int, longest: float) -> bool:
    """Start a child, and kill it within so many seconds, if it has not come to the end by then."""
    child = os.fork()
    if child == 0:
        random.seed()
        cp = make_flow(place, lambda line: os.write(effects, line.encode()))
        asyncio.run(live(cp))
        os._exit(0)
    time.sleep(random.uniform(0.01, longest))  # noqa: S311 - no secret
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def wrong_in(header: Header, state: dict[str, Any]) -> bool:
    """Whether a header is wrong, or the state is not that of a step boundary."""
    done = len(NAMES) if header.finished else header.position
    status, failure = header.status, header.failure
    truths = (
        state["trail"] == [*NAMES[:done]],
        state.keys() & ASKS >= ASKS & {*NAMES[:done]},
        header.pause is not None or status != "paused",
        # A pause stays while its step runs again without an answer.
        header.pause in {None, f"{header.next_step} waits"},
        failure is None or (failure.step == header.next_step and status in {"running", "failed"}),
        status in {"running", "failed", "paused", "finished"},
    )
    return not all(truths)


def look(place: str) -> tuple[list[str], bool]:
    """Return the errors in the stored snapshots, and whether all have finished."""
    cp = make_flow(place, print)
    headers = cp.runs()
    wrong = [f"{one}" for one in headers if wrong_in(one, cp.read(one.run_id))]
    close = getattr(cp.handler, "close", None)
    if close is not None:
        close()
    return wrong, [one.finished for one in headers] == [True] * len(IDS)


def main(place: str, seed: str) -> None:
    """Kill children until one comes to the end."""
    log = Path(place.rstrip("/")).with_suffix(".log")
    effects = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    random.seed(seed)
    kills, ended = 0, False
    for number in itertools.count():
        kills += kill_one(place, effects, LONGEST * (1 + number / 2))
        if not Path(place).exists():
            continue
        child = os.fork()  # so that this process has no thread at the next fork
        if child == 0:
            wrong, ended = look(place)
            print(*wrong, sep="\n", end="\n" if wrong else "", flush=True)  # noqa: T201
            os._exit(ended)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
        if ended:
            break
    print(kills)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
