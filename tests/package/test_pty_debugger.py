"""A debugger and `input()` work in a sync step of `run`, on a real terminal."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING

import pytest
from terminals import PATIENCE, Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROLOGUE = """
import asyncio
from aiocheckpoint import CheckpointFlow

cp = CheckpointFlow("checkpoint.pkl")


@cp.add_step()
async def before(state, data):
    state["before"] = await asyncio.sleep(0, "awaited")

"""

DEBUGGED = """
@cp.add_step()
def work(state, data):
    secret = 6 * 7
    breakpoint()
    state["answer"] = secret
"""

ASKING = """
@cp.add_step()
def ask(state, data):
    state["answer"] = input("how many? ")
"""

PLAIN = """
print("END", cp.run({})["answer"], "END")
"""

IN_A_LOOP = """
async def main():
    print("END", cp.run({})["answer"], "END")

asyncio.run(main())
"""


@pytest.fixture(params=[PLAIN, IN_A_LOOP], ids=["script", "inside a loop"])
def ending(request: pytest.FixtureRequest) -> str:
    """Return each way of calling `run`."""
    return str(request.param)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    """Close every terminal that a test has opened."""
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.close()


def start(path: Path, terminals: list[Terminal], *parts: str) -> Terminal:
    """Write a script and run it on a terminal."""
    script = path / "script.py"
    script.write_text(textwrap.dedent("".join(parts)), encoding="utf-8")
    terminals.append(Terminal([sys.executable, str(script)], path))
    return terminals[-1]


def test_debugger_stops_in_a_sync_step(
    ending: str, tmp_path: Path, terminals: list[Terminal]
) -> None:
    """At `breakpoint()` a variable can be shown and changed, and the run continued."""
    terminal = start(tmp_path, terminals, PROLOGUE, DEBUGGED, ending)
    terminal.wait_for("(Pdb) ")
    terminal.type("p 'secret', secret")
    assert "('secret', 42)" in terminal.wait_for("(Pdb) ")
    terminal.type("p state['before']")
    assert "'awaited'" in terminal.wait_for("(Pdb) ")
    terminal.type("secret = 43")
    terminal.wait_for("(Pdb) ")
    terminal.type("c")
    terminal.wait_for("END 43 END")
    assert terminal.process.wait(PATIENCE) == 0


def test_quitting_the_debugger_leaves_a_run_that_resumes(
    ending: str, tmp_path: Path, terminals: list[Terminal]
) -> None:
    """Quitting at the breakpoint is a failure of the step like any other."""
    terminal = start(tmp_path, terminals, PROLOGUE, DEBUGGED, ending)
    terminal.wait_for("(Pdb) ")
    terminal.type("q")
    terminal.wait_for("checkpoint.pkl")
    assert terminal.process.wait(PATIENCE) != 0
    again = start(tmp_path, terminals, PROLOGUE.replace("awaited", "run twice"), DEBUGGED, ending)
    again.wait_for("(Pdb) ")
    again.type("p state['before']")
    assert "'awaited'" in again.wait_for("(Pdb) ")
    again.type("c")
    again.wait_for("END 42 END")


def test_input_works_in_a_sync_step(ending: str, tmp_path: Path, terminals: list[Terminal]) -> None:
    """A step can ask a person."""
    terminal = start(tmp_path, terminals, PROLOGUE, ASKING, ending)
    terminal.wait_for("how many? ")
    terminal.type("seven")
    terminal.wait_for("END seven END")
    assert terminal.process.wait(PATIENCE) == 0
