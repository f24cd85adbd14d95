"""Sends steps to an engine: `steps_on_engines_script.py ENGINE FOLDER`. It prints "done"."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import sent_steps
from distributed import Client, LocalCluster
from loky import get_reusable_executor  # type: ignore[import-untyped]

from aiocheckpoint import CheckpointFlow


def loky_pool() -> Any:  # noqa: ANN401
    """Give the processes of loky, anew where they broke."""
    return get_reusable_executor(max_workers=2)


async def by_value(engine: Any, folder: Path) -> None:  # noqa: ANN401
    """Let lambdas be executed there, for 20 runs at once."""
    cp = CheckpointFlow(f"sqlite:///{folder}/runs.db", fsync=False)
    cp.add_step(lambda state: {"rows": range(state["n"])}, name="work", executor=engine)(
        lambda state, data: state.update(sum=sum(data["rows"]), process=os.getpid())
    )
    ended: dict[str | None, Any] = {}
    async with cp:
        async for one in cp.amap({f"order-{n}": {"n": n} for n in range(20)}, limit=20):
            assert one.error is None, one.error
            ended[one.run_id] = one.state
    assert {key: one["sum"] for key, one in ended.items()} == {
        f"order-{n}": sum(range(n)) for n in range(20)
    }
    assert os.getpid() not in {one["process"] for one in ended.values()}


async def killed(engine: Any, folder: Path) -> None:  # noqa: ANN401
    """Let the worker of a step be killed. Its run ends, at the first attempt."""
    cp = CheckpointFlow(folder / "runs/", fsync=False)
    cp.add_step(executor=engine)(sent_steps.die)
    async with cp:
        given = await cp.arun({"mark": str(folder / "mark")}, run_id="x")
    assert given["attempt"] == 1
    assert cp.handler.header("x").status == "finished"


def main(engine: str, folder: str) -> None:
    """Send the steps."""
    if engine == "loky":
        asyncio.run(by_value(loky_pool, Path(folder)))
        asyncio.run(killed(loky_pool, Path(folder)))
    else:
        with (
            LocalCluster(  # type: ignore[no-untyped-call]
                n_workers=2,
                threads_per_worker=1,
                dashboard_address=None,  # pyright: ignore[reportArgumentType]
            ) as cluster,
            Client(cluster) as client,  # type: ignore[no-untyped-call]
        ):
            executor = client.get_executor()
            asyncio.run(by_value(executor, Path(folder)))
            asyncio.run(killed(executor, Path(folder)))
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
