"""Runs on an object store beside the least that their steps can cost: puts of as many bytes."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from measure.pairs import Contender, Goal, Pair

from workloads.crowd import Crowd
from workloads.flows import counting_run
from workloads.timed_runs import AsyncRuns, Timer

if TYPE_CHECKING:
    from collections.abc import Generator

    from obstore.store import S3Store

__all__ = ["BarePuts", "object_pairs", "object_store"]

STEPS, ONE_RUN_STEPS = 10, 50
_SUPPORT = Path(__file__).parents[2] / "tests" / "support"


@contextmanager
def object_store() -> Generator[tuple[str, S3Store], None, None]:
    """Start the server of the tests, and give the URL of a folder and its bucket.

    The environment has the credentials from then on.
    """
    sys.path.append(str(_SUPPORT))
    servers: Any = import_module("object_server")
    os.environ.update(servers.ADMIN.environment)
    with servers.object_server() as server:
        bucket = server.create_bucket()
        yield server.url(bucket, "work"), server.store(bucket)


class BarePuts:
    """Puts objects of a size, without a condition or under one, as coroutines of obstore.

    Args:
        store: The bucket.
        size: How many bytes an object has.
    """

    def __init__(self, store: S3Store, size: int) -> None:
        self._store, self._size = store, size
        self._numbers = itertools.count()

    async def rate(self, at_once: int, times: int) -> float:
        """Put objects, each so many times, and give how many puts there are in a second."""
        begun = time.perf_counter()
        await asyncio.gather(*(self._put_often(times) for _ in range(at_once)))
        return at_once * times / (time.perf_counter() - begun)

    async def microseconds(self, times: int) -> float:
        """Replace an object under its ETag so many times, and give the time of one."""
        key = f"bare/{next(self._numbers)}"
        stored = await self._put(key, "create")
        begun = time.perf_counter()
        for _ in range(times):
            stored = await self._put(key, {"e_tag": stored["e_tag"]})
        return (time.perf_counter() - begun) * 1e6 / times

    async def _put_often(self, times: int) -> None:
        key = f"bare/{next(self._numbers)}"
        for _ in range(times):
            await self._put(key, "overwrite")

    async def _put(self, key: str, mode: Any) -> Any:  # noqa: ANN401 - as obstore has them
        return await obstore.put_async(
            self._store, key, os.urandom(self._size), mode=mode, use_multipart=False
        )


def object_pairs(
    url: str, store: S3Store, size: int, runner: asyncio.Runner, runs: int
) -> list[Pair]:
    """Give the runs of a bucket beside bare puts, to be measured in turns.

    Args:
        url: The URL of a folder in the bucket.
        store: The same bucket, of which "bare/" is used.
        size: The bytes of a run's object behind a step.
        runner: Has the loop.
        runs: How many runs there are at once.
    """
    bare = BarePuts(store, size)
    crowd = Crowd(runner, runs, STEPS, counting_run(url, STEPS, connections=runs))
    timer = Timer(url, ONE_RUN_STEPS, AsyncRuns(runner))
    return [
        Pair(
            Contender(f"on an object store, {runs} runs", crowd.sample),
            Contender(f"bare puts, {runs} at once", lambda: runner.run(bare.rate(runs, STEPS))),
            "1/s",
            Goal(0.7, at_least=True),
        ),
        Pair(
            Contender("one run on an object store, step", timer.sample),
            Contender("one conditional put", lambda: runner.run(bare.microseconds(ONE_RUN_STEPS))),
            "µs",
            Goal(1.3),
        ),
    ]
