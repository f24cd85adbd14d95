"""Runs a graph of LangGraph's many times at once, see `rival_worker.py`.

The setup follows its documentation on persistence. The state is a TypedDict, the nodes come one
after the other, and all threads share one `AsyncSqliteSaver`. `durability="sync"` stores every step
before the next one begins, as aiocheckpoint and the other rivals do.
"""

import asyncio
from importlib import import_module
from itertools import pairwise
from typing import Any, TypedDict

from rival_worker import arguments, note, serve

PACKAGES = ("langgraph", "langgraph-checkpoint-sqlite", "aiosqlite")
GRAPH = import_module("langgraph.graph")
SAVERS = import_module("langgraph.checkpoint.sqlite.aio")


class State(TypedDict):
    """The state of `workloads.shapes.small_state`."""

    count: int
    name: str
    city: str
    ratio: float
    done: bool
    missing: None
    limits: list[int]
    sizes: dict[str, int]
    tags: list[str]
    checked_until: str


async def add_one(state: State) -> dict[str, int]:
    """Do the least that changes the state."""
    note()
    return {"count": state["count"] + 1}


class LangGraph:
    """A graph of one node, many times, and the saver."""

    def __init__(self, saver: Any, steps: int) -> None:  # noqa: ANN401
        self._saver = saver
        names = [f"step {number}" for number in range(steps)]
        builder = GRAPH.StateGraph(State)
        for name in names:
            builder.add_node(name, add_one)
        for source, target in pairwise([GRAPH.START, *names, GRAPH.END]):
            builder.add_edge(source, target)
        self._graph = builder.compile(checkpointer=saver)

    async def run(self, run_id: str, state: dict[str, Any]) -> int:
        """Invoke the graph on a thread of its own."""
        config = {"configurable": {"thread_id": run_id}}
        final = await self._graph.ainvoke(state, config, durability="sync")
        return int(final["count"])

    async def pragma(self, name: str) -> object:
        """Ask the saver's connection."""
        cursor = await self._saver.conn.execute(f"PRAGMA {name}")
        return (await cursor.fetchone())[0]


async def main() -> None:
    """Serve with a fresh database."""
    path, steps, state = arguments()
    async with SAVERS.AsyncSqliteSaver.from_conn_string(path) as saver:
        await serve(LangGraph(saver, steps), PACKAGES, steps, state)


if __name__ == "__main__":
    asyncio.run(main())
