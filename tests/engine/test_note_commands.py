"""The last line of a note is a command where one is certain. A shell executes it here."""

from __future__ import annotations

import asyncio
import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from cli import install_command
from support import notes_of

from aiocheckpoint._engine.program import calling_script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint import CheckpointFlow

FLOW = """
import asyncio, os, sys
from aiocheckpoint import CheckpointFlow
cp = CheckpointFlow("runs/")

@cp.add_step()
def fetch(state):
    print("fetch")

@cp.add_step()
def invert(state):
    if not os.path.exists("mended"):
        raise OSError("not yet")
    print("invert")
"""
TASK = """
async def main():
    await asyncio.gather(cp.arun())
asyncio.run(main())
"""


def in_shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Execute a line by a shell that finds this Python under its name, and the command line."""
    path = os.pathsep.join([f"{folder}/bin", str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def broken(command: str, script: str, folder: Path) -> str:
    """Write a script and start it by a command. Give the last line of the note."""
    name = "jobs/train.py" if "jobs" in command else "the 'train' job.py"
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(script)
    ended = in_shell(command, folder)
    assert (ended.stdout, ended.returncode) == ("fetch\n", 1), ended.stderr
    assert "OSError: not yet\n" in ended.stderr
    return ended.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("command", "call"),
    [
        ("python jobs/train.py", "import tempfile\ntempfile.gettempdir()\ncp.run({'n': 1})"),
        ("python -X utf8 -u -m jobs.train", TASK),
        (
            "python 'the '\"'\"'train'\"'\"' job.py' 'order 42'",
            "asyncio.run(cp.arun({}, run_id=sys.argv[1]))",
        ),
    ],
    ids=["script", "module", "odd names"],
)
def test_command_of_a_script(command: str, call: str, tmp_path: Path) -> None:
    """The line is the command that started the script. A shell resumes the run by it."""
    line = broken(command, FLOW + call, tmp_path)
    assert line == command
    (tmp_path / "mended").touch()
    ended = in_shell(line, tmp_path)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("invert\n", "", 0)


def test_command_of_a_service_in_a_shell(tmp_path: Path) -> None:
    """A flow that is imported is resumed by its target. A shell resumes the run by the line."""
    install_command(tmp_path)
    (tmp_path / "orders.py").write_text(FLOW)
    call = "from orders import cp\ndef serve(): cp.run({}, run_id='order 42')\n"
    (tmp_path / "web.py").write_text(call)
    ended = in_shell("python -c 'import web; web.serve()'", tmp_path)
    line = ended.stderr.splitlines()[-1]
    assert line == "aiocheckpoint resume orders:cp 'order 42'"
    (tmp_path / "mended").touch()
    ended = in_shell(line, tmp_path)
    assert ended.stdout == "invert\norder 42  finished\n"
    assert (ended.stderr, ended.returncode) == ("", 0)


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (
            "python 'the job.py' --password hunter2",
            "# python 'the job.py', with the same arguments",
        ),
        ("python 'the job.py' 3", "# python 'the job.py', with the same arguments"),
        ("python - <'the job.py'", "cp.run()"),
    ],
    ids=["a secret", "a number", "standard input"],
)
def test_command_that_is_not_certain(command: str, line: str, tmp_path: Path) -> None:
    """A script with arguments, which may be secrets, is named in a comment. A shell skips it."""
    (tmp_path / "the job.py").write_text(f"{FLOW}cp.run()")
    assert in_shell(command, tmp_path).stderr.splitlines()[-1] == line
    if line.startswith("#"):
        pasted = in_shell(line, tmp_path)
        assert (pasted.stdout, pasted.stderr, pasted.returncode) == ("", "", 0)


CALLS = """
import tempfile
from aiocheckpoint.testing import MemoryStateHandler

def last_line(cp=cp, **arguments):
    cp = CheckpointFlow(**cp) if isinstance(cp, dict) else cp
    if not cp.plan().steps:
        cp.add_step(name="b")(invert)
    try:
        cp.run(**arguments)
    except OSError as error:
        return error.__notes__[-1].splitlines()[-1]

def forked():
    if os.fork() == 0:
        print(last_line(), flush=True)
        os._exit(0)
    os.wait()

temporary = tempfile.TemporaryDirectory()
forked()
print(last_line())
print(last_line(run_id="x"))
print(last_line(checkpoint="fetch"))
print(last_line({"state_path": temporary.name + "/c.pkl"}))
print(last_line({"state_path": "memory", "handler": MemoryStateHandler}))
cp.run(until="fetch", run_id="y")
print(last_line())
temporary.cleanup()
"""


def test_runs_for_which_the_command_is_not_certain(tmp_path: Path) -> None:
    """The call is given where the script would do something else, or finds nothing there."""
    (tmp_path / "train.py").write_text(FLOW + CALLS)
    ended = in_shell("python train.py | grep -v ^fetch", tmp_path)
    assert ended.stderr == ""
    assert ended.stdout.splitlines() == [
        "cp.run()",  # a forked child
        "python train.py",
        "cp.resume('x')",
        "cp.run()",  # It starts at checkpoint= again.
        "cp.run()",  # a temporary directory
        "cp.run()",  # a store in memory
        "cp.run()",  # The command would run "y" again.
    ]


def own_command(words: str, name: str | None, run_id: str | None = None) -> list[str] | None:
    """The command of a script that was started by these words, called from its `__main__`."""
    main = ModuleType("__main__")
    main.__file__ = "train.py"
    main.__spec__ = None if name is None else SimpleNamespace(name=name)  # type: ignore[assignment]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "orig_argv", words.split())
        patch.setattr(sys, "argv", [word for word in words.split() if "train" in word][:1])
        patch.setitem(sys.modules, "__main__", main)
        patch.setattr("aiocheckpoint._engine.program._HISTORY.has_ended_run", False)
        names = {"__name__": "__main__", "calling_script": calling_script}
        script = eval("calling_script()", names)  # noqa: S307
    named = [] if run_id is None else [run_id]
    return [*script.command, *named] if script and script.arguments == named else None


@pytest.mark.parametrize(
    ("words", "name", "certain"),
    [
        ("python3.11 train.py", None, True),
        ("/usr/bin/python -O train.py x", None, True),
        ("python -m train", "train", True),
        ("python -m train x", "train.__main__", True),
        ("python -W error -X -m train.py", None, True),
        ("python train.py y", None, False),
        ("python /bin/streamlit run train.py", None, False),
        ("python -m coverage run train.py", None, False),
        ("python -u coverage train.py", None, False),
        ("python train.py x y", None, False),
        ("python train.py", "pdb", False),
        ("python -m pdb train.py", None, False),
        ("python -m pdb train.py", "pdb", False),
        ("python -c train", None, False),
        ("python -m train -v", "train", False),
        ("uwsgi train.py", None, False),
    ],
)
def test_forms_of_commands(words: str, name: str | None, certain: bool) -> None:  # noqa: FBT001
    """Python, its options, and a script or module. An argument is the id of the run."""
    run_id = "x" if " x" in words else None
    assert own_command(words, name, run_id) == (words.split() if certain else None)


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any) -> Iterator[ModuleType]:  # noqa: ANN401
    """Give a module that has a flow, and is imported from the working directory."""
    name = f"service_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(FLOW)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module(name)
    del sys.modules[name]


def line_of(cp: CheckpointFlow, **arguments: object) -> str:
    """Let a run break, and give the last line of the note without the name of the module."""
    with pytest.raises(OSError, match="not yet") as info:
        asyncio.run(cp.arun({}, **arguments))  # type: ignore[arg-type]
    words = notes_of(info.value).splitlines()[-1].split(" ")
    return " ".join(word.partition(":")[2] if "service_" in word else word for word in words)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({}, "aiocheckpoint run cp"),
        ({"run_id": "order-42"}, "aiocheckpoint resume cp order-42"),
        ({"run_id": "a b'c"}, "aiocheckpoint resume cp 'a b'\"'\"'c'"),
        ({"run_id": "-x"}, "aiocheckpoint resume cp -- -x"),
        ({"run_id": "x", "until": 1}, "aiocheckpoint run --until invert cp x"),
        ({"run_id": "x", "once": True}, "aiocheckpoint resume cp x"),
        ({"run_id": "-"}, "await cp.aresume('-')"),
        ({"run_id": "a\nb"}, "await cp.aresume('a\\nb')"),
        ({"load_policy": "always"}, "await cp.arun(load_policy='always')"),
        ({"data": {}}, "await cp.arun(data=data)"),
    ],
    ids=str,
)
def test_command_of_a_service(arguments: dict[str, Any], line: str, service: ModuleType) -> None:
    """The flow of an imported module is resumed by its target, quoted for a shell."""
    assert line_of(service.cp, **arguments) == line


def test_target_of_the_environment(service: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The target that is set is given, where it is the flow of the run."""
    vars(service)["a"] = service.cp
    monkeypatch.setenv("AIOCHECKPOINT_TARGET", f"{service.__name__}:a")
    assert line_of(service.cp, run_id="x") == "aiocheckpoint resume a x"
    for other in ("orders.db", f"{service.__name__}:fetch", "no_such_module:cp", ":", ""):
        monkeypatch.setenv("AIOCHECKPOINT_TARGET", other)
        assert line_of(service.cp, run_id="x") == "aiocheckpoint resume cp x"


def test_no_target(service: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A flow that no other process finds under a name has the call as its last line."""
    cp, call = service.cp, "await cp.aresume('x')"
    (tmp_path / "elsewhere").mkdir()
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path / "elsewhere")
        assert line_of(cp, run_id="x") == call
    with monkeypatch.context() as patch:
        patch.setattr(service.__spec__, "_initializing", True, raising=False)
        assert line_of(cp, run_id="x") == call
    cp.add_step(name="one more")(print)
    assert line_of(cp, run_id="x") == "aiocheckpoint resume cp x"
    del vars(service)["cp"]
    assert line_of(cp, run_id="x") == call
