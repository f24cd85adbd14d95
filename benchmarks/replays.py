"""Time of repeated requests: of a finished run, and of the calls that wait for one run.

    python benchmarks/replays.py [--rounds N] [--replays N] [--waiting N] [--directory DIR]
                                 [--no-http] [--json FILE]

A finished order is placed again, so many times by 20 connections, at examples/order_service.py in a
process of its own. The same number of requests for a path that does not exist shows what HTTP
costs. It needs the extra "examples".

So many calls wait for one run under `once=True`. Their time is that from the end of the run's step
to the result of the last call, beside bare tasks that wait for an `asyncio.Event`. Another run does
steps beside the waiting calls, and then beside calls that are woken. The figures are the median of
its steps, with nothing beside it as the base.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import json
import random
import socket
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure.pairs import Contender, Goal, Pair, Report, measure, parser
from workloads.flows import database, workplace

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Generator

EXAMPLES = Path(__file__).parent.parent / "examples"
CONNECTIONS, STEPS, PATIENCE = 20, 50, 60.0
ORDER = {"id": "order-1", "item": "lamp", "quantity": 2}
_NUMBERS = itertools.count()


class Crowd:
    """Calls that wait for one run, and another run beside them.

    Args:
        directory: Where the database is.
        calls: How many calls wait.

    Attributes:
        beside: Milliseconds of a step of the other run while the calls wait, by round.
        among: The same while they are woken.
    """

    def __init__(self, directory: Path, calls: int) -> None:
        self.beside, self.among = list[float](), list[float]()
        self._calls = calls
        self._cp = CheckpointFlow(database(directory, "waiting"))
        self._cp.add_step(name="hold")(self._hold)
        self._other = CheckpointFlow(database(directory, "waiting"), name="beside")
        for number in range(STEPS):
            self._other.add_step(name=f"step-{number}")(self._tick)
        self._begun = self._free = asyncio.Event()
        self._times = list[float]()

    def woken(self) -> float:
        """Give the milliseconds from the end of the step to the last result."""
        return asyncio.run(self._woken()) * 1e3

    def bare(self) -> float:
        """Give the same for bare tasks."""
        return asyncio.run(self._bare()) * 1e3

    def step_beside(self) -> float:
        """Give the milliseconds of a step beside the calls that waited in this round."""
        return self.beside[-1]

    def step_among(self) -> float:
        """Give the milliseconds of a step beside the calls that were woken in this round."""
        return self.among[-1]

    def step_alone(self) -> float:
        """Give the milliseconds of a step with nothing beside it."""
        return asyncio.run(self._steps())

    async def _hold(self, state: dict[str, Any]) -> None:
        self._begun.set()
        await self._free.wait()
        state["done"] = True

    async def _tick(self, _: dict[str, Any]) -> None:
        self._times.append(time.perf_counter())

    async def _steps(self) -> float:
        """Run the other run and give the median of its steps."""
        self._times.clear()
        await self._other.arun({}, run_id=f"beside-{next(_NUMBERS)}")
        pairs = itertools.pairwise(self._times)
        return statistics.median(after - before for before, after in pairs) * 1e3

    async def _call(self, run_id: str) -> float:
        state = await self._cp.arun({"n": 1}, run_id=run_id, once=True, wait=PATIENCE)
        assert state["done"]
        return time.perf_counter()

    async def _woken(self) -> float:
        self._begun, self._free = asyncio.Event(), asyncio.Event()
        run_id = f"waiting-{next(_NUMBERS)}"
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(self._call(run_id))]
            await self._begun.wait()
            calls += [group.create_task(self._call(run_id)) for _ in range(self._calls)]
            await asyncio.sleep(0.2)  # until all of them wait
            self.beside.append(await self._steps())
            beside = group.create_task(self._steps())
            await asyncio.sleep(0.005)
            ended = time.perf_counter()
            self._free.set()
        self.among.append(beside.result())
        return max(call.result() for call in calls) - ended

    async def _bare(self) -> float:
        free = asyncio.Event()

        async def wait() -> float:
            await free.wait()
            return time.perf_counter()

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(wait()) for _ in range(self._calls)]
            await asyncio.sleep(0)
            ended = time.perf_counter()
            free.set()
        return max(task.result() for task in tasks) - ended


class Service:
    """The order service and its payments, in processes of their own.

    Args:
        folder: Where both store.
        requests: How many requests a sample has.
    """

    def __init__(self, folder: Path, requests: int) -> None:
        self._requests = requests
        self._folder, self._port, self._payments = folder, _free_port(), _free_port()

    @contextmanager
    def running(self) -> Generator[None, None, None]:
        """Run both, with one order that is finished, for the time of a `with` block."""
        with ExitStack() as stack:
            for script, *ports in (
                ("payment_service.py", self._payments),
                ("order_service.py", self._port, self._payments),
            ):
                command = [
                    sys.executable,
                    str(EXAMPLES / script),
                    *map(str, (self._folder, *ports)),
                ]
                process = stack.enter_context(
                    subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                )
                stack.callback(process.kill)
                _wait_for(ports[0], process)
            assert asyncio.run(self._ask(_post(ORDER), 1)) == {200}
            yield

    def replays(self) -> float:
        """Give the milliseconds of all requests for the finished order."""
        return self._timed(_post(ORDER), 200)

    def bare(self) -> float:
        """Give the milliseconds of as many requests for nothing."""
        return self._timed(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404)

    def _timed(self, request: bytes, expected: int) -> float:
        begun = time.perf_counter()
        answers = asyncio.run(self._ask(request, self._requests))
        assert answers == {expected}, answers
        return (time.perf_counter() - begun) * 1e3

    async def _ask(self, request: bytes, times: int) -> set[int]:
        left = iter(range(times))

        async def ask() -> set[int]:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            with closing(writer):
                return {await _answer(reader, writer, request) for _ in left}

        found = await asyncio.gather(*(ask() for _ in range(min(CONNECTIONS, times))))
        return set().union(*found)


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> int:
    """Send a request, and give the status of its answer."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = head.partition("content-length:")[2].split(maxsplit=1)[0]
    await reader.readexactly(int(length))
    return int(head.split(maxsplit=2)[1])


def _post(order: dict[str, Any]) -> bytes:
    body = json.dumps(order).encode()
    lines = (
        "POST /orders HTTP/1.1",
        "Host: x",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join([*lines, "", ""]).encode() + body


def _free_port() -> int:
    """Find a free port outside the range that the system gives to clients."""
    while True:
        port = random.SystemRandom().randrange(15_000, 32_000)
        with closing(socket.socket()) as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        with closing(socket.socket()) as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port}: pip install 'aiocheckpoint[examples]'")


def _pairs(crowd: Crowd, calls: int) -> list[Pair]:
    alone = Contender("step of a run, alone", crowd.step_alone)
    woken = Contender(f"{calls} calls woken", crowd.woken)
    return [
        Pair(woken, Contender("bare tasks woken", crowd.bare), "ms"),
        Pair(Contender(f"step beside {calls} waiting calls", crowd.step_beside), alone, "ms"),
        Pair(Contender(f"step beside {calls} woken calls", crowd.step_among), alone, "ms"),
    ]


def main() -> None:
    """Measure, print, and write the JSON if asked to."""
    made = parser("Time of repeated requests.", rounds=9)
    made.add_argument("--replays", type=int, default=200, help="requests for a finished order")
    made.add_argument("--waiting", type=int, default=400, help="calls that wait for one run")
    made.add_argument("--directory", type=Path, help="where to write; the system's temporary one")
    made.add_argument("--no-http", action="store_true", help="leave the service out")
    arguments = made.parse_args()
    notes = list[str]()
    with ExitStack() as stack:
        directory, _ = stack.enter_context(workplace(arguments.directory))
        pairs = _pairs(Crowd(directory, arguments.waiting), arguments.waiting)
        if importlib.util.find_spec("fastapi") is None:
            notes.append("fastapi is not installed, so the service is left out.")
        elif not arguments.no_http:
            service = Service(directory / "shop", arguments.replays)
            stack.enter_context(service.running())
            name = f"{arguments.replays} replays by HTTP"
            bare = Contender("requests for nothing", service.bare)
            pairs.append(Pair(Contender(name, service.replays), bare, "ms"))
        measure(pairs, arguments.rounds)
        figures = {pair.subject.name: ("ms", pair.subject_samples) for pair in pairs}
        limits = (200.0, 2.0, 2.0, 500.0)
        goals = dict(zip(figures, map(Goal, limits), strict=False))
        figures = {name: figures[name] for name in goals}
        workload = f"{arguments.waiting} calls that wait, {arguments.replays} replays"
        Report(workload, pairs, directory, {}, figures, notes, goals).finish(arguments.json)


if __name__ == "__main__":
    main()
