"""Classes and functions of a script: stored in one process, loaded in another."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import main_script
import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

SCRIPT = Path(main_script.__file__)
OTHER_SCRIPT = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import main_script
print(json.dumps(main_script.read(Path(sys.argv[2]), {})))
"""
BY_VALUE = {"lambda", "shared cell", "default factory"}


def run(*command: object, check: bool = True) -> str:
    """Run a program in a process of its own, and give its output."""
    words = [sys.executable, *map(str, command)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout if check else done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory with every case, written by the script in a process of its own."""
    made = tmp_path_factory.mktemp("main")
    run(SCRIPT, "write", made)
    return made


@pytest.fixture(scope="module")
def expected(place: Path) -> Mapping[str, Any]:
    """Give the answers of the writing process."""
    found: dict[str, Any] = json.loads((place / "expected.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def same_script(place: Path) -> Mapping[str, list[str]]:
    """Give the answers of the same script, started anew."""
    answers: dict[str, list[str]] = json.loads(run(SCRIPT, "read", place))
    return answers


@pytest.fixture(scope="module")
def other_script(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[str]]:
    """Give the answers of another script, which does not know the classes."""
    cases = json.loads((place / "expected.json").read_text(encoding="utf-8"))
    stripped = {name: case for name, case in cases.items() if name in main_script.CASES}
    (place / "expected.json").write_text(json.dumps(stripped), encoding="utf-8")
    try:
        done = run("-c", OTHER_SCRIPT, SCRIPT.parent, place)
    finally:
        (place / "expected.json").write_text(json.dumps(cases), encoding="utf-8")
    answers: dict[str, list[str]] = json.loads(done)
    return answers


@pytest.mark.parametrize("name", main_script.CASES)
@pytest.mark.parametrize("reader", ["same_script", "other_script"])
def test_things_of_main(
    name: str, reader: str, expected: Mapping[str, Any], request: pytest.FixtureRequest
) -> None:
    """Objects of a script work in a fresh process, and as with dill.

    The same script finds them with every loader. Another program finds them by a flow whose steps
    are defined in the script.
    """
    by_library, *by_others = request.getfixturevalue(reader)[name]
    assert by_others == [by_library] * len(by_others)
    assert len(by_others) == 0 or reader == "same_script"
    if name not in {"copyreg", "dill.register"}:
        assert by_library == f"({expected[name]['answer']}, True)"


@pytest.mark.parametrize("name", main_script.IN_THE_SAME_SCRIPT)
def test_names_of_main(name: str, same_script: Mapping[str, list[str]]) -> None:
    """The same script finds its own names again, as plain dill finds them in our files.

    Plain dill stores a class by value, and an instance is then none of the script's own class.
    """
    by_library, ours_by_dill, theirs_by_dill = same_script[name]
    if name == "identity of a class":
        assert by_library == ours_by_dill == "((True, True), True)"
    else:
        assert by_library == ours_by_dill == theirs_by_dill
        assert "a global" in by_library


@pytest.mark.parametrize("name", main_script.CASES)
def test_header_says_what_holds_code(name: str, expected: Mapping[str, Any]) -> None:
    """A value is marked as code if it holds functions that no name finds."""
    assert expected[name]["code"] is (name in BY_VALUE)


def test_flow_of_a_script_resumes(tmp_path: Path) -> None:
    """A script whose state holds its own classes and functions fails, is fixed, and resumes."""
    error = run(SCRIPT, "flow", tmp_path, check=False)
    assert "OwnError" in error
    assert "step 2 of 2" in error
    (tmp_path / "mended").touch()
    assert json.loads(run(SCRIPT, "flow", tmp_path)) == [["a+", 8, 6], True]


def test_enum_of_a_script(tmp_path: Path) -> None:
    """A member of a script's enum loads as itself, also if a class holds the enum.

    dill writes such classes by value, only warns, and cannot load them.
    """
    run(SCRIPT, "write enum", tmp_path)
    assert run(SCRIPT, "read enum", tmp_path) == "True\nTrue\n"
