"""Queue runs in a process that is killed: by a test, or by itself behind the call.

    python submit_script.py PLACE COUNT METHOD

METHOD is "submit" or "asubmit" for many runs at once, or "single" for many calls of `asubmit`. It
prints "begun", and "stored" behind the call, and waits for its end.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from aiocheckpoint import CheckpointFlow


def make_flow(place: str) -> CheckpointFlow:
    """Make the flow whose runs are queued."""
    cp = CheckpointFlow(place, name="queue")
    cp.add_step(name="work")(work)
    return cp


def work(state: dict[str, Any]) -> None:
    """Do the work of a run."""
    state["done"] = True


def state_of(number: int) -> dict[str, Any]:
    """Make the state of a run, as large as its number."""
    return {"number": number, "text": "x" * (number % 7 * 1000)}


async def submit_each(cp: CheckpointFlow, pairs: dict[str, dict[str, Any]]) -> None:
    """Queue each run by a call of its own, all at once."""
    await asyncio.gather(*(cp.asubmit(state, run_id=run_id) for run_id, state in pairs.items()))


def say(word: str) -> None:
    """Print a word at once."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main() -> None:
    """Queue the runs."""
    place, count, method = sys.argv[1:]
    cp = make_flow(place)
    pairs = {f"run-{number}": state_of(number) for number in range(int(count))}
    say("begun")
    if method == "submit":
        cp.submit(pairs)
    elif method == "asubmit":
        asyncio.run(cp.asubmit(pairs))
    else:
        asyncio.run(submit_each(cp, pairs))
    say("stored")
    time.sleep(600)


if __name__ == "__main__":
    main()
