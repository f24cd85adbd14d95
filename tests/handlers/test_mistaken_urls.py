"""Texts that are neither a path nor a URL of this library get into no name of a file."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cli
import pytest

from aiocheckpoint import (
    CheckpointFlow,
    InvalidValueError,
    LocalStateHandler,
    UnknownHandlerError,
    adopt,
    inspect,
    inspect_all,
    open_handler,
)
from aiocheckpoint.handlers._urls import flow_name, redact_url, without_password
from aiocheckpoint.handlers.sqlite import SqliteStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable

CANARY = "canary"
FORM = "postgresql://USER@HOST/DATABASE"
MISTAKES: list[str | Path] = [
    "host=db password=canary",
    "host=db password='ca canary' dbname=shop",
    "user = ann host = db password = canary",
    "password=canary",
    "dbname=canary",
    "Server=db;Database=shop;Pwd=canary",
    "Driver={PostgreSQL};Server=db;Pwd=canary",
    "postgresql:/ann:canary@host/shop",
    "POSTGRES:/ann:canary@host/shop",
    "postgresql:ann:canary@host/shop",
    "postgresql+psycopg2:/ann:canary@host/shop",
    "jdbc:postgresql://ann:canary@host/shop",
    "jdbc:postgresql://host/shop?user=ann&password=canary",
    "pgsql:host=db;dbname=shop;password=canary",
    Path("postgresql://ann:canary@host/shop"),
    Path("postgresql:///shop?password=canary"),
]
"""Each has a password, or the name of a database, in it."""
ENTRIES: list[Callable[..., Any]] = [
    CheckpointFlow,
    LocalStateHandler,
    SqliteStateHandler,
    adopt,
    inspect,
    inspect_all,
    open_handler,
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.__name__)
@pytest.mark.parametrize("text", MISTAKES, ids=str)
def test_refused(text: str | Path, entry: Callable[..., Any], folder: Path) -> None:
    """The error has the form of a URL and no part of the text, and nothing is written."""
    with pytest.raises(InvalidValueError) as info:
        entry(text)
    assert FORM in str(info.value)
    assert "'./'" in str(info.value)
    assert CANARY not in repr(info.value) + str(info.value.__context__)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("text", MISTAKES, ids=str)
def test_refused_with_a_name(text: str | Path) -> None:
    """A flow with a name of its own is refused as well, also by the name of a handler."""
    for handler in ("local", "sqlite", LocalStateHandler):
        with pytest.raises(InvalidValueError, match=FORM):
            CheckpointFlow(text, handler, name="orders")


@pytest.mark.parametrize("command", ["runs", "show", "doctor", "backup", "inspect", "run"])
@pytest.mark.parametrize("text", MISTAKES, ids=str)
def test_command_line(text: str | Path, command: str, folder: Path) -> None:
    """A command ends by the code for wrong words, with the form of a URL, and no password."""
    done = cli.invoke(command, str(text), *(["copy"] if command == "backup" else []))
    assert (done.code, done.out) == (2, "")
    assert FORM in done.err
    assert CANARY not in done.err
    assert list(folder.iterdir()) == []


def test_other_schemes_with_one_slash(folder: Path) -> None:
    """A `Path` of any URL has lost a slash, and is no folder of that name."""
    for entry in ENTRIES:
        with pytest.raises(InvalidValueError, match=r"'s3:/\.\.\.' has one slash.*s3://\.\.\."):
            entry(Path("s3://bucket/canary"))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "host=web1.pkl",
        "user=42.pkl",
        "date=2026-01-01 host=b.pkl",
        "service=prod",
        "x:y.pkl",
        "./host=db password=secret",
        "./postgresql:x",
        "postgresql.pkl",
    ],
)
def test_paths_are_paths(name: str, folder: Path) -> None:
    """A file is not taken for a connection, and "./" names any file."""
    LocalStateHandler(name).write({"n": 1})
    assert LocalStateHandler(name).read() == {"n": 1}
    assert Path(name).name in [one.name for one in folder.iterdir()]


def test_backup_to_a_mistake(folder: Path) -> None:
    """A copy is no file of such a name either."""
    LocalStateHandler("a.pkl").write({"n": 1})
    SqliteStateHandler("b.db").write({"n": 1})
    for handler in (LocalStateHandler("a.pkl"), SqliteStateHandler("b.db")):
        with pytest.raises(InvalidValueError, match=FORM):
            handler.backup("postgresql:/ann:canary@host/shop")
    assert not [one for one in folder.iterdir() if "postgres" in one.name]


@pytest.mark.parametrize("url", ["postgresql://host/shop", "sqlite:///x.db", "POSTGRES://h/d"])
def test_files_of_a_database(url: str) -> None:
    """The handler of files makes no folder "postgresql:", also where the URL has no secret."""
    with pytest.raises(InvalidValueError, match="the scheme"):
        LocalStateHandler(url)
    with pytest.raises(InvalidValueError, match="the scheme"):
        CheckpointFlow(url, LocalStateHandler)


def test_scheme_in_upper_case(folder: Path) -> None:
    """Upper and lower case are one scheme, of one store."""
    cp = CheckpointFlow[dict[str, Any]]("SQLite:///runs.db")
    cp.handler.write({"n": 1}, "a")
    assert cp.name == "runs"
    assert open_handler("sqlite:///runs.db").read("a") == {"n": 1}
    assert (folder / "runs.db").exists()
    assert cli.invoke("runs", "SQLITE:///runs.db").code == 0


def test_handler_beside_a_url() -> None:
    """A handler that the URL contradicts is refused, and one that it names is not."""
    for make in (CheckpointFlow, open_handler):
        with pytest.raises(InvalidValueError, match=r"handler='postgresql'.*'sqlite'"):
            make("sqlite:///x.db", "postgresql")
        with pytest.raises(UnknownHandlerError, match="nonsense"):
            make("sqlite:///x.db", "nonsense")
        make("sqlite:///x.db", "sqlite")


def test_registered_in_upper_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheme is found as the program has registered it."""

    class Mine(LocalStateHandler):
        pass

    monkeypatch.setitem(CheckpointFlow.state_handler_constructors, "Mine", Mine)
    assert type(CheckpointFlow("Mine://x.pkl").handler) is Mine


@pytest.mark.parametrize(
    ("scheme", "meant"),
    [("postgresql+psycopg2", "postgresql"), ("pgsql", "postgresql"), ("sqlite3", "sqlite")],
)
def test_scheme_of_another_library(scheme: str, meant: str) -> None:
    """A scheme that is nearly known has the known one in its error, and no password."""
    for entry in (CheckpointFlow, open_handler, inspect):
        with pytest.raises(UnknownHandlerError, match=f"Did you mean '{meant}'") as info:
            entry(f"{scheme}://ann:canary@host/shop")
        assert CANARY not in str(info.value)
    done = cli.invoke("runs", f"{scheme}://ann:canary@host/shop")
    assert done.code == 2
    assert f"Did you mean '{meant}'" in done.err
    assert CANARY not in done.err


class Own:
    """A handler of a user's own, which may take a connection string."""

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self) -> dict[str, Any]:
        """Fail."""
        raise OSError(errno.EIO, "it is not there")

    def write(self, state: dict[str, Any]) -> None:
        """Store nothing."""


@pytest.mark.parametrize("text", MISTAKES[:4] + MISTAKES[5:], ids=str)
def test_a_handler_of_its_own(text: str | Path, caplog: pytest.LogCaptureFixture) -> None:
    """It takes any text, whose password is in no name, repr, note or log."""
    caplog.set_level("DEBUG")
    cp = CheckpointFlow[dict[str, Any]](text, Own)
    cp.add_step(name="a")(lambda state: None)
    with pytest.raises(OSError, match="it is not there") as info:
        cp.run({})
    notes = getattr(info.value, "__notes__", [])
    assert CANARY not in f"{cp!r} {cp.name} {notes} {redact_url(str(text))}" + caplog.text
    assert CANARY not in (without_password(str(text)) or "")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("s3:/bucket/orders.v2", "orders"),
        ("jdbc:postgresql://ann:canary@host/shop", "shop"),
        ("postgresql:/ann:canary@host/shop", "shop"),
        ("jdbc:postgresql://host/shop?password=a/canary", "flow"),
        ("pgsql:host=db;password=canary", "flow"),
        ("host=db user=ann dbname=shop", "host=db user=ann dbname=shop"),
    ],
)
def test_names_of_flows(text: str, name: str) -> None:
    """The name of such a handler's flow has no password either."""
    assert flow_name(text) == name
