"""Libraries to compare with: environments of their own, and the processes that measure in them.

The dependencies of such a library may conflict with the packages installed here. Its imports and
its threads must not disturb the other measurements.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import venv
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Environment", "Worker", "WorkerEndedError"]


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment that is kept from one run of a benchmark to the next.

    Attributes:
        name: The library, for messages.
        key: Name of its directory, made of the pinned versions.
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


class WorkerEndedError(SystemExit):
    """The process of a worker ended, or was killed after its timeout."""


class Worker:
    """A process that does one piece of work each time it is asked.

    Between the pieces it waits for a line of input, so it takes no time from other contenders.

    Args:
        name: The library it measures, for messages.
        python: The interpreter to run it by.
        script: The script to run.
        arguments: Arguments of the script.
        patience: Seconds after which a process that does not answer is killed.

    Attributes:
        greeting: The JSON of its first line of output.

    Raises:
        WorkerEndedError: The process ended without any output.
    """

    def __init__(
        self, name: str, python: Path, script: Path, *arguments: str, patience: float = 600
    ) -> None:
        self._name = name
        self._patience = patience
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115 - it lasts as long as the process
        self._process = subprocess.Popen(
            [python, script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            start_new_session=True,
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
        if self._process.returncode is None:
            self._process.communicate()
        self._stderr.close()

    def ask(self, line: str) -> float:
        """Hand in a line, and give the number that comes out.

        Raises:
            WorkerEndedError: None came out.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        guard = threading.Timer(self._patience, self._kill)
        guard.start()
        try:
            line = self._process.stdout.readline()
        finally:
            guard.cancel()
        if not line:
            raise WorkerEndedError(self._exit_message())
        return line

    def _kill(self) -> None:
        """Kill the process, and the server that it may have started."""
        if sys.platform == "win32":
            self._process.kill()
        else:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _exit_message(self) -> str:
        """Print the standard error of the process, and give its exit status and last line."""
        status = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()
        self._stderr.seek(0)
        output = self._stderr.read().strip()
        self._stderr.close()
        print(output, file=sys.stderr)
        last = output.rpartition("\n")[2]
        return f"{self._name}'s process ended with {status}" + (f": {last}" if last else "")


def _pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, stdout=sys.stderr)
