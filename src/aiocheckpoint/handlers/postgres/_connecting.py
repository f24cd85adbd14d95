"""Connecting to a server: defaults of options, its version, and whether a pooler stands between."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import psycopg

from aiocheckpoint.handlers.postgres._errors import not_connected, old_server, translate_error
from aiocheckpoint.handlers.postgres._server_connection import Link, ServerConnection

if TYPE_CHECKING:
    from aiocheckpoint.handlers.postgres._url import ServerAddress

__all__ = ["LEAST_VERSION", "connect"]

LEAST_VERSION = 15
"""The oldest major version that receives fixes (https://www.postgresql.org/support/versioning/)."""

_DEFAULTS: dict[str, Any] = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "client_encoding": "UTF8",
    "fallback_application_name": "aiocheckpoint",
}
"""Options of libpq where the URL has no other value. A dead network is noticed within 10 s."""

_LONGEST_CONNECT = 5.0
"""Seconds for each host, unless the answer is to come sooner. libpq waits for two at least."""
_EXECUTIONS_BEFORE_PREPARING = 2
_reached: set[ServerAddress] = set()
"""The servers that this process has connected to."""


def connect(address: ServerAddress, *, writes: bool, seconds_to_answer: float) -> ServerConnection:
    """Connect to a server.

    Args:
        address: The server.
        writes: Whether the connection is to write. Of several hosts, one is then chosen that can.
        seconds_to_answer: See `ServerConnection`.

    Raises:
        StorageError: It refuses, or is too old. A `StoreUnreachableError` where it may be in reach
            later.
    """
    link = _linked(address, seconds_to_answer, writes=writes)
    try:
        _check_version(link, address)
        server = _server_connection(link, address, seconds_to_answer, writes=writes)
    except BaseException:
        link.close()
        raise
    _reached.add(address)
    return server


def _linked(address: ServerAddress, seconds_to_answer: float, *, writes: bool) -> Link:
    options: dict[str, Any] = {**_DEFAULTS, **address.options}
    options.setdefault("connect_timeout", round(min(_LONGEST_CONNECT, seconds_to_answer)))
    if writes:
        options.setdefault("target_session_attrs", "read-write")
    elif "," in (options.get("host") or options.get("hostaddr") or os.environ.get("PGHOST", "")):
        # A standby that is named first would not have what this process has just stored.
        options.setdefault("target_session_attrs", "primary")
    try:
        return Link.connect("", autocommit=True, prepare_threshold=None, **options)
    except psycopg.Error as error:
        failure = not_connected(error, address, first=address not in _reached)
    raise failure


def _check_version(link: Link, address: ServerAddress) -> None:
    major = link.info.server_version // 10_000
    if major < LEAST_VERSION:
        raise old_server(address, str(major), LEAST_VERSION)


def _server_connection(
    link: Link, address: ServerAddress, seconds_to_answer: float, *, writes: bool
) -> ServerConnection:
    """Find out whether a pooler stands between: it gives a process id of its own at the login."""
    try:
        (pid,) = link.execute("SELECT pg_backend_pid()").fetchone() or (0,)
    except psycopg.Error as error:
        failure = translate_error(error, address, "reading")
    else:
        is_pooled = pid != link.info.backend_pid
        link.prepare_threshold = None if is_pooled else _EXECUTIONS_BEFORE_PREPARING
        return ServerConnection(
            link, address, seconds_to_answer, is_pooled=is_pooled, writes=writes
        )
    raise failure
