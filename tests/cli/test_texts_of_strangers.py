"""Stored texts never steer the terminal: run ids, names of steps, errors, tracebacks, reasons."""

from __future__ import annotations

import json
import unicodedata
from typing import TYPE_CHECKING

import pytest
from cli import in_pty, invoke
from hypothesis import given
from hypothesis import strategies as st
from order_store import VERSIONS, failed, open_orders
from stored_runs import queue_run

from aiocheckpoint._texts import cut_middle, cut_start, harmless, width_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOSTILE = "a\x1b]0;owned\x07\x1b[2J\r\n\u202egnp.exe\x9b31m\x7f\ud800\u2028"
FORMS = ("text", "json", "jsonl")
CONTROLS = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def controls(text: str) -> set[str]:
    """The characters of a text that could steer a terminal, line ends aside."""
    return {one for one in text if unicodedata.category(one) in CONTROLS} - {"\n"}


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A database whose every text is hostile. UTF-8 has no lone surrogates, so ids have none."""
    text = HOSTILE.replace("\ud800", "")
    cp = open_orders(tmp_path)
    facts = {"failure": failed(text, f"shop.{text}", text), "steps": (text, f"b{text}"), **VERSIONS}
    queue_run(cp, text, {text: text}, status="failed", **facts)
    queue_run(cp, f"p{text}", {text: 1}, status="paused", pause=text, **VERSIONS)
    ended = {"status": "terminated", "terminated_by": text, "termination": text}
    queue_run(cp, f"t{text}", {text: 1}, **ended, **VERSIONS)
    cp.handler.close()
    return tmp_path


def commands(prefix: str) -> list[tuple[str, ...]]:
    """The command lines that show one of the runs, or all."""
    text = prefix + HOSTILE.replace("\ud800", "")
    return [
        ("runs", "orders.db", "--wide"),
        ("count", "orders.db", "--by", "step,error,status"),
        ("flows", "orders.db"),
        ("show", "orders.db", text),
        ("show", "orders.db", f"no-{text}"),
        ("runs", "orders.db", "--status", text),
        (f"runs{text}",),
        ("runs", f"nowhere{text}"),
    ]


@pytest.mark.parametrize("prefix", ["", "p", "t"])
@pytest.mark.parametrize("form", FORMS)
def test_pipes(form: str, prefix: str, hostile: Path) -> None:
    """No command and no format sends a control character, on stdout or on stderr."""
    for words in commands(prefix):
        done = invoke(*words, *(["--output", form] if len(words) > 1 else []), cwd=hostile)
        assert controls(done.out + done.err) == set(), words
        assert 'Traceback (most recent call last):\n  File "/work' not in done.err


def test_terminal(hostile: Path) -> None:
    """A terminal gets no escape but those of our colours."""
    for words in commands(""):
        shown = in_pty(*words, env={"NO_COLOR": "1"}, cwd=hostile)
        assert controls(shown.out) == set(), words


def test_questions_are_one_line(tmp_path: Path) -> None:
    """No id makes a question look like another one: its line ends are escaped, and it is quoted."""
    cp = open_orders(tmp_path)
    run_ids = ("a? \nNothing is deleted by this dry run", "a, b")
    for run_id in run_ids:
        queue_run(cp, run_id, {}, **VERSIONS)
    cp.handler.close()
    words = ("delete", "orders.db", *run_ids, "--write")
    asked = "Delete 2 runs in orders.db: 'a? \\nNothing is deleted by this dry run', 'a, b'?"
    shown = in_pty(*words, columns=200, typed="no\n", cwd=tmp_path)
    assert f"{asked} Type yes to go on:\n" in shown.out
    refused = invoke(*words, cwd=tmp_path)
    assert refused.err == f"aiocheckpoint: {asked} Nobody can be asked here: add --yes to go on.\n"


def test_words_are_one_line(tmp_path: Path) -> None:
    """Nor does a stored text begin a line of words of its own."""
    fake = "x\naiocheckpoint:fine"
    cp = open_orders(tmp_path)
    queue_run(cp, "a", {}, **VERSIONS)
    cp.handler.close()
    lines = {
        ("show", "orders.db", fake): 1,
        ("runs", "orders.db", "--flow", fake): 1,
        ("runs", f"orders.db/{fake}"): 1,
        ("runs", "orders.db", f"--no{fake}"): 2,  # The second one names --help.
        (fake,): 2,
    }
    for words, count in lines.items():
        done = invoke(*words, cwd=tmp_path)
        assert done.code != 0
        assert (done.err.count("\n"), "\naiocheckpoint:fine" in done.err) == (count, False), words


def test_json_has_the_text_itself(hostile: Path) -> None:
    """A document gives the very text back."""
    done = invoke("runs", "orders.db", "--output", "json", cwd=hostile)
    ids = {run["run_id"] for run in json.loads(done.out)["runs"]}
    assert HOSTILE.replace("\ud800", "") in ids


def test_command_that_cannot_be_typed(hostile: Path) -> None:
    """No command is suggested for an id that no one can paste."""
    (hostile / "service.py").write_text(
        "from aiocheckpoint import CheckpointFlow\ncp = CheckpointFlow('orders.db', 'sqlite')\n",
        encoding="utf-8",
    )
    done = invoke("show", "service:cp", HOSTILE.replace("\ud800", ""), cwd=hostile)
    assert done.code == 0
    assert "aiocheckpoint plan" not in done.err


@given(st.text())
def test_harmless(text: str) -> None:
    """A harmless text is printable, and stays as it is. So does any printable text."""
    shown = harmless(text)
    assert shown.isprintable()
    assert harmless(shown) == shown
    assert shown == text or not text.isprintable()


def test_escapes() -> None:
    """Control characters are shown by their escapes."""
    assert harmless("a\x1b[0m\n\x9b\u202e") == r"a\x1b[0m\n\x9b\u202e"
    assert harmless("bücher 日本 ✓") == "bücher 日本 ✓"


@given(st.text(), st.integers(4, 30))
def test_cuts(text: str, width: int) -> None:
    """A cut text fits, has the ends of the whole one, and is the whole one where that fits."""
    clean = harmless(text)
    middle, start = cut_middle(clean, width), cut_start(clean, width)
    assert max(width_of(middle), width_of(start)) <= width
    if width_of(clean) <= width:
        assert middle == start == clean
    else:
        head, _, tail = middle.partition("…")
        assert clean.startswith(head)
        assert clean.endswith(tail)
        assert clean.endswith(start.removeprefix("…"))


def test_widths() -> None:
    """Wide characters take two columns, and combining ones none."""
    assert [width_of(text) for text in ("abc", "日本", "e\u0301", "✓")] == [3, 4, 1, 1]


@pytest.mark.parametrize("cut", [cut_middle, cut_start])
def test_marks_without_a_column(cut: Callable[[str, int], str]) -> None:
    """A million marks on one letter take one column, and are cut by their number."""
    shown = cut("e" + "\u0301" * 1_000_000 + "nd", 10)
    assert len(shown) <= 41
    assert shown.endswith("nd")
    assert cut("e\u0301" * 10, 10) == "e\u0301" * 10
