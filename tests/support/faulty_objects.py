"""Faults of an object store for the conformance checks, and looks into its objects."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import obstore
from object_proxy import Fault

from aiocheckpoint import open_handler
from aiocheckpoint.testing import Faults

if TYPE_CHECKING:
    from collections.abc import Callable

    from object_proxy import ObjectProxy
    from object_server import ObjectServer

    from aiocheckpoint import StateHandler

FLOW = "checked"
PREFIX = "work"
_OF_PROCESSES = ("owners/", "format", "probe-")
"""The objects that are there once for each process, or for the folder."""


@dataclass
class ObjectFaults(Faults):
    """The faults of a server of objects.

    Attributes:
        server: The server. It is killed, if the checks say so.
        bucket: The bucket.
        proxy: A proxy that all requests of the handlers go through, or None.
        threads: Threads that bring the server back.
    """

    server: ObjectServer
    bucket: str
    proxy: ObjectProxy | None = None
    threads: list[threading.Thread] = field(default_factory=list[threading.Thread])

    def steal(self, run_id: str | None) -> None:
        """Take owner and token from the object of a run."""
        store = self.server.store(self.bucket)
        key = run_key(run_id)
        line, end, rest = bytes(obstore.get(store, key).bytes()).partition(b"\n")
        head = {**json.loads(line), "owner": None, "token": 0, "write": "stolen"}
        obstore.put(store, key, json.dumps(head).encode() + end + rest)

    def rows(self) -> int:
        """Count the objects of runs."""
        return len(names(self.server, self.bucket))

    def outage(self, seconds: float) -> None:
        """Cut all connections and refuse new ones, for some time."""
        assert self.proxy is not None
        self.proxy.refuse()
        timer = threading.Timer(seconds, self.proxy.accept)
        self.threads.append(timer)
        timer.start()

    def lose_answer(self) -> None:
        """Lose the answer to the next change of a run."""
        assert self.proxy is not None
        self.proxy.inject(Fault.LOST, "PUT runs")

    def crash_store(self) -> None:
        """Kill the server, and start it again."""
        self.server.kill()
        self.server.start()

    def join(self) -> None:
        """Wait until the server is in reach."""
        for thread in self.threads:
            thread.join()


def names(server: ObjectServer, bucket: str) -> list[str]:
    """Return the names of the objects of runs, below the prefix."""
    pages = obstore.list(server.store(bucket), PREFIX)
    found = [item["path"].removeprefix(f"{PREFIX}/") for page in pages for item in page]
    return [name for name in found if not name.startswith(_OF_PROCESSES)]


def run_key(run_id: str | None, flow: str = FLOW) -> str:
    """Return the name of the object of a run with a plain, short id."""
    return f"{PREFIX}/flows/{flow}/runs/{'@' if run_id is None else quote(run_id, safe='')}"


def make_handler(url: str, **options: Any) -> StateHandler:  # noqa: ANN401
    """Make a handler of the flow that is checked."""
    made: StateHandler = open_handler(url, name=FLOW, **options)
    return made


def maker(url: str, **options: Any) -> Callable[[], StateHandler]:  # noqa: ANN401
    """Give a function that makes handlers, and can be sent to another process."""
    return partial(make_handler, url, **options)
