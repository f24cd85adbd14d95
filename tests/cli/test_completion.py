"""Completion of command lines, asked for as argcomplete's shell functions ask, and by a bash."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli import clean_environment, install_command, invoke
from locations import program
from terminals import Terminal

from aiocheckpoint import CheckpointFlow

pytest.importorskip("argcomplete", reason="it is of the extra cli")

IDS = ("order-1", "order-2", "order[3]", "a b", "\x1b[31mred", "--yes", "-", "--app-dir=/tmp")

WORDS = {
    "aiocheckpoint sh": ["show"],
    "aiocheckpoint --ver": ["--version"],
    "aiocheckpoint re": ["requeue", "resume", "retry"],
    "aiocheckpoint runs orders.db --st": ["--stale", "--status", "--step"],
    "aiocheckpoint runs orders.db --status fa": ["failed"],
    "aiocheckpoint runs orders.db --sort w": ["wrote"],
    "aiocheckpoint runs orders.db --flow ": ["bills", "orders"],
    "aiocheckpoint runs orders.db --flow orders --step ": ["charge", "reserve"],
    "aiocheckpoint runs one.pkl --step o": ["only"],
    "aiocheckpoint show ord": ["orders.db"],
    "aiocheckpoint show orders.db order-": ["order-1", "order-2"],
    "aiocheckpoint show orders.db order[": ["order\\[3\\]"],
    "aiocheckpoint show orders.db order[3]": ["order\\[3\\]"],
    "aiocheckpoint show --flow orders orders.db a": ["a\\ b"],
    # Control characters are not offered: they would steer the terminal. Nor are dashes at the
    # begin: the command would take them for options.
    "aiocheckpoint show orders.db ": ["a\\ b", "bill-1", "order-1", "order-2", "order\\[3\\]"],
    "aiocheckpoint show orders.db --y": [""],
    "aiocheckpoint show orders.db order-1 order-": [""],
    "aiocheckpoint requeue orders.db order-1 bi": ["bill-1"],
    "aiocheckpoint show --target orders.db bi": ["bill-1"],
    "aiocheckpoint show service:cp or": [""],
    "aiocheckpoint show no.db or": [""],
    "aiocheckpoint show hangs.pkl or": [""],
    "aiocheckpoint nothing or": [""],
}
"""The words that may stand at the end of each line."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a store of two flows, one of a single run, and a module."""
    folder = tmp_path_factory.mktemp("completion")
    for name, ids, step in (("orders", IDS, "charge"), ("bills", ("bill-1",), "print it")):
        cp = CheckpointFlow(f"sqlite:///{folder}/orders.db", name=name)
        cp.add_step(name="reserve")(lambda state: None)
        cp.add_step(name=step)(lambda state: None)
        for run_id in ids:
            cp.run({}, until="reserve", run_id=run_id)
        cp.handler.close()
    cp = CheckpointFlow(folder / "one.pkl")
    cp.add_step(name="only")(lambda state: None)
    cp.run({})
    (folder / "service.py").write_text("open('imported', 'w')\n")
    os.mkfifo(folder / "hangs.pkl")
    return folder


def ask(folder: Path, *lines: str, **environment: str) -> dict[str, list[str]]:
    """Ask for the words that may stand at the end of each line."""
    ended = subprocess.run(
        [sys.executable, program("completion_script.py"), json.dumps(lines)],
        cwd=folder,
        env=clean_environment(environment),
        capture_output=True,
        check=True,
    )
    found: dict[str, list[str]] = json.loads(ended.stdout)
    return found


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, list[str]]:
    """Ask for all lines."""
    return ask(folder, *WORDS)


@pytest.mark.parametrize("line", WORDS)
def test_words(line: str, found: dict[str, list[str]]) -> None:
    """Commands, options, their words, stores, and what is stored."""
    assert found[line] == WORDS[line]


def test_no_module_is_imported(found: dict[str, list[str]], folder: Path) -> None:
    """The code of a module target is not executed by a press of the key."""
    assert found
    assert not (folder / "imported").exists()


def test_default_target(folder: Path) -> None:
    """Runs are offered without a target where one is set."""
    line = "aiocheckpoint show bi"
    assert ask(folder, line, AIOCHECKPOINT_TARGET="orders.db") == {line: ["bill-1"]}


def test_without_argcomplete(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra nothing is completed, and nothing else is done."""
    monkeypatch.setitem(sys.modules, "argcomplete", None)
    env = {"_ARGCOMPLETE": "1", "COMP_LINE": "aiocheckpoint delete orders.db --all --write --yes"}
    assert invoke(env={**env, "COMP_POINT": "5"}, cwd=folder) == (1, "", "")


def test_in_a_shell(folder: Path) -> None:
    """The functions that argcomplete gives to bash ask the program, and put the words in."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    programs = install_command(folder)
    shell = Terminal(["bash", "--norc", "--noprofile", "-i"], folder)
    try:
        shell.type(f"PATH={programs}:{Path(sys.executable).parent}:$PATH")
        shell.type('eval "$(register-python-argcomplete aiocheckpoint)"; echo register"ed"')
        shell.wait_for("registered")
        os.write(shell.main, b"aiocheckpoint sho\t")
        shell.wait_for("show ")
        os.write(shell.main, b"ord\t")
        shell.wait_for("orders.db ")
    finally:
        shell.close()
