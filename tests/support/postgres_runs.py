"""Flows of many runs on a PostgreSQL server, and looks into its tables without the library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import psycopg
from run_factories import Runs

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PostgresRuns", "execute"]


class PostgresRuns(Runs):
    """A factory whose flows have many runs on a server."""

    @classmethod
    def on(cls, url: str) -> PostgresRuns:
        """Make a factory with the URL of an empty schema."""
        return cls(cast("Path", url), kind="postgres")

    @property
    def url(self) -> str:
        """The URL."""
        return str(self.path)

    @property
    def options(self) -> dict[str, Any]:
        """The options of a flow on this store: none, as the scheme names the handler."""
        return {}


def execute(url: str, statement: str, *values: object) -> list[Any]:
    """Execute a statement in the schema of a URL, and return the rows, if it has any.

    Args:
        url: The URL, with `schema=`.
        statement: The statement, with %s for values.
        values: The values.
    """
    server, _, schema = url.partition("?schema=")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("SELECT set_config('search_path', %s, false)", (f'"{schema}"',))
        done = connection.execute(statement.encode(), values or None, binary=True)
        return [] if done.description is None else done.fetchall()
