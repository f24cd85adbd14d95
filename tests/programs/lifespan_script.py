"""A service whose lifespan is the block of a flow: `uvicorn lifespan_script:make_app --factory`.

The environment has the folder PLACE: "runs.db" is the database, each step that ends is a line of
"effects", and step b ends once there is a file "free".
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from aiocheckpoint import CheckpointFlow, DrainingError, current_step

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

State = dict[str, Any]


class Service:
    """The flow, and what the service does with it."""

    def __init__(self, place: Path) -> None:
        """Make the flow."""
        self.place = place
        self.cp = CheckpointFlow(place / "runs.db", "sqlite", name="runs", fsync=False)
        self.entered: dict[str | None, asyncio.Event] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        for name in "abc":
            self.cp.add_step(name=name)(self.step)

    async def step(self, state: State) -> None:
        """Do one step, and wait in b."""
        current = current_step()
        if current.step == "b":
            self.entered.setdefault(current.run_id, asyncio.Event()).set()
            while not (self.place / "free").exists():  # noqa: ASYNC110 - set by a test
                await asyncio.sleep(0.01)
        with (self.place / "effects").open("a", encoding="ascii") as file:
            file.write(f"{current.run_id} {current.step}\n")
        state["trail"] = [*state.get("trail", ()), current.step]

    async def begin(self, run_id: str) -> int:
        """Begin a run, and answer with the process that runs it when it is in step b."""
        task = asyncio.create_task(self.run(run_id))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        await self.entered.setdefault(run_id, asyncio.Event()).wait()
        return os.getpid()

    async def run(self, run_id: str) -> None:
        """Run, until the flow is drained."""
        with suppress(DrainingError):
            await self.cp.arun({}, run_id=run_id)

    async def look(self, run_id: str) -> str | None:
        """Answer with the status of a run."""
        header = await self.cp.aheader(run_id)
        return None if header is None else header.status

    async def resume(self) -> None:
        """Resume the runs of the processes before."""
        with suppress(DrainingError):
            await self.cp.aresume_all()

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncGenerator[None]:
        """Be open from the start of the server to its end."""
        async with self.cp:
            resuming = asyncio.create_task(self.resume())
            yield
        await resuming


def make_app(place: Path | None = None) -> FastAPI:
    """Make the application with its routes."""
    service = Service(place or Path(os.environ["PLACE"]))
    app = FastAPI(lifespan=service.lifespan)
    app.post("/runs/{run_id}")(service.begin)
    app.get("/runs/{run_id}")(service.look)
    return app
