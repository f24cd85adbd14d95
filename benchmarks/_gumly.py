"""gumly 1.2.0 in an environment of its own, and the process that measures it there.

gumly pins old versions of a dozen packages, of which its `CheckpointFlow` imports but pandas and
dill. So it is installed alone, with a current pandas and with the very dill that is used here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["GUMLY_VERSION", "GumlyWorker", "environment", "install"]

GUMLY_VERSION = "1.2.0"
_WORKER = Path(__file__).with_name("_gumly_worker.py")


class GumlyWorker:
    """A process in gumly's environment that does one run each time it is asked.

    Between the runs it waits for a line of input, so it takes no time from what else is measured.
    """

    def __init__(self, python: Path, path: Path, steps: int, state: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [python, _WORKER, path, str(steps), json.dumps(state)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.versions: dict[str, str] = json.loads(self._answer())
        """Versions of gumly and of what it uses, by name."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def sample(self) -> float:
        """Do one run and give the microseconds of a step, as that process took them."""
        assert self._process.stdin is not None
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"gumly's process ended with {self._process.wait()}")
        return line


def environment() -> Path:
    """Where gumly's environment is kept, for this version of Python and of dill."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = f"gumly-{GUMLY_VERSION}-{sys.implementation.cache_tag}-dill-{version('dill')}"
    return cache / "aiocheckpoint-benchmarks" / name


def install() -> Path:
    """Install gumly from PyPI unless that was done before.

    Returns:
        The Python interpreter of gumly's environment.
    """
    place = environment()
    python = place / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    complete = place / "complete"
    if not complete.exists():
        print(f"installing gumly {GUMLY_VERSION} from PyPI", file=sys.stderr)
        venv.create(place, clear=True, with_pip=True)
        _pip(python, "--no-deps", f"gumly=={GUMLY_VERSION}")
        _pip(python, "pandas", f"dill=={version('dill')}")
        complete.touch()
    return python


def _pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, stdout=sys.stderr)
