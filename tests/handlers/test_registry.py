"""Handlers are found by name and scheme: built-in, registered in the program, or installed."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import aiocheckpoint
from aiocheckpoint import (
    CheckpointError,
    CheckpointFlow,
    InvalidTypeError,
    InvalidValueError,
    LocalStateHandler,
    StateHandler,
    UnknownHandlerError,
    open_handler,
)
from aiocheckpoint.handlers._urls import flow_name, redact_url, without_password
from aiocheckpoint.handlers.sqlite import SqliteStateHandler
from aiocheckpoint.testing import MemoryStateHandler

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULE = """
from aiocheckpoint.testing import MemoryStateHandler

class Cloud(MemoryStateHandler):
    def __init__(self, path, *, region="north", pool_size=4, **options):
        super().__init__(path, **options)
        self.path, self.region, self.pool_size = path, region, pool_size

class Dicts:
    def __init__(self, path, *, compress=False):
        self.path, self.compress, self.stored = path, compress, {}
    def read(self):
        return self.stored
    def write(self, state):
        self.stored = state

class NoHandler:
    pass

def make(path):
    return Dicts(path)
"""
ENTRIES = """[aiocheckpoint.handlers]
cloud = cloud_store:Cloud
s+t = cloud_store:Cloud
dicts = cloud_store:Dicts
nothing = cloud_store:NoHandler
function = cloud_store:make
lost = cloud_store:Missing
broken = cloud_broken:Cloud
local = cloud_store:Cloud
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install a distribution with handlers, as its metadata and modules are on `sys.path`."""
    site = tmp_path / "site"
    info = site / "cloud_store-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cloud-store\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    (site / "cloud_store.py").write_text(MODULE)
    (site / "cloud_broken.py").write_text("import no_such_client\n")
    monkeypatch.syspath_prepend(site)
    yield site
    for name in ("cloud_store", "cloud_broken"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("path", "handler"),
    [("bucket/runs", "cloud"), ("cloud://bucket/runs", "local"), ("S+T://bucket/runs", "cloud")],
)
def test_installed_handler(path: str, handler: str) -> None:
    """A name or scheme of an installed distribution makes its handler, with its own options."""
    cp = CheckpointFlow(path, handler, region="south", keep=2)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    cp.add_step(name="add")(lambda state: state.update(n=2))
    assert cp.run({"n": 1}, run_id="x") == {"n": 2}
    made = cp.handler
    assert (made.path, made.flow) == (path, "runs")
    assert (made.region, made.pool_size, made.keep) == ("south", 4, 2)
    assert [header.run_id for header in cp.runs()] == ["x"]


@pytest.mark.usefixtures("installed")
def test_installed_handler_of_dicts() -> None:
    """An installed class of plain dicts is a handler as well, of its own options alone."""
    cp = CheckpointFlow("dicts://here/x", compress=True)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    cp.add_step(name="add")(lambda state: state.update(n=2))
    assert cp.run({"n": 1}) == {"n": 2}
    assert cp.handler.stored == {"n": 2, "checkpoint_index": 0}
    assert cp.handler.compress


OPTIONS = [
    ("local", "size", "LocalStateHandler, which takes fsync=, keep=, lock=, lease=, secret="),
    ("sqlite", "size", "SqliteStateHandler, which takes fsync=, keep=, lease=, secret=, allow="),
    ("cloud", "lease", "Cloud, which takes region=, pool_size=, keep=, secret=, allow=, verify="),
    ("dicts", "secret", "Dicts, which takes compress=."),
]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(("handler", "option", "listed"), OPTIONS)
def test_unknown_option_lists_those_of_the_handler(
    handler: str, option: str, listed: str, tmp_path: Path
) -> None:
    """An option that a handler does not take is refused with the options that it takes."""
    for make in (CheckpointFlow, open_handler):
        with pytest.raises(InvalidValueError) as info:
            make(str(tmp_path / "x"), handler, **{option: 1})  # type: ignore[arg-type]
        assert str(info.value).startswith(f"{option}= is no option of {listed}")
    with pytest.raises(InvalidValueError, match="flow= is no option"):
        CheckpointFlow(str(tmp_path / "x"), flow="y")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


def test_subclass_takes_the_options_of_its_bases(tmp_path: Path) -> None:
    """A subclass that passes `**options` on takes the options of its base classes."""

    class Loud(LocalStateHandler):
        def __init__(self, path: str, *, volume: int = 1, **options: Any) -> None:  # noqa: ANN401
            super().__init__(path, **options)
            self.volume = volume

    class Louder(Loud):
        pass

    handler = CheckpointFlow(tmp_path / "x.pkl", Louder, keep=3, volume=7).handler  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    assert (handler.keep, handler.volume, handler.flow) == (3, 7, "x")
    with pytest.raises(InvalidValueError, match="Louder, which takes volume=, fsync=, keep=, loc"):
        CheckpointFlow(tmp_path / "x.pkl", Louder, size=3)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


def test_class_that_takes_any_option() -> None:
    """A class of dicts that takes `**options` is given all."""

    class Anything:
        def __init__(self, path: str, **options: object) -> None:
            self.made = path, options

        def read(self) -> dict[str, Any]:
            return {}

        def write(self, state: dict[str, Any]) -> None:
            """Store nothing."""

    handler = open_handler("x.y", Anything, color="red")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    assert handler.made == ("x.y", {"color": "red"})


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("nothing", InvalidTypeError, r"cloud_store:NoHandler\) is no class with read"),
        ("function", InvalidTypeError, r"cloud_store:make\) is no class with read"),
        ("lost", InvalidValueError, "cannot be imported: AttributeError: .*Missing"),
        ("broken", InvalidValueError, "cannot be imported: ModuleNotFoundError: .*no_such_client"),
    ],
)
def test_installed_handler_that_is_unsound(name: str, error: type[Exception], text: str) -> None:
    """An entry point without a handler is an error that names it and its distribution."""
    for make in (CheckpointFlow, open_handler):
        with pytest.raises(error, match=text) as info:
            make(f"{name}://x")
        start = f"the state handler {name!r} of the distribution cloud-store 1.2 "
        assert str(info.value).startswith(start)


@pytest.mark.usefixtures("installed")
def test_unknown_handler_lists_installed_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error for an unknown name or scheme lists the built-in, registered and installed ones."""
    monkeypatch.setitem(CheckpointFlow.state_handler_constructors, "mine", LocalStateHandler)
    with pytest.raises(UnknownHandlerError) as info:
        CheckpointFlow("redis://user:canary@host/0")
    assert info.value.handler == "redis"
    built_in = ("local", "sqlite", "postgresql", "postgres", "s3", "gs", "az")
    assert info.value.known[:9] == (*built_in, "mine", "cloud")
    assert "canary" not in str(info.value)


@pytest.mark.usefixtures("installed")
def test_built_in_handlers_need_no_metadata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names of this library are its own, and no metadata is read for them."""
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: 1 / 0)
    assert type(CheckpointFlow(tmp_path / "x.pkl").handler) is LocalStateHandler
    assert type(CheckpointFlow(f"sqlite:///{tmp_path}/x.db").handler) is SqliteStateHandler
    monkeypatch.setitem(CheckpointFlow.state_handler_constructors, "mine", LocalStateHandler)
    assert type(open_handler("x", "mine")) is LocalStateHandler


@pytest.mark.usefixtures("installed")
def test_registered_in_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """`state_handler_constructors`, as gumly has it, comes before all other handlers."""

    class Mine(LocalStateHandler):
        pass

    for name in ("mine", "cloud", "local"):
        monkeypatch.setitem(CheckpointFlow.state_handler_constructors, name, Mine)
        assert type(CheckpointFlow("x.pkl", name).handler) is Mine
        assert type(open_handler("x.pkl", name)) is Mine
        assert type(CheckpointFlow(f"{name}://x.pkl").handler) is Mine


def test_registered_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registered function is called with the path, and its options are its own."""

    def make(path: str, *, keep: int = 2) -> LocalStateHandler:
        return LocalStateHandler(path, keep=keep)

    monkeypatch.setitem(CheckpointFlow.state_handler_constructors, "mine", make)
    assert CheckpointFlow("x.pkl", "mine").handler.keep == 2
    assert CheckpointFlow("x.pkl", "mine", keep=5).handler.keep == 5
    with pytest.raises(InvalidValueError, match="make, which takes keep="):
        CheckpointFlow("x.pkl", "mine", fsync=False)


def test_registered_in_a_subclass() -> None:
    """A subclass of the flow has a table of its own, where it sets one."""

    class Mine(LocalStateHandler):
        pass

    class Flow(CheckpointFlow):
        state_handler_constructors = {"mine": Mine}  # noqa: RUF012 - as gumly's is set

    assert type(Flow("x.pkl", "mine").handler) is Mine
    assert type(Flow("x.pkl").handler) is LocalStateHandler
    with pytest.raises(UnknownHandlerError):
        CheckpointFlow("x.pkl", "mine")


@pytest.mark.parametrize("place", ["deep/x.pkl", "deep/runs/", "sqlite:///deep/x.db"])
def test_open_handler_is_that_of_the_flow(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds the runs of a flow on the same path, and creates nothing itself."""
    monkeypatch.chdir(tmp_path)
    handler = open_handler(place, keep=2)
    assert isinstance(handler, StateHandler)
    assert handler.read("x") == {}
    assert list(tmp_path.iterdir()) == []
    cp = CheckpointFlow(place, keep=2)
    cp.add_step(name="add")(lambda state: state.update(n=2))
    cp.run({"n": 1}, run_id="x")
    assert type(handler) is type(cp.handler)
    assert handler.flow == cp.name
    assert handler.locate("x") == cp.handler.locate("x")
    assert open_handler(place).header("x") == cp.header("x")
    assert open_handler(place, name="other").flow == "other"


def test_open_handler_takes_what_a_flow_takes(tmp_path: Path) -> None:
    """A class or an object, bad paths and bad names are treated as by a flow."""
    handler = LocalStateHandler(tmp_path / "x.pkl")
    assert open_handler("x", handler) is handler
    assert type(open_handler(tmp_path / "x", LocalStateHandler)) is LocalStateHandler
    with pytest.raises(InvalidValueError, match="belongs to the handler"):
        open_handler("x", handler, keep=2)
    for path, more in (("", {}), (None, {}), ("x", {"name": ""}), ("x", {"handler": 5})):
        with pytest.raises(InvalidTypeError):
            open_handler(path, **more)  # type: ignore[arg-type]
    with pytest.raises(UnknownHandlerError):
        open_handler("redis://host")
    assert "open_handler" in aiocheckpoint.__all__


@pytest.mark.usefixtures("installed")
def test_repr() -> None:
    """A handler shows its class, path and flow, and never a secret."""
    shown = {
        "x.pkl": "LocalStateHandler('x.pkl', flow='x')",
        "sqlite:///a@b.db": "SqliteStateHandler('sqlite:///a@b.db', flow='a@b')",
        "cloud://user:canary@host/x?key=canary": "Cloud('cloud://***@host/x?***', flow='x')",
        "cloud://user:can/ary@host/x#canary": "Cloud('cloud://***@host/x#***', flow='x')",
    }
    for path, text in shown.items():
        handler = open_handler(path, secret="canary" * 6)
        assert repr(handler) == text
    assert repr(LocalStateHandler(Path("x.pkl"))) == "LocalStateHandler('x.pkl', flow='x')"
    assert repr(MemoryStateHandler(flow="f")) == "MemoryStateHandler('memory', flow='f')"


def test_repr_shows_what_differs() -> None:
    """Options that have other values than by default are shown, and locks name their run."""
    handler = open_handler("x.pkl", fsync=False, keep="all", secret="canary" * 6)
    assert repr(handler) == "LocalStateHandler('x.pkl', flow='x', fsync=False, keep='all')"
    database = open_handler("sqlite:///x.db", lease=5, keep=1)
    assert repr(database) == "SqliteStateHandler('sqlite:///x.db', flow='x', lease=5.0)"
    assert repr(database.lock("a")) == f"<Lease of {database.locate('a')}, not held>"
    assert repr(handler.lock("a")) == f"<RunLock of {handler.locate('a')!r}, not held>"
    assert "canary" not in repr(handler.codec)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("postgres://u:p/w@host/db", "postgres://***@host/db"),
        ("postgres://u:p@s/w@host/db", "postgres://***@host/db"),
        ("postgres://u:p?w@host/db", "postgres://***"),
        ("postgres://u:1/w@host/db", "postgres://***@host/db"),
        ("postgres://host:5432/db?c@d", "postgres://host:5432/db?***"),
        ("s3://bucket/a@b#secret", "s3://bucket/a@b#***"),
        ("sqlite:///a:b@c.db", "sqlite:///a:b@c.db"),
        ("dir/a:b@c.pkl?x", "dir/a:b@c.pkl?x"),
        ("host=h password=secret", "host=h password=***"),
        ("host=h password='a secret' user=u", "host=h password=*** user=u"),
        ('host=h password = "a b" user=u', "host=h password=*** user=u"),
        ("postgres://host/db;password=secret", "postgres://host/db;password=***"),
        ("sqlite:///a.db?key=x&password=secret", "sqlite:///a.db?key=x&password=***"),
        ("sqlite://u:secret@host/a.db?secret", "sqlite://***@host/a.db?***"),
    ],
)
def test_redacted(path: str, shown: str) -> None:
    """Credentials, queries and fragments of servers are masked, and files are shown whole."""
    assert redact_url(path) == shown


@pytest.mark.parametrize(
    ("path", "repeated"),
    [
        ("orders.db", "orders.db"),
        ("sqlite:///orders.db", "sqlite:///orders.db"),
        ("postgresql://host/db?sslmode=require", "postgresql://host/db?sslmode=require"),
        ("postgresql://ann:canary@host:5/db", "postgresql://ann@host:5/db"),
        ("postgres://:canary@a:1,b:2/db?schema=s", "postgres://@a:1,b:2/db?schema=s"),
        ("postgresql://host/db?password=canary&schema=s", "postgresql://host/db?schema=s"),
        ("postgresql://host/db?sslpassword=canary", "postgresql://host/db"),
        ("postgresql://host/db?p%61ssword=canary", None),
        ("postgresql://ann:can/ary@host/db", None),
        ("postgresql://ann:can?ary@host/db", None),
        ("postgresql://ann:can@ary@host/db", None),
        ("postgresql://host/db;password=canary", None),
        ("postgresql://host/db?schema=s#canary", None),
        ("s3://key:canary@bucket", None),
        ("host=h password=canary dbname=db", None),
    ],
)
def test_repeated_without_a_password(path: str, repeated: str | None) -> None:
    """A command that people paste has the target as it is, but for a password."""
    assert without_password(path) == repeated


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("orders.db", "orders"),
        ("sqlite:///deep/orders.db", "orders"),
        ("postgresql://user:secret@host/shop?password=a/b.c#d", "shop"),
        ("s3://bucket/prefix/orders.v2", "orders"),
        ("postgresql+psycopg://user:secret@host:5432/shop/", "shop"),
        ("postgresql:///shop?user=u&password=secret", "shop"),
        ("postgresql://user:sec%2Fret@host/shop%20two", "shop%20two"),
        ("postgresql://user:sec/ret@host/shop", "shop"),
        ("postgresql://user:secret@host/a@b", "b"),
        ("postgresql://host/shop;password=secret", "shop;password=***"),
        ("postgresql://user:sec?ret@host/shop", "flow"),
        ("redis://user:secret@host", "host"),
        ("redis://user:secret@host?x=/y", "host"),
        ("redis://:secret@host/", "host"),
        ("s3://bucket", "bucket"),
        ("host=h password=secret dbname=a/b.c", "flow"),
        ("host=h password='a secret' dbname=b", "flow"),
        ("runs/", "runs"),
        ("token=5.pkl", "token=5"),
        ("sqlite:///orders?key=secret/x.y", "orders"),
        ("sqlite:///o#1.db", "o#1"),
    ],
)
def test_default_name(path: str, name: str) -> None:
    """The name of a flow is the last part of its path, and never holds a user or password."""
    assert flow_name(path) == name


URL = "cloud://canary:canary@host/shop?sslmode=require&password=canary#canary"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("kind", ["url", "dsn"])
def test_no_secret_of_a_url_is_told(
    kind: str, caplog: pytest.LogCaptureFixture, installed: Path, tmp_path: Path
) -> None:
    """The user, password and query of a flow's place are in no name, log, note, header or repr."""
    caplog.set_level("DEBUG", logger="aiocheckpoint")
    if kind == "url":
        cp = CheckpointFlow(URL)
        assert (cp.name, cp.handler.flow) == ("shop", "shop")
    else:
        cp = CheckpointFlow("host=h password='a canary' dbname=shop", "dicts")
        assert cp.name == "flow"

    @cp.add_step()
    def fail(state: dict[str, Any]) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no") as info:
        cp.run({})
    shown = [repr(cp), repr(cp.handler), str(cp.plan()), str(cp.header()), caplog.text]
    shown += getattr(info.value, "__notes__", [])
    bad_ones: list[dict[str, Any]] = [{"checkpoint": 5}, {"until": "no"}, {"run_id": ""}]
    for bad in bad_ones:
        with pytest.raises(CheckpointError) as refused:
            cp.run(**bad)
        shown.append(str(refused.value))
    assert "canary" not in "\n".join(shown if kind == "url" else [shown[0], *shown[2:]])
    assert [path for path in tmp_path.rglob("*") if "canary" in path.name] == []


@pytest.mark.parametrize(
    ("path", "handler"),
    [
        ("sqlite:///r.db?password=canary", "local"),
        ("sqlite://user:canary@host/r.db?canary", "local"),
        ("nothing://user:canary@host/r", "local"),
        ("https://user:canary@host/r.pkl?canary", LocalStateHandler),
        ("redis://user:canary@host/\0", "local"),
        ("redis://user:canary@host/r", SqliteStateHandler),
        (b"redis://user:canary@host", "local"),
    ],
)
def test_refused_urls_keep_their_secrets(
    path: str, handler: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URL that no handler takes is refused at once, without its secrets, and makes no file."""
    monkeypatch.chdir(tmp_path)
    for make in (CheckpointFlow, open_handler):
        with pytest.raises(CheckpointError) as info:
            make(path, handler)
        assert "canary" not in str(info.value)
    assert list(tmp_path.iterdir()) == []


def test_database_whose_name_has_a_question_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query is refused with the remedy. A file that 0.5 made of such a URL is still used."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidValueError, match=r"has a query, .* keyword") as info:
        CheckpointFlow("sqlite:///r.db?timeout=5")
    assert "handler='sqlite'" in str(info.value)
    plain = CheckpointFlow("r.db?timeout=5", "sqlite", name="r")
    plain.add_step(name="add")(lambda state: state.update(n=2))
    plain.run({}, run_id="x")
    plain.handler.close()
    cp = CheckpointFlow("sqlite:///r.db?timeout=5")
    assert (cp.name, cp.read("x")["n"]) == ("r", 2)
    assert SqliteStateHandler("sqlite:///r.db?timeout=5").flow == "r"
    cp.handler.close()
