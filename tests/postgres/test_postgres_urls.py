"""URLs of PostgreSQL: what libpq gets, what is refused, and the place without secrets."""

from __future__ import annotations

import psycopg
import pytest

from aiocheckpoint.errors import InvalidTypeError, InvalidValueError
from aiocheckpoint.handlers.postgres._names import checked_schema, run_key
from aiocheckpoint.handlers.postgres._url import parse_url

CANARY = "canary"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://ann:canary@host/shop", "postgresql://host/shop"),
        ("postgres://ann@host:5433/shop", "postgresql://host:5433/shop"),
        ("POSTGRESQL://ann@host/shop", "postgresql://host/shop"),
        ("postgresql://a:1,b:2/shop?user=canary", "postgresql://a:1,b:2/shop"),
        ("postgresql://a,b:2/shop", "postgresql://a,b:2/shop"),
        ("postgresql://[::1]:5433/shop", "postgresql://[::1]:5433/shop"),
        ("postgresql://h/a%20b%2Fc", "postgresql://h/a%20b%2Fc"),
        ("postgresql:///shop?host=/run/pg", "postgresql:///shop, socket in /run/pg"),
        ("postgresql://%2Frun%2Fpg:5/shop", "postgresql:///shop, socket in /run/pg, port 5"),
        ("postgresql:///?service=prod", "postgresql:///, service prod"),
        ("postgresql://h/?dbname=shop", "postgresql://h/shop"),
        ("postgresql://h/shop?password=canary&schema=jobs", "postgresql://h/shop, schema jobs"),
        ("postgresql://h/shop?schema=jobs&sslmode=require", "postgresql://h/shop, schema jobs"),
        ("postgresql://h/shop?schema=aiocheckpoint", "postgresql://h/shop"),
        ("postgresql:///shop?hostaddr=127.0.0.1", "postgresql://127.0.0.1/shop"),
    ],
)
def test_place(url: str, place: str) -> None:
    """The place names hosts, ports, database and schema, and no other option."""
    address = parse_url(url)
    assert address.place == place
    assert repr(address) == f"<ServerAddress {place}>"
    assert CANARY not in repr(address)


def test_options_reach_libpq() -> None:
    """All options of libpq are passed on as they are, and `schema` is none of them."""
    address = parse_url(
        "postgresql://ann:a%2Fb%40c@host/shop?schema=jobs&sslmode=verify-full&sslrootcert=/x.pem"
        "&target_session_attrs=any&options=-c%20statement_timeout%3D5s"
    )
    assert address.schema == "jobs"
    assert address.options == {
        "user": "ann",
        "password": "a/b@c",
        "host": "host",
        "dbname": "shop",
        "sslmode": "verify-full",
        "sslrootcert": "/x.pem",
        "target_session_attrs": "any",
        "options": "-c statement_timeout=5s",
    }


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("host=h dbname=shop password=canary", "is a URL such as"),
        ("postgresql://host", "names no database"),
        ("postgresql://ann:canary@host/", "names no database"),
        ("postgresql://ann:can/canary@host/shop", "must be encoded"),
        ("postgresql://ann:can@canary@host/shop", "must be encoded"),
        ("postgresql://ann:can:canary@host@x/shop", "must be encoded"),
        ("postgresql://ann:canary%zz@host/shop", "none that libpq can read"),
        ("postgresql://ann:canary canary@host/shop", "none that libpq can read"),
        ("postgresql://host/shop?nonsense=canary", "does not know\\. Its"),
        ("postgresql://host/shop?ssl_mode=canary", "perhaps for 'sslmode'"),
        ("postgresql://host/shop?canary=1", "does not know"),
        ("postgresql://ann:12/canary?a=b@host/shop", "must be encoded"),
        ("postgresql://ann:12/canary?a=b&c@host/shop", "must be encoded"),
        ("postgresql://ann:p@canary?a=b@host/shop", "must be encoded"),
        ("postgresql://ann:p@canary#b@host/shop", "must be encoded"),
        ("postgresql://host/shop?user=ann@canary", "must be encoded"),
        ("postgresql://host:canary/shop", "the port .* is no number.*%3A"),
        ("postgresql://ann:can@host:54a2canary/shop", "the port .* is no number"),
        ("postgresql://host:123456/shop", "above 65535"),
        ("postgresql://host/shop?schema=pg_canary", "keeps such names"),
        ("postgresql://host/shop?lease=canary", r"CheckpointFlow\(url, lease=\.\.\.\)"),
        ("postgresql://host/shop?patience=canary", r"CheckpointFlow\(url, patience=\.\.\.\)"),
        ("postgresql://host/shop?sslmode=require&name=canary", r"CheckpointFlow\(url, name="),
    ],
)
def test_refused(url: str, words: str) -> None:
    """A URL that cannot be meant is refused at once, without the part that may be a password."""
    with pytest.raises(InvalidValueError, match=words) as info:
        parse_url(url)
    shown = f"{info.value!r} {info.value.__context__!r} {info.value.__cause__!r}"
    assert CANARY not in shown.replace("pg_canary", "")


def test_schema_given_twice() -> None:
    """The schema of the URL and that of the option are the same, or one of them is left out."""
    assert parse_url("postgresql://h/d?schema=a", "a").schema == "a"
    assert parse_url("postgresql://h/d", "b").schema == "b"
    with pytest.raises(InvalidValueError, match="Leave one of them out"):
        parse_url("postgresql://h/d?schema=a", "b")


@pytest.mark.parametrize("schema", ["", "a b", 'a"b', "a%sb", "a.b", "ä", "x" * 64, "PG_x"])
def test_bad_schema(schema: str) -> None:
    """A schema has a name that needs no escapes in any statement."""
    with pytest.raises(InvalidValueError, match="schema="):
        checked_schema(schema)


def test_schema_of_another_type() -> None:
    """A schema is a text."""
    with pytest.raises(InvalidTypeError, match="schema="):
        checked_schema(5)


def test_equal_addresses() -> None:
    """Two URLs with the same options are one address, whatever their order."""
    one = parse_url("postgresql://u@h/d?sslmode=require&connect_timeout=3")
    same = parse_url("postgres://u@h/d?connect_timeout=3&sslmode=require")
    other = parse_url("postgresql://v@h/d?sslmode=require&connect_timeout=3")
    assert (one, hash(one)) == (same, hash(same))
    assert one != other
    assert one != "postgresql://u@h/d"


def test_texts_without_secrets() -> None:
    """Values of options are masked in texts of libpq and of the server, hosts and databases not."""
    address = parse_url(
        "postgresql://ann:canary1@host/shop?options=-c%20work_mem%3Dcanary2&passfile=/canary3"
    )
    text = 'role "ann" at "host", "shop": canary1 "canary2" /canary3 anna'
    assert address.without_secrets(text) == 'role "***" at "host", "shop": *** "***" *** anna'


def test_run_keys_are_apart(database_url: str) -> None:
    """Two run ids have two keys, and PostgreSQL computes the same key from a column `run_id`."""
    from aiocheckpoint.handlers.postgres._names import RUN_KEY  # noqa: PLC0415

    long = "x" * 1000
    names = ["a", "\0", "\ud800", "é" * 255, "é" * 256, long, long[:-1] + "y", long[:-1], "x" * 511]
    keys = [run_key(name) for name in names]
    assert len(set(keys)) == len(names)
    assert max(map(len, keys)) == 512
    with psycopg.connect(database_url) as connection:
        for name, key in zip(names, keys, strict=True):
            stored = name.encode("utf-8", "surrogatepass")
            statement = f"SELECT {RUN_KEY} FROM (VALUES (%s::bytea)) AS runs (run_id)"  # noqa: S608
            assert connection.execute(statement.encode(), (stored,)).fetchone() == (key,)
