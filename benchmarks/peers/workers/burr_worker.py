"""Runs an application of Burr's many times at once, see `rival_worker.py`.

The setup follows its documentation on persisting state. Each id has an asynchronous application.
It is loaded from the persister if its id is known, and saved after every action. All applications
share one persister, a connection of aiosqlite. The graph is built only once.
"""

import asyncio
from importlib import import_module
from itertools import pairwise
from typing import Any

from rival_worker import arguments, note, serve

PACKAGES = ("apache-burr", "aiosqlite")
CORE = import_module("burr.core")
PERSISTERS = import_module("burr.integrations.persisters.b_aiosqlite")


async def add_one(state: Any) -> Any:  # noqa: ANN401 - Burr's state
    """Do the least that changes the state."""
    note()
    return state.update(count=state["count"] + 1)


class Burr:
    """A graph of one action, many times, and the persister."""

    def __init__(self, persister: Any, steps: int) -> None:  # noqa: ANN401
        self._persister = persister
        self._names = [f"step_{number}" for number in range(steps)]
        action = CORE.action(reads=["count"], writes=["count"])(add_one)
        builder = CORE.GraphBuilder().with_actions(**dict.fromkeys(self._names, action))
        self._graph = builder.with_transitions(*pairwise(self._names)).build()

    async def run(self, run_id: str, state: dict[str, Any]) -> int:
        """Build the application and run it to its end."""
        builder = CORE.ApplicationBuilder().with_graph(self._graph)
        builder = builder.with_identifiers(app_id=run_id)
        builder = builder.initialize_from(
            self._persister,
            resume_at_next_action=True,
            default_state=state,
            default_entrypoint=self._names[0],
        )
        application = await builder.with_state_persister(self._persister).abuild()
        _, _, final = await application.arun(halt_after=[self._names[-1]])
        return int(final["count"])

    async def pragma(self, name: str) -> object:
        """Ask the persister's connection."""
        cursor = await self._persister.connection.execute(f"PRAGMA {name}")
        return (await cursor.fetchone())[0]


async def main() -> None:
    """Serve with a fresh database."""
    path, steps, state = arguments()
    async with PERSISTERS.AsyncSQLitePersister.from_values(db_path=path) as persister:
        await persister.initialize()
        await serve(Burr(persister, steps), PACKAGES, steps, state)


if __name__ == "__main__":
    asyncio.run(main())
