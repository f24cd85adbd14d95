"""URLs of a PostgreSQL server: what libpq reads in them, checked, and the place without secrets.

libpq knows all options and their defaults
(https://www.postgresql.org/docs/current/libpq-connect.html), from environment variables, a service
file and a password file. So this module passes everything on to it. It refuses a URL in which a
part of a password would be taken for a host, port or database, because these stand in messages.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict

from aiocheckpoint.errors import InvalidValueError
from aiocheckpoint.handlers.postgres._names import DEFAULT_SCHEMA, checked_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["OPTION_OF_URL", "ServerAddress", "is_libpq_option", "parse_url"]

OPTION_OF_URL = (
    "libpq takes it: write it into the URL, as in postgresql://HOST/DATABASE?option=value."
)
"""The remedy for an option of libpq that is given by keyword."""

_EXAMPLE = "postgresql://USER@HOST/DATABASE"
_SCHEME = re.compile(r"(?i)postgres(?:ql)?://")
_AUTHORITY = re.compile(r"[^/?]*")
_SCHEMA_OPTION = re.compile(r"([?&])schema=([^&]*)(&|\Z)")
_PORTS = re.compile(r"\d*(?:,\d*)*")
_SHOWN = frozenset({"host", "hostaddr", "port", "dbname", "service", "sslmode"})
_OURS = frozenset(
    {"allow", "connections", "fsync", "handler", "keep", "lease", "name", "patience", "secret"}
    | {"verify"}
)
"""Arguments that are no part of a URL."""
_SHORTEST_SECRET = 4
_HIGHEST_PORT = 65535


class ServerAddress:
    """A database, and how libpq is to connect to it.

    Args:
        options: The options of libpq by keyword. Secrets are among them.
        schema: The schema of the tables.

    Attributes:
        options: The same options.
        schema: The same schema.
        place: Host, port, database and schema, for messages.
        database: The same without the schema, for messages that name it themselves.
    """

    def __init__(self, options: Mapping[str, str], schema: str) -> None:
        self.options: Mapping[str, str] = options
        self.schema: str = schema
        self.database: str = _database(options)
        is_default = schema == DEFAULT_SCHEMA
        self.place: str = self.database if is_default else f"{self.database}, schema {schema}"
        self._key = (tuple(sorted(options.items())), schema)
        hidden = {value for keyword, value in options.items() if keyword not in _SHOWN}
        # The server shows a part of `options` that it does not take.
        hidden.update(re.split(r"[\s=,\\]+", options.get("options", "")))
        self._hidden = sorted(filter(None, hidden), key=len, reverse=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ServerAddress) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"<ServerAddress {self.place}>"

    def without_secrets(self, text: str) -> str:
        """Give a text of libpq or the server without the values of options that may be secret."""
        for value in self._hidden:
            for mark in "\"'":
                text = text.replace(f"{mark}{value}{mark}", f"{mark}***{mark}")
            if len(value) >= _SHORTEST_SECRET:
                text = text.replace(value, "***")
        return text


def parse_url(url: str, schema: object = None) -> ServerAddress:
    """Read a URL of the scheme "postgresql" or "postgres".

    Args:
        url: The URL. Beside the options of libpq it may have `schema=`.
        schema: The schema, or None for that of the URL.

    Raises:
        InvalidTypeError: `schema` is no text.
        InvalidValueError: The URL is none that libpq can read, names no database, or has a
            character that must be encoded. Or the schema is invalid, or given twice.
    """
    _check_marks(url)
    scheme, _, rest = url.partition(":")
    url = f"{scheme.lower()}:{rest}"  # libpq takes lower case alone.
    named = _SCHEMA_OPTION.search(url)
    if named is not None:
        url = url[: named.start()] + (named[1] if named[3] else "") + url[named.end() :]
    options = _options(url)
    if not options.get("dbname") and "service" not in options:
        raise InvalidValueError(
            f"the URL of PostgreSQL names no database. Write {_EXAMPLE!r}, or "
            "postgresql:///?service=NAME with a service file that names it."
        )
    _check_host(options)
    return ServerAddress(options, _schema(schema, None if named is None else named[2]))


def _check_marks(url: str) -> None:
    """Check the scheme of a URL, and that no "@" or "/" in it is part of a password."""
    scheme = _SCHEME.match(url)
    if scheme is None:
        raise InvalidValueError(
            f"the place of a database is a URL such as {_EXAMPLE!r}. A connection string "
            "'host=... dbname=...' is none: write its options as postgresql://HOST/DATABASE?option="
            "value."
        )
    rest = url[scheme.end() :]
    authority = _AUTHORITY.match(rest)
    head = "" if authority is None else authority[0]
    # libpq would take a part of the password for a host, database or option, and show it in errors.
    if head.count("@") > 1 or "@" in rest[len(head) :]:
        raise _not_encoded()


def _not_encoded() -> InvalidValueError:
    return InvalidValueError(
        "the URL of PostgreSQL has a character in its user, password, database or options that "
        "must be encoded: write %40 for '@', %2F for '/', %3F for '?', %23 for '#', %3A for ':' "
        "and %25 for '%', as urllib.parse.quote(text, safe='') does."
    )


def _options(url: str) -> dict[str, str]:
    try:
        found = conninfo_to_dict(url)
    except (psycopg.Error, UnicodeError):
        problem = _not_read(url)
    else:
        return {keyword: str(value) for keyword, value in found.items()}
    raise problem  # Outside of the handler: the text of libpq may show a part of the password.


def _not_read(url: str) -> InvalidValueError:
    """The error for a URL that libpq cannot read. No part of it is shown, as any may be secret."""
    known = _keywords()
    given = [part.partition("=")[0] for part in url.partition("?")[2].split("&")]
    unknown = [keyword for keyword in given if keyword and keyword not in known]
    ours = [keyword for keyword in unknown if keyword in _OURS]
    if ours:
        return InvalidValueError(
            f"{ours[0]}= is no option of the URL of PostgreSQL. Give it by keyword, as in "
            f"CheckpointFlow(url, {ours[0]}=...)."
        )
    if unknown:
        meant = get_close_matches(unknown[0], known, 1)
        return InvalidValueError(
            "the URL of PostgreSQL has an option that libpq does not know"
            f"{f', perhaps for {meant[0]!r}' if meant else ''}. Its options are listed in "
            "https://www.postgresql.org/docs/current/libpq-connect.html."
        )
    return InvalidValueError(
        f"the URL of PostgreSQL is none that libpq can read. It has the form {_EXAMPLE!r}. "
        "Characters such as '%', '@', '/' and spaces are encoded in a user or password, as "
        "urllib.parse.quote(text, safe='') does."
    )


def is_libpq_option(name: str) -> bool:
    """Whether a name is that of an option of libpq, which belongs into the URL."""
    return name in _keywords()


def _keywords() -> frozenset[str]:
    return frozenset(option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults())


def _check_host(options: Mapping[str, str]) -> None:
    """Check that hosts and ports are such, and no part of a password."""
    port = options.get("port", "")
    if "@" in options.get("host", ""):
        raise _not_encoded()
    if not _PORTS.fullmatch(port):  # It is not shown, as it may be part of a password.
        raise InvalidValueError(
            "the port in the URL of PostgreSQL is no number. Write postgresql://USER@HOST:5432/"
            "DATABASE, and %3A for a ':' that is part of a user or password."
        )
    if any(int(one) > _HIGHEST_PORT for one in port.split(",") if one):
        raise InvalidValueError(f"the port {port} of a URL of PostgreSQL is above {_HIGHEST_PORT}.")


def _schema(given: object, in_url: str | None) -> str:
    if given is None:
        return DEFAULT_SCHEMA if in_url is None else checked_schema(in_url)
    schema = checked_schema(given)
    if in_url not in {None, schema}:
        raise InvalidValueError(
            f"schema={schema!r} is not the schema={in_url!r} of the URL. Leave one of them out."
        )
    return schema


def _database(options: Mapping[str, str]) -> str:
    """The words that a database is named by in messages. No URL in them has a query."""
    hosts = (options.get("host") or options.get("hostaddr") or "").split(",")
    ports = options.get("port", "").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    words: list[str] = []
    if hosts[0].startswith("/"):  # The directory of a socket.
        words.append(f"socket in {hosts[0]}" + (f", port {ports[0]}" if ports[0] else ""))
        hosts, ports = [""], [""]
    named = ",".join(
        f"{f'[{host}]' if ':' in host else host}:{port}".rstrip(":")
        for host, port in zip(hosts, ports, strict=False)
    )
    if "service" in options:
        words.append(f"service {options['service']}")
    return ", ".join([f"postgresql://{named}/{quote(options.get('dbname', ''), safe='')}", *words])
