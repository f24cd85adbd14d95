"""`async with cp:` as the lifespan of a FastAPI service: in one process, and in two of uvicorn."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

for package in ("fastapi", "uvicorn", "httpx"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[examples]'")

import httpx  # noqa: E402
import lifespan_script  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # The client would have another library than httpx.
    from fastapi.testclient import TestClient

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 60.0
LAST = ["a", "b", "c"]


def until(check: Callable[[], object]) -> None:
    """Wait until a check holds."""
    deadline = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_twice_in_one_process(tmp_path: Path) -> None:
    """The second start of an application resumes the runs that its first end has stopped."""
    app = lifespan_script.make_app(tmp_path)
    freeing = threading.Thread(target=free_when_drained, args=(tmp_path,))
    with TestClient(app) as client:
        assert client.post("/runs/x").json() == os.getpid()
        freeing.start()
    freeing.join()
    with TestClient(app) as client:
        until(lambda: client.get("/runs/x").json() == "finished")
        assert client.post("/runs/y").status_code == 200
        until(lambda: client.get("/runs/y").json() == "finished")
    assert effects(tmp_path) == dict.fromkeys(("x", "y"), LAST)


def free_when_drained(place: Path, processes: int = 1) -> None:
    """Let the runs go on once their processes drain."""
    until(lambda: draining_owners(place) == processes)
    (place / "free").touch()


def draining_owners(place: Path) -> int:
    """How many processes drain."""
    with closing(sqlite3.connect(f"file:{place}/runs.db?mode=ro", uri=True)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM draining_owners").fetchone()
        return int(count)


def effects(place: Path) -> dict[str, list[str]]:
    """The steps of each run that ended, in order."""
    found: dict[str, list[str]] = {}
    for line in (place / "effects").read_text("ascii").splitlines():
        run_id, step = line.split()
        found.setdefault(run_id, []).append(step)
    return found


class Workers:
    """uvicorn with two processes."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.log = place / "log"
        folder = Path(lifespan_script.__file__).parent
        words = ["lifespan_script:make_app", "--factory", "--workers", "2", "--port", "0"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", *words, "--app-dir", str(folder)],
                env={**os.environ, "PLACE": str(place)},
                stdout=log,
                stderr=log,
            )
        try:
            until(lambda: self.log.read_text().count("Application startup complete") == 2)
        except BaseException:
            self.process.kill()
            raise
        self.url = self.log.read_text().split("running on ")[1].split()[0]

    def begin(self, run_id: str) -> int:
        """Begin a run in one of the processes. The next connection may be to another."""
        return int(httpx.post(f"{self.url}/runs/{run_id}", timeout=PATIENCE).json())

    def end(self) -> None:
        """Wait for the end, and check that no process broke."""
        assert self.process.wait(PATIENCE) == 0
        assert "Traceback" not in self.log.read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM ends a process there at once")
def test_workers(tmp_path: Path) -> None:
    """At SIGTERM both processes drain. The next one finishes every run. Each step ran once."""
    workers = Workers(tmp_path)
    try:
        begun = dict[str, int]()
        while len(begun) < 4 or len(set(begun.values())) < 2:
            run_id = f"r{len(begun)}"
            begun[run_id] = workers.begin(run_id)
            assert len(begun) < 100
        workers.process.send_signal(signal.SIGTERM)
        free_when_drained(tmp_path, 2)
        workers.end()
    finally:
        workers.process.kill()
    assert not (tmp_path / "runs.db-wal").exists()
    assert statuses(tmp_path) == Counter({"stopped": len(begun)})
    assert effects(tmp_path) == dict.fromkeys(begun, LAST[:2])
    with TestClient(lifespan_script.make_app(tmp_path)) as client:
        until(lambda: all(client.get(f"/runs/{key}").json() == "finished" for key in begun))
    assert effects(tmp_path) == dict.fromkeys(begun, LAST)


def statuses(place: Path) -> Counter[str]:
    """How many runs have which status."""
    with closing(sqlite3.connect(place / "runs.db")) as connection:
        return Counter(status for (status,) in connection.execute("SELECT status FROM runs"))
