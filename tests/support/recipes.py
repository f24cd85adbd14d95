"""The recipes of docs/engines.md, as files that are executed in a folder of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from locations import ROOT

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Generator

PAGE = (ROOT / "docs" / "engines.md").read_text("utf-8")
FILES: dict[str, str] = {
    name: f"# {name}\n{code}"
    for name, code in re.findall(r"^```py\n# (\w+\.py)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
}
COMMANDS: list[str] = re.findall(r"^```shell\n(.*?)\n```$", PAGE, re.DOTALL | re.MULTILINE)
PATIENCE = 100.0
KILLING = '''

import signal
import time
from pathlib import Path


@cp.add_step(before="ship")
def kill(state):
    """Note key and process, take a moment, and kill the process once for an order that says so."""
    with Path("begun.txt").open("a", encoding="utf-8") as begun:
        begun.write(f"{current_step().run_id} {current_step().idempotency_key} {os.getpid()}\\n")
    mark = Path(f"{current_step().run_id}.killed")
    if state["item"] == "bomb" and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.2)
'''
"""Is added to `orders.py`, so that workers die."""


@dataclass(frozen=True)
class Recipes:
    """The files in a folder, with a step that may kill its worker.

    Attributes:
        folder: The folder.
        variables: Variables of the environment.
    """

    folder: Path
    variables: dict[str, str]

    def write(self) -> None:
        """Write the files."""
        for name, text in FILES.items():
            added = KILLING if name == "orders.py" else ""
            (self.folder / name).write_text(text + added, "utf-8")

    def start(self, *words: str, **variables: str) -> subprocess.Popen[str]:
        """Start a command, whose programs are those of the tests.

        Args:
            words: The command.
            variables: Further variables of its environment.
        """
        programs = str(Path(sys.executable).parent)
        paths = [str(self.folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        return subprocess.Popen(
            words,
            cwd=self.folder,
            env={
                **os.environ,
                **self.variables,
                **variables,
                "PATH": os.pathsep.join([programs, os.environ["PATH"]]),
                "PYTHONPATH": os.pathsep.join(paths),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @contextmanager
    def started(self, *words: str, **variables: str) -> Generator[subprocess.Popen[str]]:
        """Start a command, which is killed at the end."""
        process = self.start(*words, **variables)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def call(self, *words: str) -> str:
        """Execute a command to its end, and give what it prints."""
        process = self.start(*words)
        try:
            printed, problems = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
        assert process.returncode == 0, problems
        return printed

    def python(self, code: str) -> str:
        """Execute Python code with the flow `cp` of `orders.py`, and give what it prints."""
        return self.call("python", "-c", f"from orders import cp\n{code}").strip()

    def begun(self) -> dict[str, list[str]]:
        """Give the keys of the added step by run, one for each time that it began."""
        found = dict[str, list[str]]()
        for line in (self.folder / "begun.txt").read_text("utf-8").splitlines():
            run, key, _ = line.split()
            found.setdefault(run, []).append(key)
        return found

    def processes(self) -> set[str]:
        """Give the processes in which the added step began."""
        lines = (self.folder / "begun.txt").read_text("utf-8").splitlines()
        return {line.split()[2] for line in lines}

    def finished(self) -> int:
        """Count the finished runs."""
        cp = CheckpointFlow(self.variables["ORDERS_STORE"], name="orders")
        count = cp.count("status")["finished"]
        cp.handler.close()
        return count

    def check(self, killed: list[str], others: list[str], beside: list[str] | None = None) -> None:
        """Check that the runs ended, and that a step began twice with one key where it killed.

        Args:
            killed: The runs that killed their worker.
            others: The runs that nobody disturbed.
            beside: The runs that may have been in a worker that was killed.
        """
        runs = [*killed, *others, *(beside or [])]
        header = "[(h.run_id, h.status, h.number) for h in cp.runs()]"
        ended = sorted((run, "finished", 1) for run in runs)
        assert self.python(f"print(sorted({header}))") == str(ended)
        begun = self.begun()
        assert sorted(begun) == sorted(runs)
        assert {len(begun[run]) for run in killed} <= {2}
        assert {len(begun[run]) for run in others} <= {1}
        assert {len(set(keys)) for keys in begun.values()} == {1}
