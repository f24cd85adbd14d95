"""Steps that ask a pool of processes made in the first of them: `pool_in_step_script.py PATH POOL`.

Prints a JSON array for each answer: run, step, key in the step, and the worker's answers.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from aiocheckpoint import CheckpointFlow, OutsideStepError, current_step

POOLS: list[Any] = []


def ask(path: str) -> list[str]:
    """Ask for the current step, and in a run of this process again."""
    try:
        found = current_step().idempotency_key
    except OutsideStepError as error:
        found = str(error)
    inner = CheckpointFlow(f"{path}inner-{os.getpid()}.pkl", name="inner")
    inner.add_step(name="inner")(lambda state: state.update(step=current_step().step))
    return [found, inner.run({})["step"]]


def echo(key: str) -> str:
    """Give back the key that was passed on."""
    return key


def through_executor(path: str, kind: Any) -> tuple[list[str], str]:  # noqa: ANN401
    """Ask a `ProcessPoolExecutor`."""
    if not POOLS:
        POOLS.append(ProcessPoolExecutor(1, mp_context=kind))
    (pool,) = POOLS
    key = current_step().idempotency_key
    return pool.submit(ask, path).result(60), pool.submit(echo, key).result(60)


def through_pool(path: str, kind: Any) -> tuple[list[str], str]:  # noqa: ANN401
    """Ask a `multiprocessing.Pool`."""
    if not POOLS:
        POOLS.append(kind.Pool(1))
    (pool,) = POOLS
    key = current_step().idempotency_key
    return pool.apply(ask, (path,)), pool.apply(echo, (key,))


def main(path: str, pool: str) -> None:
    """Run two orders of two steps each."""
    name, _, method = pool.partition("-")
    call = {"executor": through_executor, "pool": through_pool}[name]
    cp = CheckpointFlow(path, name="orders")

    async def on_loop(state: dict[str, Any]) -> None:
        answer(state)

    def answer(state: dict[str, Any]) -> None:
        here = current_step()
        there, echoed = call(path, multiprocessing.get_context(method))
        line = json.dumps([here.run_id, here.step, here.idempotency_key, echoed, *there])
        sys.stdout.write(f"{line}\n")

    cp.add_step(name="on loop")(on_loop)
    cp.add_step(name="in thread")(answer)
    for run_id in ("order-1", "order-2"):
        asyncio.run(cp.arun({}, run_id=run_id))
    if name == "executor":
        POOLS[0].shutdown()
    else:
        POOLS[0].terminate()
        POOLS[0].join()


if __name__ == "__main__":
    main(*sys.argv[1:])
