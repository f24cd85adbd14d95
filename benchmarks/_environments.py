"""Libraries to compare with: environments of their own, and the processes that measure in them.

What such a library needs would not always go together with what is installed here, and what it
does at import or in its threads must not be in the way of what else is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Environment", "Worker"]


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment that is kept from one run of a benchmark to the next.

    Attributes:
        name: The library, for messages.
        key: Name of its directory, which tells the versions that were asked for.
        installs: Arguments of `pip install`, for one call after the other.
    """

    name: str
    key: str
    installs: tuple[tuple[str, ...], ...]

    @property
    def place(self) -> Path:
        """Where it is kept, for this version of Python."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        name = f"{self.key}-{sys.implementation.cache_tag}"
        return cache / "aiocheckpoint-benchmarks" / name

    @property
    def is_installed(self) -> bool:
        """Whether all has been installed."""
        return self._complete.exists()

    def install(self) -> Path:
        """Install the library from PyPI unless that was done before.

        Returns:
            The Python interpreter of the environment.
        """
        windows = sys.platform == "win32"
        python = self.place / ("Scripts/python.exe" if windows else "bin/python")
        if not self.is_installed:
            print(f"installing {self.name} from PyPI", file=sys.stderr)
            venv.create(self.place, clear=True, with_pip=True)
            for arguments in self.installs:
                _pip(python, *arguments)
            self._complete.touch()
        return python

    @property
    def _complete(self) -> Path:
        return self.place / "complete"


class Worker:
    """A process that does one piece of work each time it is asked.

    Between the pieces it waits for a line of input, so it takes no time from what else is measured.

    Args:
        name: The library it measures, for messages.
        python: The interpreter to run it by.
        script: The module of benchmarks/ that it runs.
        arguments: What it is given.

    Attributes:
        greeting: What it told in its first line, as JSON.
    """

    def __init__(self, name: str, python: Path, script: str, *arguments: str) -> None:
        self._name = name
        self._process = subprocess.Popen(
            [python, Path(__file__).with_name(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.greeting: dict[str, str] = json.loads(self._answer())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def ask(self, line: str) -> float:
        """Hand in a line, and give the number that comes out."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._name}'s process ended with {self._process.wait()}")
        return line


def _pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, stdout=sys.stderr)
