"""gumly 1.2.0 in an environment of its own, and the process that measures it there.

gumly pins old versions of a dozen packages, but its `CheckpointFlow` imports only pandas and dill.
So it is installed alone, with a current pandas and with the same dill as here.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from measure.environments import Environment, Worker

from peers import WORKERS

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["GUMLY_VERSION", "GumlyWorker", "environment"]

GUMLY_VERSION = "1.2.0"


class GumlyWorker(Worker):
    """A process in gumly's environment that does one run each time it is asked."""

    def __init__(self, path: Path, steps: int, state: dict[str, Any]) -> None:
        python = environment().install()
        arguments = (str(path), str(steps), json.dumps(state))
        super().__init__("gumly", python, WORKERS / "gumly_worker.py", *arguments)

    @property
    def versions(self) -> dict[str, str]:
        """Versions of gumly and of its dependencies, by name."""
        return self.greeting

    def sample(self) -> float:
        """Do one run and give the microseconds of a step, as measured in that process."""
        return self.ask("run")


def environment() -> Environment:
    """Give gumly's environment, for this version of Python and of dill."""
    dill = version("dill")
    alone = ("--no-deps", f"gumly=={GUMLY_VERSION}")
    key = f"gumly-{GUMLY_VERSION}-dill-{dill}"
    return Environment(f"gumly {GUMLY_VERSION}", key, (alone, ("pandas", f"dill=={dill}")))
