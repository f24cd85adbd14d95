"""Names that several modules have: the script, the script imported, modules of the steps."""

from __future__ import annotations

import subprocess
import sys
import types
from typing import TYPE_CHECKING, Any

from aiocheckpoint import CheckpointFlow
from aiocheckpoint._snapshot.pickling.names import StepModules
from aiocheckpoint._snapshot.pickling.serializer import dump, load
from aiocheckpoint._snapshot.target import MemoryTarget

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def start(folder: Path, *arguments: str) -> list[str]:
    """Start Python, and give the words that it printed."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


SCRIPT_AND_MODULE = """
from aiocheckpoint import CheckpointFlow
class Config: pass
cp = CheckpointFlow("job.pkl", fsync=False)
@cp.add_step()
def make(state):
    import helper
    state["own"], state["helper's"] = Config(), helper.job.Config()
@cp.add_step()
def use(state):
    import helper
    print(type(state["own"]) is Config, type(state["helper's"]) is helper.job.Config)
if __name__ == "__main__":
    cp.run(until="make")
    cp.run()
"""


def test_script_that_a_helper_imports(tmp_path: Path) -> None:
    """The classes of a script and of the same script as a module stay two."""
    (tmp_path / "job.py").write_text(SCRIPT_AND_MODULE, encoding="utf-8")
    (tmp_path / "helper.py").write_text("import job\n", encoding="utf-8")
    assert start(tmp_path, "job.py") == ["True", "True"]


TWO_ROWS = """
import lib_steps
from aiocheckpoint import CheckpointFlow
class Row: pass
cp = CheckpointFlow("rows.pkl", fsync=False)
cp.add_step()(lib_steps.prepare)
@cp.add_step()
def make(state):
    state["row"] = Row()
@cp.add_step()
def use(state):
    print(type(state["row"]) is Row)
if __name__ == "__main__":
    cp.run(until="make")
"""


def test_name_that_two_step_modules_have(tmp_path: Path) -> None:
    """A class of the script is that of the module that made the flow, before all others."""
    library = "class Row: pass\ndef prepare(state): pass\n"
    (tmp_path / "lib_steps.py").write_text(library, encoding="utf-8")
    (tmp_path / "rows.py").write_text(TWO_ROWS, encoding="utf-8")
    assert start(tmp_path, "rows.py") == []
    assert start(tmp_path, "-c", "import rows; rows.cp.run()") == ["True"]


SAVER = """
from aiocheckpoint import CheckpointFlow, Retry
class Row: pass
cp, calls = CheckpointFlow("saver.pkl", fsync=False), []
def save(state):
    calls.append(1)
    state["saved"] = len(calls)
    if len(calls) < 3:
        raise OSError
@cp.add_step(save=save, retry=Retry(attempts=3, wait_initial=0, wait_max=0, wait_jitter=0))
def make(state):
    state["row"] = Row()
@cp.add_step()
def use(state):
    print(len(calls), type(state["row"]) is Row)
cp.run()
"""


def test_saver_again_under_a_profiler(tmp_path: Path) -> None:
    """Behind a saver that was called again, an instance of a class of the script is still one."""
    (tmp_path / "saver.py").write_text(SAVER, encoding="utf-8")
    assert start(tmp_path, "-m", "cProfile", "-o", "out", "saver.py") == ["3", "True"]


def made_main(code: str) -> dict[str, Any]:
    """Execute code in a dict that is called `__main__`, as nobody's script."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(code, namespace)  # noqa: S102
    return namespace


def test_namespace_that_is_called_main(tmp_path: Path) -> None:
    """A function from it keeps its globals, and it comes back as the dict that it was."""
    namespace = made_main("FACTOR = 3\ndef f(x):\n    return x * FACTOR\n")
    cp = CheckpointFlow(tmp_path / "a.pkl", fsync=False)
    cp.handler.write({"f": namespace["f"]})
    assert cp.read()["f"](2) == 6
    del namespace["f"]
    cp.handler.write({"namespace": namespace, "by dill": lambda: 1})
    read = cp.read()["namespace"]
    assert read is not vars(sys.modules["__main__"])
    assert (read["FACTOR"], read["__name__"]) == (3, "__main__")


def module_of(name: str, code: str) -> dict[str, Any]:
    """Make the namespace of a module that is not in `sys.modules`."""
    made = types.ModuleType(name)
    exec(code, vars(made))  # noqa: S102
    return vars(made)


def test_main_comes_before_modules_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name of `__main__` is looked for in steps there, in `__main__`, and in others at last."""
    code = "class Row: pass\ndef step(state): pass\n"
    other, main = module_of("other", code), types.ModuleType("__main__")
    exec(code, vars(main))  # noqa: S102
    monkeypatch.setitem(sys.modules, "__main__", main)
    modules, memory = StepModules(), MemoryTarget()
    modules.note(other["step"])
    dump({"row": vars(main)["Row"]}, memory)
    assert load(memory, modules=modules)["row"] is vars(main)["Row"]
    script = module_of("__main__", "def step(state): pass\n")
    modules.note(script["step"])
    assert load(memory, modules=modules)["row"] is vars(main)["Row"]


def test_second_name_of_a_script_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class of a spawned process is stored as one of `__main__`, which every process has."""
    spawned = types.ModuleType("__mp_main__")
    exec("class Row: pass\n", vars(spawned))  # noqa: S102
    monkeypatch.setitem(sys.modules, "__mp_main__", spawned)
    memory = MemoryTarget()
    dump(vars(spawned)["Row"](), memory)
    assert b"__mp_main__" not in memory.getvalue()
    assert b"__main__:Row" in memory.getvalue()


class Masked:
    """Its methods are not what their names give."""

    def __private(self) -> str:
        return "private"

    def shown(self) -> str:
        """Is masked by an attribute."""
        return "method"

    def methods(self) -> list[Any]:
        """Give both."""
        return [self.__private, type(self).shown.__get__(self)]


def test_method_that_its_name_does_not_find() -> None:
    """A private method, and one that an attribute of the object masks, stay the methods."""
    masked = Masked()
    masked.__dict__["shown"] = len
    memory = MemoryTarget()
    dump(masked.methods(), memory)
    assert [method() for method in load(memory)] == ["private", "method"]
