"""Errors of psycopg and of the server: the library's error for each, without secrets.

Inside a session the server gives a SQLSTATE with each error
(https://www.postgresql.org/docs/current/errcodes-appendix.html). While a connection is being made,
libpq gives a text alone. The texts of a server may be in another language. A text that is not known
here is an error at once where this process has never reached the server, as most such texts then
name a mistake. Later it means that the server is out of reach.
"""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING

import psycopg

from aiocheckpoint.errors import StorageError, StoreUnreachableError

if TYPE_CHECKING:
    from aiocheckpoint.handlers.postgres._url import ServerAddress

__all__ = [
    "changed_facts",
    "foreign_tables",
    "missing_rights",
    "not_connected",
    "old_server",
    "translate_error",
]

_OUT_OF_REACH = frozenset(
    {
        "25006",  # read-only, as a standby is, or a primary that was demoted
        "25P03",  # this process stood still within a transaction
        "25P04",  # a transaction took longer than the server allows
        "40001",
        "40003",
        "40P01",
        "53300",
        "55P03",
        "57014",
        "57P01",
        "57P02",
        "57P03",
        "57P05",
    }
)
"""SQLSTATEs of a server that may answer soon, beside those of class 08."""

_OF_STATEMENT = frozenset({"40001", "40P01", "55P03", "57014"})
"""Those by which the server ends a statement, and keeps the connection."""

_DAMAGED = frozenset({"XX001", "XX002"})
_ERRNOS = {"53100": errno.ENOSPC, "53200": errno.ENOMEM, "58030": errno.EIO, "42501": errno.EACCES}
_ADVICE = {
    "53100": "The disk of the server is full: make space there, and run again.",
    "53200": "The server has too little memory for it: give it more, or keep large values in "
    "`data`, with a loader and a saver.",
    "42501": "Grant the rights that docs/postgres.md lists to this user, and run again.",
}
_NOT_AS_MADE = frozenset({"3F000", "42P01", "42703", "42883", "42P10"})

_WAITING = re.compile(
    "Connection refused|Connection reset|Connection timed out|No route to host|Host is down|"
    "Network is (?:unreachable|down)|Broken pipe|timeout expired|"
    "server closed the connection unexpectedly|the connection (?:is|was) (?:lost|closed)|"
    "could not (?:receive data from|send data to) server|SSL connection has been closed|"
    "SSL SYSCALL error|"
    "the database system is |too many (?:clients|connections)|connection slots are reserved|"
    "terminating connection|session is (?:not )?read-only|server is (?:not )?in hot standby|"
    "No such file or directory\n\tIs the server running|"
    "no more connections allowed|query_wait_timeout|server login has been failing|"
    "pgbouncer cannot connect|server (?:conn crashed|login failed)|client_login_timeout|"
    "login_rejected_by_admin"
)
"""Texts of libpq, of an English server and of PgBouncer for a server that may answer soon."""

_REMEDIES: dict[str, str] = {
    "25006|session is read-only": (
        "Unless it is a standby, set default_transaction_read_only = off for this user and this "
        "database."
    ),
    "57014": (
        "Unless an administrator has ended the statement, set a longer statement_timeout for this "
        "user and this database."
    ),
    "53300|too many (?:clients|connections)|connection slots are reserved": (
        "Raise max_connections, or the CONNECTION LIMIT of this user or this database, or use "
        "fewer processes."
    ),
}
"""SQLSTATEs and texts of a server that is out of reach by a setting, each with its remedy."""

_PREFIX = re.compile(
    r"\Aconnection (?:failed|is bad): (?:connection to server .*? failed: )?(?:FATAL: +)?"
)
_UNRESOLVED = re.compile("could not translate host name|failed to resolve host")

_MISTAKES: dict[str, str] = {
    "password authentication failed|no password supplied|SASL|SCRAM|authentication failed": (
        "The server refuses the user or the password. Correct them in the URL, in PGPASSWORD or in "
        "the password file, and run again."
    ),
    "pg_hba\\.conf|no PostgreSQL user name|role .* does not exist|not permitted to log in": (
        "The server does not let this user in from here. Correct the user, or ask the "
        "administrator for an entry in pg_hba.conf."
    ),
    "database .* does not exist|no such database": (
        "Correct the name of the database, or create it by CREATE DATABASE. The library makes "
        "tables, and no database."
    ),
    "permission denied for database": (
        "Let an administrator grant the right CONNECT on the database to this user."
    ),
    "invalid response to SSL negotiation|expected authentication request": (
        "No PostgreSQL server answers there. Correct the host and the port."
    ),
    _UNRESOLVED.pattern: (
        "The name of the host cannot be resolved. Correct it, or run again when the name service "
        "answers."
    ),
    "(?i)ssl|certificate|tls": (
        "The options sslmode=, sslrootcert=, sslcert= and sslkey= of the URL do not fit the server."
    ),
    "definition of service|service file": (
        "Correct the name of the service, or the service file that PGSERVICEFILE names."
    ),
}
"""Texts of libpq and of an English server for mistakes, each with its remedy."""


def not_connected(error: psycopg.Error, address: ServerAddress, *, first: bool) -> StorageError:
    """Give the library's error for a connection that could not be made.

    Args:
        error: The error of psycopg.
        address: The server.
        first: Whether this process has never connected to it.
    """
    text = address.without_secrets(str(error))
    problem = _PREFIX.sub("", _first_line(text))
    if isinstance(error, psycopg.errors.ConnectionTimeout) or _WAITING.search(text):
        return _unreachable(address, problem)
    advice = next((advice for words, advice in _MISTAKES.items() if re.search(words, text)), None)
    if not first and (advice is None or _UNRESOLVED.search(text)):
        return StoreUnreachableError(address.place, problem)
    return StorageError(
        address.place,
        f"connecting to {address.place} failed: {problem}. "
        f"{advice or 'Correct the URL or the server, and run again.'}",
    )


def translate_error(error: psycopg.Error, address: ServerAddress, doing: str) -> StorageError:
    """Give the library's error for one met over a connection, while `doing` something (a gerund).

    Args:
        error: The error of psycopg.
        address: The server.
        doing: The work, such as "writing".
    """
    code, place = error.sqlstate, address.place
    problem = _problem(error, address)
    if code is None and isinstance(error, psycopg.OperationalError):  # The connection was lost.
        return StoreUnreachableError(place, problem)
    if code is not None and (code in _OUT_OF_REACH or code.startswith("08")):
        unreachable = _unreachable(address, problem)
        unreachable.is_of_statement = code in _OF_STATEMENT
        return unreachable
    if code in _NOT_AS_MADE:
        return StorageError(
            place,
            f"{doing} {place} failed: its tables are missing, or not as this library makes them "
            f"({problem}). Run again to make missing ones, or restore them from a backup.",
        )
    if code in _DAMAGED:
        return StorageError(
            place,
            f"{doing} {place} failed: the database is damaged ({problem}). Ask its administrator.",
            damaged=True,
        )
    advice = _ADVICE.get(code or "", "Run again to resume from the stored state.")
    number = _ERRNOS.get(code or "")
    return StorageError(place, f"{doing} {place} failed: {problem}. {advice}", errno=number)


def foreign_tables(address: ServerAddress, names: list[str]) -> StorageError:
    """Give the error for a schema in which another program has tables of these names."""
    listed = ", ".join(names)
    return StorageError(
        address.place,
        f"the schema {address.schema!r} of {address.database} has tables of another program "
        f"({listed}), which were left as they are. Choose another schema, by schema=.",
        errno=errno.EBADMSG,
    )


def changed_facts(address: ServerAddress, name: str) -> StorageError:
    """Give the error for a table `meta` in which a row is missing or no number."""
    return StorageError(
        address.place,
        f"the row {name!r} of the table meta in the schema {address.schema!r} of "
        f"{address.database} was deleted or changed by another program, so that nobody can tell "
        "which release made the tables. Nothing was changed. Restore the row from a backup, or "
        "choose another schema, by schema=.",
    )


def missing_rights(address: ServerAddress, error: psycopg.Error) -> StorageError:
    """Give the error for a user who may neither use the tables nor make them."""
    return StorageError(
        address.place,
        f"the tables in the schema {address.schema!r} of {address.database} can neither be used "
        f"nor made: {_problem(error, address)}. Let an administrator execute the SQL of "
        "docs/postgres.md, which makes the tables and grants the rights on them.",
        errno=errno.EACCES,
    )


def old_server(address: ServerAddress, version: str, least: int) -> StorageError:
    """Give the error for a server of a version that is too old."""
    return StorageError(
        address.place,
        f"{address.place} is a server of version {version}, and {least} or newer is needed. "
        "Upgrade the server, or use another store.",
    )


def _problem(error: psycopg.Error, address: ServerAddress) -> str:
    """The first line of an error, without details, which may have values of rows."""
    text = error.diag.message_primary or str(error)
    code = "" if error.sqlstate is None else f" (SQLSTATE {error.sqlstate})"
    return f"{_first_line(address.without_secrets(text))}{code}"


def _unreachable(address: ServerAddress, problem: str) -> StoreUnreachableError:
    remedies = (remedy for words, remedy in _REMEDIES.items() if re.search(words, problem))
    return StoreUnreachableError(address.place, problem, remedy=next(remedies, ""))


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else "no reason was given"
