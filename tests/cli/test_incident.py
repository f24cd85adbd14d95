"""An incident from its first question to its end, from a shell alone, with a file and a module."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cli import COMMAND_LINE, clean_environment, invoke, spawn

if TYPE_CHECKING:
    from pathlib import Path

SERVICE = """
import asyncio, os, sys
from aiocheckpoint import CheckpointFlow
cp = CheckpointFlow("sqlite:///orders.db", fsync=False)

@cp.add_step()
async def reserve(state):
    state["reserved"] = True

@cp.add_step()
async def charge(state):
    if state["number"] < int(os.environ["BROKEN"]):
        raise ConnectionError("no answer from the bank")
    state["charged"] = True

@cp.add_step()
async def ship(state):
    with open(f"shipped-{os.getpid()}", "a") as file:
        file.write(f"{state['number']}\\n")

async def main(count):
    await cp.asubmit((f"order-{number}", {"number": number}) for number in range(count))
    async with cp:
        async for result in cp.awork(until_empty=True):
            pass

if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
"""


class Incident:
    """A service that has broken at one step.

    Args:
        folder: Where its module and its database are.
        count: How many runs it has.
        broken: How many of them broke.
    """

    def __init__(self, folder: Path, count: int, broken: int) -> None:
        self.folder, self.count, self.broken = folder, count, broken
        self.env = {"BROKEN": str(broken)}
        self.module = folder / "service.py"
        self.module.write_text(SERVICE)
        command = [sys.executable, "service.py", str(count)]
        subprocess.run(command, cwd=folder, env=clean_environment(self.env), check=True)

    def says(self, *words: str) -> tuple[str, str]:
        """Execute a command, that of a module as a process, and give what it prints and says."""
        call = spawn if "service:cp" in words else invoke
        done = call(*words, env=self.env, cwd=self.folder)
        assert done.code == 0, done
        return done.out, done.err

    def counts(self) -> dict[str, str]:
        """Count the runs by status."""
        words = self.says("count", "orders.db")[0].split()
        return dict(zip(words[2::3], words[::3], strict=True))

    def mend(self) -> None:
        """Put a mended step into the module."""
        text = self.module.read_text()
        self.module.write_text(text.replace('state["number"] < int(os.environ["BROKEN"])', "False"))

    def work(self) -> None:
        """Let two workers do what is due."""
        command = [*COMMAND_LINE, "work", "service:cp", "--until-empty"]
        options = {"cwd": self.folder, "env": clean_environment(self.env)}
        workers = [subprocess.Popen(command, **options) for _ in range(2)]  # type: ignore[call-overload]
        assert [worker.wait() for worker in workers] == [0, 0]

    def shipped(self) -> list[int]:
        """The runs that have come to their end, once for each time."""
        files = self.folder.glob("shipped-*")
        return sorted(int(line) for file in files for line in file.read_text().split())


@pytest.mark.parametrize(
    ("count", "broken"),
    [(1_200, 31), pytest.param(12_000, 312, marks=[pytest.mark.torture, pytest.mark.timeout(900)])],
)
def test_from_the_question_to_the_end(count: int, broken: int, tmp_path: Path) -> None:
    """Which step, which error, why: seen in the file. Mended, planned, made due, done, counted."""
    incident = Incident(tmp_path, count, broken)
    failed = ("--status", "failed")
    assert incident.says("count", "orders.db", "--by", "step,error", *failed) == (
        f"{broken}  charge  ConnectionError\n",
        "",
    )
    shown, _ = incident.says("show", "orders.db", "order-7")
    assert "order-7 of orders: failed at step 2 of 3, 'charge'" in shown
    assert shown.endswith("ConnectionError: no answer from the bank\n")

    incident.mend()
    planned, said = incident.says("resume", "service:cp", "--all", *failed, "--dry-run")
    assert planned.count("starts at 2/3 'charge', stored state") == broken == planned.count("\n")
    assert said == f"{broken} would run, none refused. Nothing was done.\n"
    assert len(incident.shipped()) == count - broken

    incident.says("requeue", "orders.db", "--all", *failed, "--write")
    assert incident.counts() == {"finished": f"{count - broken:,}", "stopped": f"{broken}"}
    incident.work()
    assert incident.counts() == {"finished": f"{count:,}"}
    assert incident.shipped() == list(range(count))
