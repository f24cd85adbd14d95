"""Runs a workflow of DBOS's many times at once, see `rival_worker.py`.

The setup follows its documentation on workflows. A coroutine workflow awaits coroutine steps, each
workflow has an id of its own, and the system database is on SQLite, or at the URL that is given in
place of a path. All other settings are defaults, except that the log shows only warnings.
"""

import asyncio
from importlib import import_module
from typing import Any

from rival_worker import arguments, note, serve

PACKAGES = ("dbos", "SQLAlchemy")
MODULE = import_module("dbos")
DBOS = MODULE.DBOS


async def add_one(state: dict[str, Any]) -> dict[str, Any]:
    """Do the least that changes the state."""
    note()
    return state | {"count": state["count"] + 1}


class Workflows:
    """A workflow of one step, many times."""

    def __init__(self, dbos: Any, steps: int) -> None:  # noqa: ANN401
        self._dbos = dbos
        step = DBOS.step()(add_one)

        async def add_all(state: dict[str, Any]) -> dict[str, Any]:
            for _ in range(steps):
                state = await step(state)
            return state

        self._workflow = DBOS.workflow()(add_all)

    async def run(self, run_id: str, state: dict[str, Any]) -> int:
        """Call the workflow under an id."""
        with MODULE.SetWorkflowID(run_id):
            final = await self._workflow(state)
        return int(final["count"])


class WorkflowsOnSqlite(Workflows):
    """The same, on a database with pragmas."""

    async def pragma(self, name: str) -> object:
        """Ask a connection of the system database, whose engine has no public name."""
        with self._dbos._sys_db.engine.connect() as connection:  # noqa: SLF001
            return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


async def main() -> None:
    """Serve with a fresh database, or with that of a server."""
    path, steps, state = arguments()
    is_url = "://" in path
    config = {
        "name": "many-runs",
        "system_database_url": path if is_url else f"sqlite:///{path}",
        "log_level": "WARNING",
    }
    dbos = DBOS(config=config)
    workflows = Workflows(dbos, steps) if is_url else WorkflowsOnSqlite(dbos, steps)
    DBOS.launch()
    try:
        await serve(workflows, PACKAGES, steps, state)
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    asyncio.run(main())
