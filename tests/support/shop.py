"""A shop of orders in a module of its own, as the command line is given one."""

from __future__ import annotations

import importlib
import json
import sys
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from cli import Invoked, invoke

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from aiocheckpoint import CheckpointFlow, Header

__all__ = ["KINDS", "Shop", "make_shop"]

KINDS = {"database": "sqlite:///orders.db", "directory": "orders/", "file": "orders.pkl"}
"""The places of the three kinds of stores."""

_STORES = {"database": "orders.db", "directory": "orders/", "file": "orders.pkl"}
_NUMBERS = count()
_MODULE = """\
import asyncio
import os
import signal
import sys
import time

from aiocheckpoint import CheckpointFlow, Pause, Terminate

cp = CheckpointFlow({place!r}, name="orders"{options})


@cp.add_step()
def reserve(state):
    print("reserving")
    if state.get("writes"):
        os.write(1, b"from a program\\n")
    if "exits" in state:
        sys.exit(state["exits"])
    if state.get("sold out"):
        raise LookupError("sold out")


@cp.add_step()
def approve(state):
    if state.get("total", 0) > 100 and "by" not in state:
        raise Pause("approval")
    if state.get("hangs"):
        print("asking", flush=True)
        while not os.path.exists("answer"):
            time.sleep(0.01)


@cp.add_step()
async def charge(state):
    if state.get("fraud"):
        raise Terminate("fraud")
    if state.get("declined"):
        raise ValueError("declined")
    for number in state.get("signals", ()):
        signal.raise_signal(number)
    while state.get("blocks"):
        time.sleep(0.001)
    if state.get("waits"):
        print("charging", flush=True)
        await asyncio.sleep(600)
    for _ in range(20):  # The loop answers a signal within some rounds.
        await asyncio.sleep(0)


@cp.add_step()
def invoice(state):
    state["done"] = True
"""


@dataclass
class Shop:
    """A module with a flow, and what it stores.

    Attributes:
        folder: The folder of both.
        module: The name of the module.
        store: The bare store, as a target.
    """

    folder: Path
    module: str
    store: str

    @property
    def target(self) -> str:
        """The flow, as a target."""
        return f"{self.module}:cp"

    def flow(self) -> CheckpointFlow[Any]:
        """The flow, in this process."""
        sys.path.insert(0, str(self.folder))
        try:
            with chdir(self.folder):  # The path of the store is relative.
                module: Any = importlib.import_module(self.module)
        finally:
            sys.path.remove(str(self.folder))
        return cast("CheckpointFlow[Any]", module.cp)

    def does(self, command: str, *words: object, **options: Any) -> Invoked:  # noqa: ANN401
        """Call a command with the flow as its target."""
        return invoke(command, self.target, *words, cwd=self.folder, **options)

    def bare(self, command: str, *words: object, **options: Any) -> Invoked:  # noqa: ANN401
        """Call a command with the bare store as its target."""
        return invoke(command, self.store, *words, cwd=self.folder, **options)

    def run(self, run_id: str, code: int, **state: Any) -> None:  # noqa: ANN401
        """Run an order, which ends with an exit code."""
        assert self.does("run", run_id, "--state", json.dumps(state)).code == code

    def header(self, run_id: str | None) -> Header:
        """The stored header of an order."""
        header = self.flow().header(run_id)
        assert header is not None
        return header

    def status(self, run_id: str | None) -> str:
        """The stored status of an order."""
        return self.header(run_id).status


@contextmanager
def make_shop(
    folder: Path, kind: str = "database", options: str = "", *, url: str = ""
) -> Generator[Shop]:
    """Write the module of a shop, and close its store at the end.

    Args:
        folder: Where.
        kind: Of `KINDS`.
        options: Further options of the flow, as source, with a comma before them.
        url: The URL of a server, instead of a place of this kind.
    """
    module = f"shop_{next(_NUMBERS)}"  # Modules stay imported, so that no two have one name.
    options = options if url else f", fsync=False{options}"
    source = _MODULE.replace("{place!r}", repr(url or KINDS[kind])).replace("{options}", options)
    (folder / f"{module}.py").write_text(source)
    shop = Shop(folder, module, url or _STORES[kind])
    try:
        yield shop
    finally:
        if module in sys.modules:
            shop.flow().handler.close()
