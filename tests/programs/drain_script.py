"""A service that runs some runs and drains when it gets SIGTERM; or the one after it.

Called as `python drain_script.py PLACE HANDLER EFFECTS serve`, which prints "held" when all runs
are in their second step, half of them in threads, and at the end what came out of each as JSON; or
with `resume` in place of `serve`, which prints the states that they end with. Each step that comes
to its end is a line of EFFECTS.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from aiocheckpoint import CheckpointFlow, current_step

State = dict[str, Any]

COUNT = 10


class Service:
    """The flow, and what its runs wait for."""

    def __init__(self, place: str, handler: str, effects: str) -> None:
        """Make it."""
        self.cp = CheckpointFlow(place, handler=handler, fsync=False)
        self.effects = Path(effects)
        self.entered = threading.Semaphore(0)
        self.free = threading.Event()
        for name in "abc":
            self.cp.add_step(name=name)(self.pass_by if name != "b" else self.wait)

    async def pass_by(self, state: State) -> None:
        """Be a step that does not wait."""
        self.note(state)

    def wait(self, state: State) -> Any:  # noqa: ANN401 - an awaitable or nothing
        """Wait on the loop or in a thread, depending on the run."""
        self.entered.release()
        if int(str(current_step().run_id)) % 2:
            return self.wait_on_loop(state)
        self.free.wait()
        return self.note(state)

    async def wait_on_loop(self, state: State) -> None:
        """Wait on the loop."""
        while not self.free.is_set():  # noqa: ASYNC110 - it is set by other threads' means
            await asyncio.sleep(0.001)
        self.note(state)

    def note(self, state: State) -> None:
        """Come to the end of a step."""
        step = current_step()
        with self.effects.open("a", encoding="ascii") as file:
            file.write(f"{step.run_id} {step.step}\n")
        state["trail"] = [*state.get("trail", ()), step.step]

    async def serve(self) -> dict[str, str]:
        """Run all until SIGTERM; let them go on only when the flow is being drained."""
        reported = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, reported.set)
        tasks = {str(n): asyncio.create_task(self.cp.arun({}, run_id=str(n))) for n in range(COUNT)}
        for _ in tasks:
            await asyncio.to_thread(self.entered.acquire)
        sys.stdout.write("held\n")
        sys.stdout.flush()
        await reported.wait()
        drain = asyncio.create_task(self.cp.adrain())
        await asyncio.sleep(0)
        self.free.set()
        assert await drain == []
        ended = await asyncio.gather(*tasks.values(), return_exceptions=True)
        return {run_id: type(one).__name__ for run_id, one in zip(tasks, ended, strict=True)}

    async def resume(self) -> dict[str | None, State | None]:
        """Finish what is left."""
        self.free.set()
        return {one.run_id: one.state for one in await self.cp.aresume_all()}


def main(place: str, handler: str, effects: str, how: str) -> None:
    """Do as the command line says."""
    service = Service(place, handler, effects)
    work = service.serve() if how == "serve" else service.resume()
    sys.stdout.write(json.dumps(asyncio.run(work)))


if __name__ == "__main__":
    main(*sys.argv[1:])
