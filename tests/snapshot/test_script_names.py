"""Classes and functions of a script are found again, however the script is started."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import enum, multiprocessing, os, sys
from dataclasses import dataclass
from aiocheckpoint import CheckpointFlow

LARGE, HANDLE, SCALE = "large" * 100_000, open(os.devnull), 2

@dataclass
class Config:
    rate: float
    def scaled(self):
        return self.rate * SCALE

class Outer:
    class Colour(enum.Enum):
        RED = 1

def score(x):
    return x * SCALE

cp = CheckpointFlow("job.pkl", fsync=False)

def check(state):
    before = len(state.setdefault("seen", []))
    if before:
        config, add, local = state["config"], state["lambda"], state["local"]
        assert type(config) is Config and config == Config(0.5) and config.scaled() == 1.0
        assert state["red"] is Outer.Colour.RED and state["score"] is score
        assert add(1) == 3 and add.__globals__ is globals()
        assert local.rate == 0.5 and isinstance(local, Config)
    class Local(Config):
        pass
    state["seen"].append(before)
    state.update(config=Config(0.5), score=score, red=Outer.Colour.RED, local=Local(0.5))
    state["lambda"] = lambda x: x + SCALE

for number in range(12):
    cp.add_step(name=f"step {number}")(check)

def go():
    state = cp.run(until=int(os.environ["UNTIL"]))
    print("seen", len(state["seen"]), os.path.getsize("job.pkl") < 20_000)

if __name__ == "__main__":
    if "spawn" in sys.argv:
        child = multiprocessing.get_context("spawn").Process(target=go)
        child.start()
        child.join()
    else:
        go()
"""
CALLED = "import runpy; runpy.run_{}({!r}, run_name='__main__')"
WAYS: dict[str, tuple[str, ...]] = {
    "script": ("job.py",),
    "profiler": ("-m", "cProfile", "-o", "profile.out", "job.py"),
    "imported": ("-c", "import job; job.go()"),
    "debugger": ("-m", "pdb", "-c", "continue", "job.py"),
    "coverage": ("-m", "coverage", "run", "job.py"),
    "module": ("-m", "job"),
    "path": ("-c", CALLED.format("path", "job.py")),
    "run module": ("-c", CALLED.format("module", "job")),
    "spawned": ("job.py", "spawn"),
}
ORDER = (
    *("script", "imported", "script", "profiler", "imported", "profiler", "debugger"),
    *("coverage", "module", "path", "run module", "spawned"),
)


def start(folder: Path, way: str, until: int = 0) -> str:
    """Start the script in one of the ways, and give its output."""
    done = subprocess.run(
        [sys.executable, *WAYS[way]],
        cwd=folder,
        env={**os.environ, "UNTIL": str(until)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert "Error" not in done.stderr + done.stdout, done.stderr + done.stdout
    return done.stdout


def test_each_way_resumes_the_one_before(tmp_path: Path) -> None:
    """A run begun in one way goes on in the next one: same classes, functions and globals.

    No globals of the script are stored, under a profiler and debugger neither.
    """
    assert set(ORDER) == set(WAYS)
    (tmp_path / "job.py").write_text(SCRIPT, encoding="utf-8")
    for number, way in enumerate(ORDER):
        assert f"seen {number + 1} True" in start(tmp_path, way, number), way


METHOD = "class Model:\n    def predict(self, x):\n        return {}\n"
CLASS_METHOD = "class Model:\n    @classmethod\n    def of(cls, x):\n        return {}\n"
FUNCTION = "def model(x):\n    return {}\n"
FIELD = "from dataclasses import dataclass\n@dataclass\nclass Model:\n    a: int\n{}"
MENDED = {
    "a method": (METHOD, "Model()", ".predict(0)", "1 / 0", "7"),
    "a bound method": (METHOD, "Model().predict", "(0)", "1 / 0", "7"),
    "a class method": (CLASS_METHOD, "Model.of", "(0)", "1 / 0", "7"),
    "a function": (FUNCTION, "model", "(0)", "1 / 0", "7"),
    "a partial": (FUNCTION, "functools.partial(model, 0)", "()", "1 / 0", "7"),
    "a field": (FIELD, "Model(1)", ".b", "", "    b: int = 7\n"),
}
USES = """
import functools
from aiocheckpoint import CheckpointFlow
{definition}
cp = CheckpointFlow("job.pkl", fsync=False)
@cp.add_step()
def make(state):
    state["model"] = {made}
@cp.add_step()
def use(state):
    print("result", state["model"]{used})
cp.run()
"""


@pytest.mark.parametrize("name", MENDED)
def test_mended_code_is_what_runs(name: str, tmp_path: Path) -> None:
    """A class or function of the script that broke the run and was mended is the mended one."""
    definition, made, used, *bodies = MENDED[name]
    outputs: list[str] = []
    for body in bodies:
        code = USES.format(definition=definition.format(body), made=made, used=used)
        (tmp_path / "job.py").write_text(code, encoding="utf-8")
        command = [sys.executable, "job.py"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        outputs.append(done.stdout)
    assert outputs == ["", "result 7\n"]


MODEL = """
import warnings
warnings.simplefilter("error")
import pydantic
from aiocheckpoint import CheckpointFlow
class Model(pydantic.BaseModel):
    number: int
cp = CheckpointFlow("job.pkl", fsync=False)
@cp.add_step()
def make(state):
    state["model"] = Model(number=1)
    state["function"] = lambda: 1
@cp.add_step()
def look(state):
    print(state["model"] == Model(number=1))
cp.run(until=0)
cp.run()
"""


def test_pydantic_model_without_a_warning(tmp_path: Path) -> None:
    """A pydantic model of a script is stored without dill's warnings, also beside a lambda."""
    (tmp_path / "job.py").write_text(MODEL, encoding="utf-8")
    command = [sys.executable, "job.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")
