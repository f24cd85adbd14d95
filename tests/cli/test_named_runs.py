"""The runs of a command: one without an id, and ids on stdin that no line of text can hold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from shop import Shop, make_shop

from aiocheckpoint._cli.problems import UsageProblem
from aiocheckpoint._cli.stdin_ids import ids_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ODD = ["a\nb", "-", "{x}", 'q"', " a ", "\x1b[31m"]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A shop whose store is one file."""
    with make_shop(tmp_path, "file") as shop:
        yield shop


def test_run_without_an_id_is_the_one_that_is_left_out(shop: Shop) -> None:
    """A file of one run needs no id: it is made due, resumed, terminated and deleted."""
    state = '{"declined": true}'
    assert shop.does("run", "--state", state).code == 1
    for words in (["requeue", "--write"], ["requeue", "--write", "--dry-run"]):
        assert shop.bare(*words).code == 0
    assert shop.status(None) == "stopped"
    assert "declined" in shop.does("resume").out
    ended = shop.bare("terminate", "--write", "--yes")
    assert (ended.code, ended.out) == (0, "(the run without an id)  terminated\n")
    assert shop.status(None) == "terminated"
    assert shop.bare("delete", "--dry-run").out.endswith("would be deleted, terminated\n")
    gone = shop.bare("delete", "--write", "--yes")
    assert (gone.code, gone.out) == (0, "(the run without an id)  deleted\n")
    assert shop.flow().header() is None
    assert shop.bare("delete", "--write", "--yes").code == 3


def test_damaged_run_without_an_id_is_deleted(shop: Shop) -> None:
    """A file that cannot be read is deleted by the same words."""
    shop.does("run", "--state", "{}")
    file = shop.folder / "orders.pkl"
    file.write_bytes(b"X" + file.read_bytes()[1:])
    assert shop.bare("show").code == 5
    assert shop.does("delete", "--yes").code == 0
    assert not file.exists()


def test_run_without_an_id_is_none_of_the_named_ones(tmp_path: Path) -> None:
    """The other runs of its store stay, also the one whose id is a dash. They are listed apart."""
    with make_shop(tmp_path) as shop:
        for named in ([], ["-"], ["x"]):
            shop.does("run", *named, "--state", "{}")
        listed = shop.bare("runs", "--no-header").out.splitlines()
        assert {line.split("  ")[0] for line in listed} == {"(no id)", "-", "x"}
        assert shop.bare("delete", "--write", "--yes").code == 0
        assert {header.run_id for header in shop.flow().runs()} == {"-", "x"}
        shop.bare("delete", "-", "--write", "--yes", input='{"run_id": "-"}\n')
        assert {header.run_id for header in shop.flow().runs()} == {"x"}


def test_listed_ids_are_read_back(tmp_path: Path) -> None:
    """What one command prints as JSON lines names the same runs for the next one."""
    with make_shop(tmp_path) as shop:
        for run_id in (*ODD, "a", "b"):
            shop.flow().run({"declined": False}, run_id=run_id)
        lines = shop.bare("runs", "--output", "jsonl").out.splitlines(keepends=True)
        odd = [line for line in lines if json.loads(line)["run_id"] in ODD]
        done = shop.bare("delete", "-", "--write", "--yes", input="".join(odd))
        assert done.code == 0
        assert {header.run_id for header in shop.flow().runs()} == {"a", "b"}


def test_ids_of_lines() -> None:
    """Plain ids keep their blanks, and null is the run without an id."""
    lines = [
        "x\r\n",
        " y z \n",
        "\n",
        '{"run_id": null}\n',
        '{"run_id": "a\\nb", "status": 1}\n',
        "-",
    ]
    assert list(ids_of(lines)) == ["x", " y z ", None, "a\nb", "-"]


@pytest.mark.parametrize("line", ["{", '{"runs": []}', '{"run_id": 7}', "{secret}"])
def test_lines_that_are_no_records(line: str, shop: Shop) -> None:
    """A document of JSON, or a torn record, is no id. The message does not show it."""
    with pytest.raises(UsageProblem, match=r"line 2 .* --output jsonl\.") as caught:
        list(ids_of(["x", line]))
    assert line not in str(caught.value).replace('"run_id"', "")
    done = shop.does("terminate", "-", "--yes", input=line)
    assert (done.code, done.out) == (2, "")
