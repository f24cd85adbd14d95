"""The distribution: one version everywhere, a light import, and a self-contained wheel."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from locations import ROOT, program

import aiocheckpoint

SOURCES = sorted((ROOT / "src").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DEPENDENCIES = {"dill", "aiofiles", "anyio"}
LATER = (
    "aiofiles.os",
    *(f"aiocheckpoint.{name}" for name in ("events", "_runs.streams", "_model.retry")),
)

MODULES_OF = """
import importlib, json, sys
before = set(sys.modules)
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""


def run(*command: object, cwd: Path | None = None) -> str:
    """Run a program to its end, without input. Return its output."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def requirement_names(requirements: list[str] | None) -> set[str]:
    """Return the names of the unconditional requirements, extras left out."""
    wanted = (text for text in requirements or () if "extra ==" not in text)
    return {re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in wanted}


def installed_closure(requirements: list[str] | None = None) -> dict[str, metadata.Distribution]:
    """Find requirements and theirs in turn, as far as they are installed here.

    Args:
        requirements: The requirements. By default the declared dependencies.
    """
    found = dict[str, metadata.Distribution]()
    missing = requirement_names(requirements or PROJECT["dependencies"])
    while missing:
        name = missing.pop()
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # required on other Pythons only
        missing |= requirement_names(found[name].requires) - set(found)
    return found


def newest_release() -> str:
    """Return the version of the topmost entry of the changelog, with ".dev0" if unreleased."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(r"^## \[?(\d+\.\d+\.\d+)\]? - (.+)$", text, re.MULTILINE)
    assert found is not None, "no release in the changelog"
    if found[2] == "unreleased":
        return f"{found[1]}.dev0"
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", found[2])
    return found[1]


def modules_imported_by(*names: str) -> set[str]:
    """Return the top-level modules that importing these adds to a fresh interpreter."""
    return set(json.loads(run(sys.executable, "-c", MODULES_OF, *names)))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from the present tree."""
    place = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", place, ROOT)
    (built,) = place.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def empty_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an environment of the wheel and its declared dependencies, without any network.

    pip installs the wheel. The dependencies are copied, at the versions tested here.
    """
    place = tmp_path_factory.mktemp("empty")
    venv.create(place, with_pip=False)
    python = place / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--no-deps", "--no-index", wheel)
    libraries = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    for distribution in installed_closure().values():
        copy_files(distribution, Path(libraries))
    return python


def copy_files(distribution: metadata.Distribution, target: Path) -> None:
    """Copy an installed package's importable files, without its scripts."""
    for file in distribution.files or ():
        if ".." not in file.parts and "__pycache__" not in file.parts:
            copied = target / file
            copied.parent.mkdir(parents=True, exist_ok=True)
            copied.write_bytes(file.read_binary())


def test_one_version_everywhere() -> None:
    """The project file, the module, the installed metadata and the changelog agree."""
    assert PROJECT["version"] == aiocheckpoint.__version__
    assert metadata.version("aiocheckpoint") == aiocheckpoint.__version__
    assert newest_release() == aiocheckpoint.__version__


def test_dependencies_are_the_three() -> None:
    """The library requires dill, aiofiles and anyio, each with a lower bound, and no other."""
    assert requirement_names(PROJECT["dependencies"]) == DEPENDENCIES
    assert all(re.fullmatch(r"\w+>=[\d.]+", text) for text in PROJECT["dependencies"])


def test_import_brings_nothing_but_the_dependencies() -> None:
    """Importing the library imports the standard library, its dependencies, and theirs alone."""
    aliases = {"__mp_main__"}  # the name that multiprocessing gives to __main__
    allowed = {"aiocheckpoint", *sys.stdlib_module_names, *aliases}
    for distribution in installed_closure().values():
        allowed |= {path.parts[0].removesuffix(".py") for path in distribution.files or ()}
    assert modules_imported_by("aiocheckpoint", *LATER) - allowed == set()


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """The wheel brings every module, the typing marker and the licence, and no tests."""
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {path.relative_to(ROOT / "src").as_posix() for path in SOURCES}
    info = f"aiocheckpoint-{aiocheckpoint.__version__}.dist-info"
    assert modules | {"aiocheckpoint/py.typed", f"{info}/licenses/LICENSE"} <= names
    assert {name.split("/")[0] for name in names} == {"aiocheckpoint", info}


def test_wheel_works_in_an_empty_environment(empty_python: Path, tmp_path: Path) -> None:
    """In this environment a flow fails, and a second process resumes it after the finished step."""
    smoke = (empty_python, "-I", program("smoke.py"), tmp_path)
    with pytest.raises(AssertionError, match="ConnectionError"):
        run(*smoke, "break", cwd=tmp_path)
    assert run(*smoke, cwd=tmp_path) == "6\n"
    assert (tmp_path / "counted.txt").read_text() == "once\n"


def test_command_works_in_an_empty_environment(empty_python: Path, tmp_path: Path) -> None:
    """The wheel brings a command, which lists and shows a run without any extra."""
    command = empty_python.with_name("aiocheckpoint")
    with pytest.raises(AssertionError, match="ConnectionError"):
        run(empty_python, "-I", program("smoke.py"), tmp_path, "break", cwd=tmp_path)
    assert run(command, "--help") == run(empty_python, "-I", "-m", "aiocheckpoint", "--help")
    assert "failed" in run(command, "runs", "checkpoint.pkl", cwd=tmp_path)
    with pytest.raises(AssertionError, match=r"pip install 'aiocheckpoint\[cli\]'"):
        run(command, "show", "checkpoint.pkl", "--color", "always", cwd=tmp_path)


def test_command_with_its_extra(empty_python: Path, tmp_path: Path) -> None:
    """With what the extra brings, the same command draws colours."""
    pytest.importorskip("rich", reason="it is of the extra cli")
    extra = tmp_path / "extra"
    for distribution in installed_closure(PROJECT["optional-dependencies"]["cli"]).values():
        copy_files(distribution, extra)
    smoke = f"import runpy, sys; sys.argv = ['', '.']; runpy.run_path({str(program('smoke.py'))!r})"
    run(empty_python, "-I", "-c", smoke, cwd=tmp_path)
    words = ["", "show", "checkpoint.pkl", "--color", "always"]
    call = f"import sys; sys.path.append({str(extra)!r}); sys.argv = {words}"
    call += "; from aiocheckpoint._cli.main import main; sys.exit(main())"
    assert "\x1b[" in run(empty_python, "-I", "-c", call, cwd=tmp_path)


def test_readme_is_short() -> None:
    """The README has fewer than 120 lines."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 120


@pytest.mark.parametrize("path", SOURCES, ids=[path.stem for path in SOURCES])
def test_code_comes_in_small_pieces(path: Path) -> None:
    """No module is longer than 400 lines. No function is longer than 40, without its docstring."""
    source = path.read_text(encoding="utf-8")
    defined = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, defined)]
    assert len(source.splitlines()) <= 400
    assert {function.name for function in functions if lines_of(function) > 40} == set()


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function from its `def`, without its docstring."""
    assert function.end_lineno is not None
    docstring = ast.get_docstring(function, clean=False)
    documented = len(docstring.splitlines()) if docstring else 0
    return function.end_lineno - function.lineno + 1 - documented
