"""A second server that streams from a first one, and can be promoted to take its place."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from postgres_server import SETTINGS, PostgresServer
from unprivileged import execute, server_folder

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def standby(primary: PostgresServer) -> Generator[PostgresServer]:
    """Give a running standby, which has every commit of the primary before it is acknowledged.

    The primary is told to wait for it with each commit: without that, a failover loses the last
    commits that were acknowledged.
    """
    with server_folder() as folder:
        server = PostgresServer(folder, primary.programs)
        words = ["-d", primary.url(), "-c", "fast", "-R", "--no-sync"]
        execute([primary.programs / "pg_basebackup", "-D", server.data, *words], folder)
        server.configure(
            **{**SETTINGS, "port": server.port, "unix_socket_directories": folder},
            primary_conninfo=f"host=127.0.0.1 port={primary.port} user=postgres",
        )
        try:
            server.start()
            primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
            primary.reload()
            yield server
        finally:
            server.stop("immediate")


def promote(server: PostgresServer) -> None:
    """Make a standby a primary, and wait until it takes writes."""
    server.sql("SELECT pg_promote(wait => true)")


def fail_over_url(first: PostgresServer, second: PostgresServer, database: str = "postgres") -> str:
    """Return the URL of a database on whichever of two servers takes writes."""
    hosts = f"127.0.0.1:{first.port},127.0.0.1:{second.port}"
    return first.url(database, host=hosts, target_session_attrs="read-write")
