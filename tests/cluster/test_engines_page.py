"""The recipes of docs/engines.md are executed, and their workers killed."""

from __future__ import annotations

import ast
import re
import shutil
import signal
import socket
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import yaml  # type: ignore[import-untyped]
from engine_kills import await_true
from free_ports import find_port
from locations import ROOT
from recipes import COMMANDS, PATIENCE, Recipes

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Generator

MANIFESTS = ROOT / "docs" / "manifests"


@pytest.fixture
def recipes(tmp_path: Path) -> Recipes:
    """Give the recipes on SQLite."""
    made = Recipes(tmp_path, {"ORDERS_STORE": f"sqlite:///{tmp_path}/orders.db"})
    made.write()
    return made


def test_one_call(recipes: Recipes) -> None:
    """A call of the core that is delivered twice gives one result, and repeats no step."""
    call = ["python", "one_order.py", "order-1", "book"]
    first = recipes.call(*call)
    assert ast.literal_eval(first)["parcel"] == "parcel of book"
    assert recipes.call(*call) == first
    recipes.check([], ["order-1"])


def test_ray(recipes: Recipes) -> None:
    """Tasks of Ray end, though two of their workers are killed."""
    path = recipes.folder / "ray_orders.py"
    path.write_text(path.read_text("utf-8").replace('f"item {n}"', '"bomb" if n < 2 else "book"'))
    printed = re.findall(r"^\{.*\}$", recipes.call("python", "ray_orders.py"), re.MULTILINE)
    assert len(printed) == 6  # beside what Ray prints
    assert all(ast.literal_eval(line)["parcel"] for line in printed)
    recipes.check(["order-0", "order-1"], [f"order-{n}" for n in range(2, 6)])


@contextmanager
def temporal_server(recipes: Recipes) -> Generator[str]:
    """Give the address of a server of Temporal."""
    port = find_port()
    program = shutil.which("temporal", path=str(Path(sys.executable).parent)) or "temporal"
    words = ["server", "start-dev", "--headless", "--log-level", "error", "--port", str(port)]
    with recipes.started(program, *words):
        await_true(lambda: is_open(port))
        yield f"127.0.0.1:{port}"


def test_temporal(recipes: Recipes) -> None:
    """A run that is one activity ends, whether its worker is killed or drained meanwhile."""
    with temporal_server(recipes) as address, ExitStack() as stack:
        script = ["python", "temporal_orders.py", address]

        def start(*words: str) -> subprocess.Popen[str]:
            return stack.enter_context(recipes.started(*script, *words))

        worker = start("work")
        places = [start("place", "order-0", "bomb"), start("place", "order-1", "book")]
        assert worker.wait(PATIENCE) == -signal.SIGKILL
        worker = start("work")
        check_places(places)
        places = [start("place", "order-2", "book")]
        await_true(lambda: "order-2" in recipes.begun())
        worker.terminate()
        worker.wait(PATIENCE)
        start("work")
        check_places(places)
    recipes.check(["order-0"], ["order-2"], ["order-1"])


def check_places(places: list[subprocess.Popen[str]]) -> None:
    """Check that the workflows end.

    The exit code says nothing: a thread of Temporal's core may abort a process at its very end.
    """
    for process in places:
        printed, problems = process.communicate(timeout=PATIENCE)
        assert printed, problems
        assert ast.literal_eval(printed)["parcel"]


def is_open(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as asks:
        return asks.connect_ex(("127.0.0.1", port)) == 0


def test_procrastinate(database_url: str, tmp_path: Path) -> None:
    """A job whose worker was killed is sent again, and its run goes on."""
    recipes = Recipes(tmp_path, {"ORDERS_STORE": database_url, "JOBS_DATABASE": database_url})
    recipes.write()
    command = ["procrastinate", "--app=job_orders.app"]
    recipes.call(*command, "schema", "--apply")
    recipes.python(
        "import asyncio, job_orders\n"
        "async def main():\n"
        "    async with job_orders.app.open_async():\n"
        "        await job_orders.place('order-0', {'item': 'bomb'})\n"
        "        await job_orders.place('order-1', {'item': 'book'})\n"
        "asyncio.run(main())\n"
    )
    with recipes.started(*command, "worker") as worker:
        assert worker.wait(PATIENCE) == -signal.SIGKILL
    with psycopg.connect(database_url, autocommit=True) as connection:  # Half a minute later.
        connection.execute(
            "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '40 seconds'"
        )
    with recipes.started(*command, "worker") as worker:
        await_true(lambda: recipes.finished() == 2)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE) == 0
    recipes.check(["order-0"], ["order-1"])


def test_manifests(recipes: Recipes) -> None:
    """Workers drain at SIGTERM, and those of the array end when nothing is left."""
    deployment, script = read_deployment(), str(MANIFESTS / "orders-array.sh")
    array = ["bash", script]
    runs = [f"order-{n}" for n in range(60)]
    recipes.python(f"cp.submit((run, {{'item': 'book'}}) for run in {runs})")
    for words in (deployment, array):
        before = recipes.finished()
        with recipes.started(*words, SLURM_CPUS_PER_TASK="2") as worker:
            await_true(lambda before=before: recipes.finished() > before)  # type: ignore[misc]
            worker.send_signal(signal.SIGTERM)
            _, problems = worker.communicate(timeout=PATIENCE)
            assert worker.returncode == 0, problems
        assert before < recipes.finished() < len(runs)
    with recipes.started(*array) as one, recipes.started(*array) as two:
        assert one.wait(PATIENCE) == two.wait(PATIENCE) == 0
    recipes.check([], runs)


def read_deployment() -> list[str]:
    """Give the command of the manifest, whose labels and variables have to fit."""
    manifest: dict[str, Any] = yaml.safe_load((MANIFESTS / "orders-worker.yaml").read_text("utf-8"))
    assert (manifest["apiVersion"], manifest["kind"]) == ("apps/v1", "Deployment")
    pod = manifest["spec"]["template"]
    assert manifest["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
    (container,) = pod["spec"]["containers"]
    assert [variable["name"] for variable in container["env"]] == ["ORDERS_STORE"]
    command: list[str] = container["command"]
    assert " ".join(command) == COMMANDS[1]
    return command


def test_array() -> None:
    """The page shows the command of the script, which Slurm can read."""
    *_, last = (MANIFESTS / "orders-array.sh").read_text("utf-8").splitlines()
    assert last == "exec " + COMMANDS[2].replace("4", '"${SLURM_CPUS_PER_TASK:-4}"')
