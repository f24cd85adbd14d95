"""A real PgBouncer in transaction mode, as Debian's package `pgbouncer` brings it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from free_ports import find_port
from unprivileged import as_server_user, server_folder

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from postgres_server import PostgresServer

PATIENCE = 60.0


def find_pgbouncer() -> str | None:
    """Find the program, which Debian keeps out of the path of ordinary users."""
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")


@dataclass
class PgBouncer:
    """A pooler before a server, which can be stopped and started again.

    Attributes:
        server: The server behind it.
        folder: The folder of its configuration and its log.
        settings: Its settings beside those of a pool of transactions.
        port: The port that it listens on.
    """

    server: PostgresServer
    folder: Path
    settings: dict[str, object]
    port: int = field(default_factory=find_port)
    _process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres", **params: str) -> str:
        """Return the URL of a database of the server behind it."""
        return self.server.url(database, host=f"127.0.0.1:{self.port}", **params)

    def start(self) -> None:
        """Start it, and wait until it listens."""
        program = find_pgbouncer()
        assert program is not None
        configuration = self.folder / "pgbouncer.ini"
        configuration.write_text(self._configuration(), "utf-8")
        with (self.folder / "pgbouncer.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, configuration],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                **as_server_user(),
            )
        deadline = time.monotonic() + PATIENCE
        while not self._listens():
            log_text = (self.folder / "pgbouncer.log").read_text("utf-8")
            assert self._process.poll() is None, log_text
            assert time.monotonic() < deadline, "the pooler did not start"
            time.sleep(0.01)

    def stop(self) -> None:
        """End it at once, with all its connections."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    def _configuration(self) -> str:
        settings: dict[str, object] = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": "transaction",
            "default_pool_size": 10,
            "max_client_conn": 200,
            **self.settings,
        }
        lines = [f"{name} = {value}" for name, value in settings.items()]
        # The star stands for each database of the server.
        target = f"* = host=127.0.0.1 port={self.server.port} user=postgres"
        return "\n".join(["[databases]", target, "[pgbouncer]", *lines, ""])

    def _listens(self) -> bool:
        with closing(socket.socket()) as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0


@contextmanager
def pgbouncer(server: PostgresServer, **settings: object) -> Generator[PgBouncer]:
    """Give a pooler before a server, which is ended afterwards."""
    with server_folder() as folder:
        pooler = PgBouncer(server, folder, settings)
        try:
            pooler.start()
            yield pooler
        finally:
            pooler.stop()
