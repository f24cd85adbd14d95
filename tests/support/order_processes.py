"""The order service of the examples and its payments, in real processes."""

from __future__ import annotations

import ast
import os
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from free_ports import find_port
from locations import ROOT

for package in ("fastapi", "uvicorn", "httpx"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[examples]'")
if sys.platform == "win32":
    pytest.skip("there is no SIGSTOP and no SIGTERM", allow_module_level=True)

import httpx  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["COMMANDS", "PATIENCE", "Service", "Shop", "Workers", "httpx", "open_shop"]

STORY = ast.get_docstring(ast.parse((ROOT / "examples" / "order_service.py").read_text("utf-8")))
COMMANDS: list[str] = re.findall(r"^ +((?:python|curl) .+?)(?: &)?$", STORY or "", re.MULTILINE)
PATIENCE = 60.0


@dataclass
class Service:
    """A program of the examples that listens, started by the command in the story.

    Attributes:
        arguments: Its command line: the script, the folder, and ports.
        place: The directory to start it in, where its log is written as well.
        process: The current process.
    """

    arguments: list[str]
    place: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.arguments[2])

    @property
    def command(self) -> list[str]:
        """The command that starts it."""
        script, *rest = self.arguments
        return [sys.executable, str(ROOT / script), *rest]

    @property
    def log(self) -> Path:
        """The output of all its lives."""
        return self.place / f"{Path(self.arguments[0]).stem}.log"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.place,
                env=environment,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + PATIENCE
        while not self._listens():
            assert self.process.poll() is None, self.log.read_text("utf-8")
            assert time.monotonic() < deadline, "it never listened"
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill it, suspended or not."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def end(self) -> int:
        """Ask it to end, wait for that, and give its exit code."""
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(PATIENCE)
        self.process = None
        return code

    def restart(self) -> None:
        """Kill it, and start it again."""
        self.kill()
        self.start()

    def replace(self) -> None:
        """End it as a deploy does, and start the next."""
        assert self.end() == 0
        self.start()

    @contextmanager
    def suspended(self) -> Generator[None]:
        """Suspend it. The system still accepts its connections."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.resume()

    def resume(self) -> None:
        """Wake it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def _listens(self) -> bool:
        with closing(socket.socket()) as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0


@dataclass
class Workers(Service):
    """The order service in two processes on one port, started by uvicorn as in the story."""

    @property
    def command(self) -> list[str]:
        """The command that starts it."""
        _, folder, port, payments, *store = self.arguments
        line = next(line for line in (STORY or "").splitlines() if "uvicorn" in line)
        words = [{"8000": port, "examples": str(ROOT / "examples")}.get(w, w) for w in line.split()]
        settings = [f"SHOP={folder}", f"PAYMENTS=http://127.0.0.1:{payments}"]
        settings += [f"STORE={url}" for url in store[1:]]
        return ["env", *settings, sys.executable, "-m", *words]

    def workers(self) -> list[int]:
        """The ids of the processes that answer, without the tracker of their resources."""
        assert self.process is not None
        tasks = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        children = [int(child) for child in tasks.read_text().split()]
        return [one for one in children if b"spawn_main" in _command_of(one)]

    def kill(self) -> None:
        """Kill all of it: a worker outlives the process that started it."""
        if self.process is not None:
            for worker in self.workers():
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
        super().kill()


def _command_of(process: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes()
    return b""


@dataclass
class Shop:
    """The two services, started as in the story, with other folders and ports.

    Attributes:
        place: The directory that they are started in.
        in_workers: Whether the order service has two processes.
        store: The URL of the runs. None for the database in the folder.
        payments: The payment service.
        orders: The order service.
    """

    place: Path
    in_workers: bool = False
    store: str | None = None
    payments: Service = field(init=False)
    orders: Service = field(init=False)

    def __post_init__(self) -> None:
        """Start nothing yet."""
        ports = {"8000": str(find_port()), "8001": str(find_port())}
        lines = [shlex.split(line) for line in COMMANDS if line.startswith("python")]
        pay, order = ([ports.get(word, word) for word in words[1:]] for words in lines)
        self.payments = Service(pay, self.place)
        order += [] if self.store is None else ["--store", self.store]
        self.orders = (Workers if self.in_workers else Service)(order, self.place)

    @property
    def folder(self) -> Path:
        """The folder of both services."""
        return self.place / self.orders.arguments[1]

    def client(self, *, stays: bool = True) -> httpx.AsyncClient:
        """Make a client, which keeps its connections open if it `stays`."""
        limits = httpx.Limits(max_keepalive_connections=None if stays else 0)
        url = f"http://127.0.0.1:{self.orders.port}"
        return httpx.AsyncClient(base_url=url, timeout=PATIENCE, limits=limits)

    def rows(self, database: str, query: str) -> list[tuple[Any, ...]]:
        """Ask one of the databases."""
        with closing(sqlite3.connect(self.folder / database, timeout=PATIENCE)) as db, db:
            return db.execute(query).fetchall()

    def asked(self, order_id: str) -> list[int]:
        """The number of requests for each payment of an order."""
        rows = self.rows("payments.db", "SELECT order_id, asked FROM payments")
        return [asked for found, asked in rows if found == order_id]


@contextmanager
def open_shop(
    place: Path, *, in_workers: bool = False, store: str | None = None
) -> Generator[Shop]:
    """Give a shop with both services, killed at the end; their logs report no error."""
    shop = Shop(place, in_workers, store)
    services = (shop.payments, shop.orders)
    try:
        for service in services:
            service.start()
        yield shop
    finally:
        for service in services:
            service.kill()
    logs = [service.log.read_text("utf-8") for service in services]
    assert not [log for log in logs if "Traceback" in log or "ERROR" in log], logs
