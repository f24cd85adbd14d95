"""A worker of one version of a flow whose steps change from version to version.

    python versions_script.py PLACE LOG VERSION LIFE fsync|no-fsync

It works off the runs of the store until SIGTERM drains it. Some steps break once, and some pause
once. The first two processes keep some runs in a step until they end, so that later versions take
these over in the middle. LOG has the order of events in all processes, in lines that are written in
one piece each:

    up - - LIFE             the process works
    begin RUN STEP LIFE     a step begins, in the process that is the LIFE-th
    break RUN STEP LIFE     it raises an exception, or pauses the run
    end RUN STEP LIFE       it ends
    ack RUN STEP LIFE       its snapshot was acknowledged
    finish RUN - LIFE       the run finished
    kill - - LIFE           the process is about to be killed
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from killed_workers_script import open_log, run_id

from aiocheckpoint import CheckpointFlow, DrainingError, Pause
from aiocheckpoint.events import RunFinished, SnapshotWritten, StepFinished

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint.events import Event

STEPS = {
    1: ("fetch", "check", "pay", "pack", "mail"),
    2: ("fetch", "check", "reserve", "pay", "pack", "mail"),
    3: ("fetch", "check", "reserve", "charge", "mail"),
}
"""The steps of each version: one is added in the middle, then one is renamed and one removed."""
RENAMED = {"pay": "charge"}
SYNC = {"check", "charge", "mail"}
NAMED = {(1, 2, "pay"): "reserve", (1, 3, "pack"): "mail"}
"""Where a run goes on that the library alone would put to another step."""
BREAKS, EVERY_BREAK = "pay", 5
PAUSES, EVERY_PAUSE = "mail", 7
KEPT, EVERY_KEPT = {1: "check", 2: "pay"}, 5
"""The step in which a first process keeps a run, by the rest of the run's number. Behind a drain
`check` is done, and behind a kill `pay` is not. The library alone leaves out `reserve` then."""
FIRST = {"1", "2"}
AT_ONCE = 8
LONGEST_STEP = 0.1
BACKOFF = 0.05


class BankError(Exception):
    """A step breaks."""


def work_of(step: str) -> str:
    """The work that a step does, under whatever name."""
    return RENAMED.get(step, step)


def place(version: int, done: list[str]) -> int:
    """Where a run goes on in a version, behind the last step whose work is done."""
    works = [work_of(step) for step in STEPS[version]]
    return max(
        (works.index(work_of(step)) + 1 for step in done if work_of(step) in works), default=0
    )


def first_state(version: int, number: int) -> dict[str, Any]:
    """The state that a run is submitted with."""
    return {"number": number, "version": version, "trail": []}


class Worker:
    """The flow of one version, which writes down what happens.

    Args:
        place: Its store.
        version: Its version.
        log: The log that all processes share, or None for a flow that runs nothing.
        life: The number of this process.
        fsync: Whether snapshots are flushed.
    """

    def __init__(
        self, place: str, version: int, log: Path | None = None, life: str = "", *, fsync: bool
    ) -> None:
        self._version, self._log, self._life = version, log, life
        self._ended = dict[str, str]()
        self._drains = False
        self._write = print if log is None else open_log(log)
        self.flow = CheckpointFlow(
            place,
            name="orders",
            version=version,
            migrate=self._migrate,
            hooks=[self._watch],
            backoff=BACKOFF,
            fsync=fsync,
        )
        for name in STEPS[version]:
            self.flow.add_step(name=name)(self._make_step(name))

    def note(self, word: str, run: str, step: str) -> None:
        """Note a line."""
        self._write(f"{word} {run} {step} {self._life}")

    def _watch(self, event: Event) -> None:
        """Note acknowledgements. The snapshots of a start and of a pause belong to no step."""
        run = str(event.run_id)
        if isinstance(event, StepFinished):
            self._ended[run] = event.step
        elif isinstance(event, SnapshotWritten) and run in self._ended:
            self.note("ack", run, self._ended.pop(run))
        elif isinstance(event, RunFinished) and event.status == "finished":
            self.note("finish", run, "-")

    def _migrate(self, state: dict[str, Any], of: int) -> str | int | None:
        """Take a run on. The library finds most places itself."""
        assert of == state["version"] < self._version
        state["version"] = self._version
        done = [step for step, _ in state["trail"]]
        if state["number"] % 2:
            return place(self._version, done)
        return NAMED.get((of, self._version, STEPS[of][place(of, done)]))

    def _make_step(self, name: str) -> Callable[..., Any]:
        def begin(state: dict[str, Any]) -> float:
            number = state["number"]
            self.note("begin", run_id(number), name)
            assert state["version"] == self._version
            if number % EVERY_BREAK == 0 and work_of(name) == work_of(BREAKS):
                self._break_once(number, name, BankError())
            if number % EVERY_PAUSE == 0 and name == PAUSES:
                self._break_once(number, name, Pause("is it wrapped?", timedelta(0, BACKOFF)))
            state["trail"].append((name, self._version))
            return random.random() * LONGEST_STEP  # noqa: S311 - no secret

        def sync(state: dict[str, Any]) -> None:
            time.sleep(begin(state))
            while self._keeps(state["number"], name):
                time.sleep(0.01)
            self.note("end", run_id(state["number"]), name)

        async def coroutine(state: dict[str, Any]) -> None:
            await asyncio.sleep(begin(state))
            while self._keeps(state["number"], name):  # noqa: ASYNC110 (a loop is enough here)
                await asyncio.sleep(0.01)
            self.note("end", run_id(state["number"]), name)

        return sync if name in SYNC else coroutine

    def _keeps(self, number: int, name: str) -> bool:
        """Whether the run is to stay in that step until this process ends."""
        is_kept = self._life in FIRST and KEPT.get(number % EVERY_KEPT) == name
        return is_kept and not self._drains

    def _drain(self) -> None:
        self._drains = True
        self.flow.drain()

    def _break_once(self, number: int, name: str, error: BaseException) -> None:
        """Raise an exception, if the run has never raised it here, in any process."""
        assert self._log is not None
        with contextlib.suppress(FileExistsError):
            self._log.with_name(f"broke-{number}-{type(error).__name__}").touch(exist_ok=False)
            self.note("break", run_id(number), name)
            raise error

    async def work(self) -> None:
        """Work until the flow is drained."""
        loop = asyncio.get_running_loop()
        async with self.flow:
            loop.add_signal_handler(signal.SIGTERM, self._drain)
            self.note("up", "-", "-")
            async for result in self.flow.awork(limit=AT_ONCE):
                if not isinstance(result.error, (BankError, DrainingError, type(None))):
                    raise result.error


def main(place: str, log: str, version: str, life: str, durable: str) -> None:
    """Work."""
    random.seed(life)
    logging.getLogger("aiocheckpoint").setLevel(logging.CRITICAL)
    worker = Worker(place, int(version), Path(log), life, fsync=durable == "fsync")
    asyncio.run(worker.work())


if __name__ == "__main__":
    main(*sys.argv[1:])
