"""A process of a service during a deploy, of this release or of 0.5.0, whichever is imported.

    python deploy_script.py serve PLACE LOG RUNS LIFE fsync|no-fsync
    python deploy_script.py list PLACE

The service resumes what nobody owns, then answers the requests for all runs. Some runs break once,
and some wait for an answer. SIGTERM drains it. LOG has the order of events in all processes, in
lines that are written in one piece each:

    begin RUN STEP LIFE     a step begins, in the process that is the LIFE-th
    break RUN STEP LIFE     it raises an exception, or pauses the run
    end RUN STEP LIFE       it ends
    ack RUN STEP LIFE       its snapshot was acknowledged
    up - - LIFE             the process serves
    kill - - LIFE           it is about to be killed
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from killed_workers_script import STEPS, first_state, last_state, open_log, run_id

import aiocheckpoint
from aiocheckpoint import (
    CheckpointFlow,
    DrainingError,
    InvalidValueError,
    Pause,
    RunInProgressError,
    StorageError,
    current_step,
)
from aiocheckpoint.events import SnapshotWritten, StepFinished

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint.events import Event

SYNC = {"b", "d"}
BREAKS = "c"
PAUSES = "d"
EVERY_BREAK = 5
EVERY_PAUSE = 7
AT_ONCE = 6
LONGEST_STEP = 0.08


class BankError(Exception):
    """A step breaks."""


class Service:
    """The flow of one process, which writes down what happens.

    Args:
        place: Its store.
        log: The log that all processes share.
        life: The number of this process.
        fsync: Whether snapshots are flushed.
    """

    def __init__(self, place: str, log: Path, life: str, *, fsync: bool) -> None:
        self._log, self._life, self._write = log, life, open_log(log)
        self._ended = dict[str, str]()
        self.flow = CheckpointFlow(place, name="deploy", hooks=[self._watch], fsync=fsync)
        for name in STEPS:
            self.flow.add_step(name=name)(self._make_step(name))

    def _note(self, *words: str) -> None:
        self._write(" ".join((*words, self._life)))

    def _watch(self, event: Event) -> None:
        """Note acknowledgements. The snapshot of a start belongs to no step."""
        run = str(event.run_id)
        if isinstance(event, StepFinished):
            self._ended[run] = event.step
        elif isinstance(event, SnapshotWritten) and run in self._ended:
            self._note("ack", run, self._ended.pop(run))

    def _make_step(self, name: str) -> Callable[..., Any]:
        def begin(state: dict[str, Any]) -> float:
            number = state["number"]
            self._note("begin", run_id(number), name)
            if name == BREAKS and number % EVERY_BREAK == 0 and self._is_first(number):
                self._note("break", run_id(number), name)
                raise BankError
            if name == PAUSES and number % EVERY_PAUSE == 0 and "by" not in state:
                self._note("break", run_id(number), name)
                raise Pause("who pays?")
            state["trail"].append(f"{name} {number}")
            assert current_step().run_id == run_id(number)
            return random.random() * LONGEST_STEP  # noqa: S311 - no secret

        def sync(state: dict[str, Any]) -> None:
            time.sleep(begin(state))
            self._note("end", run_id(state["number"]), name)

        async def coroutine(state: dict[str, Any]) -> None:
            await asyncio.sleep(begin(state))
            self._note("end", run_id(state["number"]), name)

        return sync if name in SYNC else coroutine

    def _is_first(self, number: int) -> bool:
        """Whether the step of this run has never broken."""
        try:
            self._log.with_name(f"broke-{number}").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    async def serve(self, runs: int) -> None:
        """Resume unowned runs, then answer the requests, until all are done or the flow drains."""
        loop = asyncio.get_running_loop()
        drains = list[asyncio.Task[Any]]()

        def drain() -> None:
            drains.append(loop.create_task(self.flow.adrain(20)))

        loop.add_signal_handler(signal.SIGTERM, drain)
        self._note("up", "-", "-")
        try:
            async for result in self.flow.aresume_all(limit=AT_ONCE):
                if not isinstance(result.error, (BankError, DrainingError, type(None))):
                    raise result.error
        except DrainingError:
            return
        turns = asyncio.Semaphore(AT_ONCE)
        numbers = random.sample(range(runs), runs)
        await asyncio.gather(*(self._answer(number, turns) for number in numbers))

    async def _answer(self, number: int, turns: asyncio.Semaphore) -> None:
        """Ask for a run until it is done. Another process may be at it, too."""
        async with turns:
            while True:
                try:
                    state = await self.flow.arun(
                        first_state(number), run_id=run_id(number), once=True
                    )
                    header = await self.flow.aheader(run_id(number))
                    assert header is not None
                    if header.status == "finished":
                        assert [*state["trail"]] == last_state(number)["trail"]
                        return
                    await self.flow.arun(run_id=run_id(number), update={"by": "Ann"})
                except (BankError, InvalidValueError):
                    continue  # The last: another process has given the answer.
                except RunInProgressError:
                    await asyncio.sleep(0.05)
                except StorageError:
                    # It reads the state again, once a pause is stored and the run is free.
                    assert aiocheckpoint.__version__ == "0.5.0"
                except DrainingError:
                    return


def main(how: str, place: str, *words: str) -> None:
    """Serve, or list all runs with their states as JSON."""
    if how == "list":
        cp = CheckpointFlow(place, name="deploy")
        found = [(one.run_id, one.status, one.number, cp.read(one.run_id)) for one in cp.runs()]
        sys.stdout.write(json.dumps(sorted(found)))
        return
    log, runs, life, durable = words
    random.seed(life)
    logging.getLogger("aiocheckpoint").setLevel(logging.ERROR)
    service = Service(place, Path(log), life, fsync=durable == "fsync")
    asyncio.run(service.serve(int(runs)))


if __name__ == "__main__":
    main(*sys.argv[1:])
