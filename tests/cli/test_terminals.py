"""Real terminals and pipes: widths, colours, signs, pagers, and readers that go away."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from cli import COMMAND_LINE, clean_environment, in_pty, invoke, spawn, spawn_in_pty
from order_store import open_orders, store_orders
from stored_runs import queue_run

if TYPE_CHECKING:
    from pathlib import Path

ESCAPE = "\x1b"
LONG = "order-of-the-customer-with-the-longest-name-in-the-city-0001"
WIDE_ROW = f"{LONG}  ○ queued    1/4 reserve"


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of orders that were written days ago, one with a long id."""
    folder = tmp_path_factory.mktemp("orders")
    at = time.time() - 3.5 * 86_400.0
    store_orders(folder, now=at)
    cp = open_orders(folder)
    queue_run(cp, LONG, {}, written_at=at, started_at=at)
    cp.handler.close()
    return folder


def plain(text: str) -> str:
    """A text without its colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_narrow_terminal(orders: Path) -> None:
    """At 80 columns the middle of ids is cut, and the start of errors, and no line is wider."""
    shown = plain(in_pty("runs", "orders.db", "--no-header", cwd=orders).out)
    assert max(map(len, shown.splitlines())) <= 80
    assert re.match(r"order\S*…\S*-0001 +○ queued +1/4 reserve ", shown)
    assert re.search(r"^order-61 +✗ failed +1/4 reserve +…\w+Error ", shown, re.MULTILINE)


def test_wide_terminal(orders: Path) -> None:
    """At 200 columns nothing is cut."""
    shown = in_pty("runs", "orders.db", columns=200, cwd=orders)
    assert shown.code == 0
    assert WIDE_ROW in plain(shown.out)
    assert "service.OutOfStockError" in plain(shown.out)


def test_columns(orders: Path) -> None:
    """COLUMNS is obeyed in a terminal, and `--wide` cuts nothing. In a pipe neither matters."""
    wide = in_pty("runs", "orders.db", env={"COLUMNS": "200"}, cwd=orders)
    asked = in_pty("runs", "orders.db", "--wide", cwd=orders)
    piped = invoke("runs", "orders.db", env={"COLUMNS": "40"}, cwd=orders)
    assert all(LONG in one.out for one in (wide, asked, piped))


COLOURS = {
    "terminal": (True, {}, ()),
    "NO_COLOR": (False, {"NO_COLOR": "1"}, ()),
    "empty NO_COLOR": (True, {"NO_COLOR": ""}, ()),
    "dumb": (False, {"TERM": "dumb"}, ()),
    "never": (False, {}, ("--color", "never")),
    "never by variable": (False, {"AIOCHECKPOINT_COLOR": "never"}, ()),
    "always beats NO_COLOR": (True, {"NO_COLOR": "1"}, ("--color", "always")),
    "NO_COLOR beats FORCE_COLOR": (False, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, ()),
}


@pytest.mark.parametrize("case", COLOURS)
def test_colours_of_terminals(case: str, orders: Path) -> None:
    """A terminal has colours unless it or the person has none. The words are the same."""
    coloured, env, words = COLOURS[case]
    shown = in_pty("runs", "orders.db", *words, columns=200, env=env, cwd=orders)
    assert (ESCAPE in shown.out) is coloured
    assert plain(shown.out) == invoke("runs", "orders.db", cwd=orders).out


PIPES = {
    "pipe": (False, {}, ()),
    "FORCE_COLOR": (True, {"FORCE_COLOR": "1"}, ()),
    "always": (True, {}, ("--color", "always")),
}


@pytest.mark.parametrize("case", PIPES)
def test_colours_of_pipes(case: str, orders: Path) -> None:
    """A pipe has no colours unless they are asked for."""
    coloured, env, words = PIPES[case]
    done = invoke("runs", "orders.db", *words, env=env, cwd=orders)
    assert (ESCAPE in done.out) is coloured


def test_no_colours_without_the_extra(orders: Path) -> None:
    """Without rich the output is plain, and `--color always` names what to install."""
    without_rich = mock.patch.dict(sys.modules, dict.fromkeys(("rich.color", "rich.console")))
    with without_rich:
        shown = in_pty("runs", "orders.db", cwd=orders)
        asked = invoke("runs", "orders.db", "--color", "always", cwd=orders)
    assert (shown.code, ESCAPE in shown.out) == (0, False)
    assert asked.code == 2
    assert "pip install 'aiocheckpoint[cli]'" in asked.err


IMPORTED = """
import io, sys
from contextlib import redirect_stdout
from aiocheckpoint._cli.main import main
for words in ("--help", "runs --help", "runs orders.db", "runs orders.db --color always"):
    with redirect_stdout(io.StringIO()):
        main(words.split())
    print([name in sys.modules for name in ("aiocheckpoint.look", "sqlite3", "rich")])
"""


def test_what_is_imported_when(orders: Path) -> None:
    """A help imports no store, and rich is imported when something is drawn in colours."""
    command = [sys.executable, "-c", IMPORTED]
    done = subprocess.run(command, cwd=orders, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "[False, False, False]",
        "[False, False, False]",
        "[True, True, False]",
        "[True, True, True]",
    ]


@pytest.fixture
def umlauts(tmp_path: Path) -> Path:
    """Such a database with an id beyond ASCII."""
    cp = open_orders(store_orders(tmp_path))
    queue_run(cp, "bücher-✓", {}, written_at=1_796_035_470.0, started_at=1_796_035_470.0)
    cp.handler.close()
    return tmp_path


def test_ascii_locale(umlauts: Path) -> None:
    """Where signs cannot be encoded, ASCII ones stand, and stored texts are escaped."""
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = spawn("runs", "orders.db", "--no-header", env=env, cwd=umlauts)
    assert (done.code, done.err) == (0, "")
    assert "x failed" in done.out
    assert r"b\xfccher-\u2713  o queued" in done.out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_encodings(encoding: str, umlauts: Path) -> None:
    """A terminal of another encoding gets what it can show, and no error."""
    shown = in_pty("runs", "orders.db", "--color", "never", encoding=encoding, cwd=umlauts)
    assert shown.code == 0
    assert "x failed" in shown.out
    assert ("bücher" in shown.out, r"\u2713" in shown.out) == (encoding == "latin-1", True)


def test_reader_that_goes_away(tmp_path: Path) -> None:
    """A closed pipe ends the command quietly, however much there is to say."""
    cp = open_orders(tmp_path)
    for number in range(300):
        queue_run(cp, f"{number}-{'x' * 900}", {})
    cp.handler.close()
    with subprocess.Popen(
        [*COMMAND_LINE, "runs", "orders.db", "--all", "--output", "jsonl"],
        cwd=tmp_path,
        env=clean_environment(None),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b'{"flow": "orders"')
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


def test_nobody_reads_from_the_start(orders: Path) -> None:
    """A pipe that is closed before the first line ends the command as quietly."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [*COMMAND_LINE, "runs", "orders.db"],
            cwd=orders,
            stdout=write_end,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (141, b"")


def test_closed_stdout(orders: Path) -> None:
    """A shell that closes stdout gets the exit code, and no traceback."""
    command = f"exec '{sys.executable}' -m aiocheckpoint runs orders.db >&-"
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=orders, stderr=subprocess.PIPE, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


PAGER = "import sys; print('PAGED', len(sys.stdin.read().splitlines()))"


@pytest.fixture
def pager(tmp_path: Path) -> str:
    """The words of a pager that counts lines."""
    (tmp_path / "pager.py").write_text(PAGER, encoding="utf-8")
    return f"{sys.executable} '{tmp_path / 'pager.py'}'"


def test_pager_of_a_long_list(pager: str, orders: Path) -> None:
    """PAGER gets what is more than a screen, and words of the command come behind it."""
    shown = spawn_in_pty(
        "runs", "service:cp", "--limit", "7", lines=5, env={"PAGER": pager}, cwd=orders
    )
    assert shown.code == 0
    words = shown.out.splitlines()
    assert words[:2] == ["the service is imported", "PAGED 9"]
    assert words[2].startswith("What resuming would do: ")


def test_no_pager(pager: str, orders: Path) -> None:
    """What fits the screen is not paged, nor what is piped, nor anything with no PAGER."""
    fits = in_pty("runs", "orders.db", lines=40, env={"PAGER": pager}, cwd=orders)
    piped = invoke("runs", "orders.db", "--pager", env={"PAGER": pager}, cwd=orders)
    unset = in_pty("runs", "orders.db", lines=5, cwd=orders)
    assert all("PAGED" not in one.out for one in (fits, piped, unset))
    assert all("order-42" in one.out for one in (fits, piped, unset))


def test_pager_that_is_missing(orders: Path) -> None:
    """A pager that cannot be started is passed over."""
    env = {"PAGER": "/no/such/pager"}
    shown = in_pty("runs", "orders.db", lines=5, env=env, cwd=orders)
    assert (shown.code, "order-42" in shown.out) == (0, True)


def test_pager_that_is_left(orders: Path) -> None:
    """Leaving the pager early is no error."""
    shown = spawn_in_pty("runs", "orders.db", lines=5, env={"PAGER": "true"}, cwd=orders)
    assert (shown.code, shown.out) == (0, "")
