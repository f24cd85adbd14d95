"""Snapshots of other Pythons: plain data is read everywhere, code on the Python that wrote it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from golden import write
from graphs import difference
from locations import GOLDEN
from pythons import SUPPORTED, THIS, find_python, make_path, run_python

from aiocheckpoint import IncompatibleSnapshotError, LocalStateHandler

if TYPE_CHECKING:
    from support import FlowFactory, Runner

WRITE = (GOLDEN / "write.py").read_text(encoding="utf-8")
READ = """
import json, sys
from aiocheckpoint import IncompatibleSnapshotError, LocalStateHandler
for path in sys.argv[1:]:
    try:
        print(json.dumps(sorted(LocalStateHandler(path).read())))
    except IncompatibleSnapshotError as error:
        print(json.dumps(error.written_by))
"""
VERSIONS = ["{}.{}".format(*version) for version in SUPPORTED]
HERE = "{}.{}".format(*THIS)


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def check_code(path: Path, version: str) -> None:
    """Check that code of this version works here, or is refused before any of it is run."""
    handler = LocalStateHandler(path)
    if version == HERE:
        state = handler.read()
        assert (state["function"](4), state["lambda"](4), state["thing"].name) == (8, 5, "a")
        assert Path("mark").is_dir()
        return
    header = handler.header()
    assert header is not None
    assert (header.position, header.code, header.python.startswith(version)) == (1, True, True)
    with pytest.raises(IncompatibleSnapshotError, match=version) as info:
        handler.read()
    assert info.value.written_by == header.python
    assert not Path("mark").exists()


@pytest.mark.parametrize("version", VERSIONS)
def test_plain_data_of_any_python(version: str) -> None:
    """Plain data is read, whichever Python wrote it, with its shared references."""
    state = LocalStateHandler(GOLDEN / f"plain-{version}.snapshot").read()
    assert difference(write.make_plain(), state) is None


@pytest.mark.parametrize("version", VERSIONS)
def test_code_of_any_python(version: str) -> None:
    """Functions and classes by value are loaded on their own Python only."""
    check_code(GOLDEN / f"code-{version}.snapshot", version)


@pytest.mark.parametrize("version", sorted(set(VERSIONS) - {HERE}))
def test_flow_on_another_python(version: str, runner: Runner, flows: FlowFactory) -> None:
    """A run with code of another Python is refused before any step, and its file stays."""
    golden = (GOLDEN / f"code-{version}.snapshot").read_bytes()
    flows.path.write_bytes(golden)
    cp = flows.flow("a", "b")
    with pytest.raises(IncompatibleSnapshotError, match="Python"):
        runner(cp)
    assert (flows.log, flows.path.read_bytes(), Path("mark").exists()) == ([], golden, False)
    runner.reset(cp)
    runner(cp)
    assert flows.ran() == ["a", "b"]


@pytest.mark.parametrize("version", sorted(set(SUPPORTED) - {THIS}), ids=str)
def test_there_and_back(version: tuple[int, int], tmp_path: Path) -> None:
    """Another Python reads or refuses this Python's snapshots alike, and the other way round."""
    python = find_python(version)
    if python is None:
        pytest.skip("this Python is not here")
    links = tmp_path / "links"
    links.mkdir()
    path = make_path(links)
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    run_python(python, path, str(there), text=WRITE)
    Path("mark").rmdir()  # The first value of a type is loaded back when it is stored.
    name = "{}.{}".format(*version)
    state = LocalStateHandler(there / f"plain-{name}.snapshot").read()
    assert difference(write.make_plain(), state) is None
    check_code(there / f"code-{name}.snapshot", name)

    def lambdas() -> dict[str, Any]:
        return {"function": lambda a: a, "checkpoint_index": 1}

    LocalStateHandler(here / "plain").write(write.make_plain())
    LocalStateHandler(here / "code").write(lambdas())
    printed = run_python(python, path, str(here / "plain"), str(here / "code"), text=READ)
    keys, written_by = map(json.loads, printed.splitlines())
    assert keys == sorted(write.make_plain())
    assert written_by.startswith(HERE)
