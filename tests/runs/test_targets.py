"""Targets such as "package.module:attribute" are imported and checked."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING

import pytest

from aiocheckpoint import CheckpointFlow, InvalidValueError
from aiocheckpoint._runs.targets import load_target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODULES = {
    "good_flows.py": "from aiocheckpoint import CheckpointFlow\ncp = CheckpointFlow('c.pkl')\n"
    "other = 5\ndef make(): return cp\ndef make_none(): return None\ndef fail(): return 1 / 0\n",
    "inner_flows/__init__.py": "",
    "inner_flows/deep.py": "from good_flows import cp\n",
    "breaking_flows.py": "def inner():\n    raise RuntimeError('broken')\n\ninner()\n",
    "leaving_flows.py": "import sys\nsys.exit('gone')\n",
    "wrong_flows.py": "def broken(:\n",
    "needing_flows.py": "import no_such_module_at_all\n",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current directory with modules, which are forgotten at the end."""
    for name, text in MODULES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if "_flows" in name:
            del sys.modules[name]


@pytest.mark.parametrize("target", ["good_flows:cp", "inner_flows.deep:cp"])
def test_flow_of_a_module(target: str, place: Path) -> None:
    """A module of the current directory is found, and its flow is given."""
    assert load_target(target, CheckpointFlow).name == "c"
    assert sys.path[0] == str(place)


def test_folder(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another directory may be named."""
    monkeypatch.chdir("/")
    assert load_target("good_flows:cp", CheckpointFlow, folder=str(place)).name == "c"


def test_current_directory_is_first(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the same name on the path does not hide that of the current directory."""
    hidden = place / "inner_flows" / "good_flows.py"
    hidden.write_text("cp = None\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(hidden.parent))
    assert load_target("good_flows:cp", CheckpointFlow).name == "c"


def test_factory(place: Path) -> None:
    """A function without arguments makes the flow, where that was said."""
    assert load_target("good_flows:make", CheckpointFlow, factory=True).name == "c"


REFUSED = {
    "no_such_flows:cp": "there is no module 'no_such_flows' in ",
    "inner_flows.missing:cp": "there is no module 'inner_flows.missing' in ",
    "good_flows:nothing": "the module 'good_flows' has no attribute 'nothing'. It has cp.",
    "good_flows:other": "good_flows:other is no CheckpointFlow, but an object of builtins.int.",
    "good_flows:make": "add --factory",
    "breaking_flows:cp": "'breaking_flows' cannot be imported: RuntimeError: broken.",
    "leaving_flows:cp": "'leaving_flows' cannot be imported: SystemExit: gone.",
    "wrong_flows:cp": "'wrong_flows' cannot be imported: SyntaxError: ",
    "needing_flows:cp": "No module named 'no_such_module_at_all'.",
}


@pytest.mark.parametrize("target", REFUSED)
def test_refused(target: str, place: Path) -> None:
    """What cannot be loaded is named, with the remedy where there is one."""
    with pytest.raises(InvalidValueError) as caught:
        load_target(target, CheckpointFlow)
    assert REFUSED[target] in str(caught.value)


REFUSED_FACTORIES = {
    "good_flows:other": "good_flows:other is no function, but an object of builtins.int.",
    "good_flows:make_none": "good_flows:make_none is no CheckpointFlow, but None.",
    "good_flows:fail": "good_flows:fail cannot be called: ZeroDivisionError: division by zero.",
}


@pytest.mark.parametrize("target", REFUSED_FACTORIES)
def test_refused_factories(target: str, place: Path) -> None:
    """A function that makes no flow is named."""
    with pytest.raises(InvalidValueError) as caught:
        load_target(target, CheckpointFlow, factory=True)
    assert REFUSED_FACTORIES[target] in str(caught.value)


@pytest.mark.parametrize("target", ["breaking_flows:cp", "needing_flows:cp"])
def test_traceback_is_that_of_the_users_code(target: str, place: Path) -> None:
    """The cause has the frames of the user's code, and none of Python's import."""
    with pytest.raises(InvalidValueError) as caught:
        load_target(target, CheckpointFlow)
    cause = caught.value.__cause__
    assert cause is not None
    files = {frame.filename for frame in traceback.extract_tb(cause.__traceback__)}
    assert files == {str(place / f"{target.partition(':')[0]}.py")}
