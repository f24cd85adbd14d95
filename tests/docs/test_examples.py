"""The example programs, run as a stranger would run them, and killed as machines do."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import tokenize
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from locations import EXAMPLES, EXPECTED

from aiocheckpoint import LocalStateHandler

pytestmark = pytest.mark.timeout(300)  # three surveys of a part of the library on a busy machine
ENVIRONMENT = {**os.environ, "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}
STEPS = ["find", "read", "parse", "measure", "report"]
COUNTS = ("files", "lines", "bytes", "classes", "functions", "documented")
REFUSED = 5  # the survey ends with the file that makes so many: on 3.11, after a quarter of all
CLOSELY = ("json", "asyncio", "email")  # packages whose every definition is counted again here


@dataclass(frozen=True)
class Library:
    """The standard library as another walk and another parser see it.

    Attributes:
        sources: The bytes of its first files, by their paths.
        refused: Paths of the files among them that the compiler's parser refuses.
    """

    sources: dict[str, bytes]
    refused: list[str]

    @property
    def limit(self) -> list[str]:
        """Arguments by which the survey looks at the same files."""
        return ["--limit", str(len(self.sources))]

    @cached_property
    def packages(self) -> dict[str, dict[str, int]]:
        """Number of parsed files, their lines and bytes, by package."""
        packages = dict[str, dict[str, int]]()
        for name in set(self.sources) - set(self.refused):
            package = name.split("/")[0] if "/" in name else "(single modules)"
            counts = packages.setdefault(package, dict.fromkeys(COUNTS[:3], 0))
            text = self.sources[name].decode("latin-1")
            counts["files"] += 1
            counts["lines"] += len(io.StringIO(text, newline=None).readlines())
            counts["bytes"] += len(self.sources[name])
        return packages

    def definitions(self, package: str) -> dict[str, int]:
        """Count the definitions of one package by walking every node of its trees."""
        sources = [code for name, code in self.sources.items() if name.startswith(f"{package}/")]
        nodes = [node for source in sources for node in ast.walk(parse(source))]
        classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
        functions = [n for n in nodes if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
        modules = [node for node in nodes if isinstance(node, ast.Module)]
        documented = sum(bool(has_docstring(n.body)) for n in [*modules, *classes, *functions])
        return {"classes": len(classes), "functions": len(functions), "documented": documented}


@dataclass(frozen=True)
class Survey:
    """One finished call of the survey: the folder of its results, and its output."""

    folder: Path
    printed: str

    @property
    def steps(self) -> list[str]:
        """Names of the steps that were begun, in order."""
        return re.findall(r"^  \[\d/5\] (\w+)$", self.printed, re.MULTILINE)

    @property
    def report(self) -> dict[str, Any]:
        """The report for machines."""
        report: dict[str, Any] = json.loads((self.folder / "report.json").read_text("utf-8"))
        return report

    @property
    def table(self) -> str:
        """The report for people."""
        return (self.folder / "report.txt").read_text("utf-8")


def command(name: str, *arguments: str) -> list[str]:
    """Give the command line of an example."""
    return [sys.executable, str(EXAMPLES / name), *arguments]


def run_example(folder: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an example to its end in a folder of its own; it must succeed."""
    return subprocess.run(
        command(name, *arguments),
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=True,
    )


def parse(source: bytes) -> ast.AST:
    """Parse a source with the compiler, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree: ast.AST = compile(source, "<source>", "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
    return tree


def is_parsed(source: bytes) -> bool:
    """Whether the compiler takes a source."""
    try:
        parse(source)
    except SyntaxError:
        return False
    return True


def has_docstring(body: list[ast.stmt]) -> bool:
    """Whether a block begins with a string as a statement."""
    match body:
        case [ast.Expr(value=ast.Constant(value=str())), *_]:
            return True
        case _:
            return False


@pytest.fixture(scope="module")
def library() -> Library:
    """Read the library's source by a walk of our own, until some files are refused."""
    root = Path(sysconfig.get_path("stdlib"))
    paths = (path for path in root.glob("**/*.py") if path.is_file())
    found = {path.relative_to(root).as_posix(): path for path in paths}
    foreign = re.compile(r"(^|/)(site-packages|dist-packages|__pycache__)/")
    library = Library({}, [])
    for name in sorted(name for name in found if not foreign.search(name)):
        library.sources[name] = found[name].read_bytes()
        if not is_parsed(library.sources[name]):
            library.refused.append(name)
        if len(library.refused) == REFUSED:
            break
    return library


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, library: Library) -> Survey:
    """Survey the library once, without any disturbance."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = run_example(folder, "survey_stdlib.py", "--output", "out", *library.limit)
    assert done.stderr == ""
    return Survey(folder / "out", done.stdout)


def test_quickstart_prints_the_story(tmp_path: Path) -> None:
    """The quickstart prints exactly the expected text, no warnings, and leaves no file behind."""
    done = run_example(tmp_path, "quickstart.py")
    assert done.stdout == (EXPECTED / "quickstart.txt").read_text("utf-8")
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_resume_orders_prints_its_story(tmp_path: Path) -> None:
    """Orders are killed and resumed, exactly as the expected text says, and no file is left."""
    done = run_example(tmp_path, "resume_orders.py")
    assert done.stdout == (EXPECTED / "resume_orders.txt").read_text("utf-8")
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_survey_finds_every_file(undisturbed: Survey, library: Library) -> None:
    """The report counts the files and bytes that another walk finds."""
    assert undisturbed.report["found"] == len(library.sources)
    assert undisturbed.report["bytes"] == sum(map(len, library.sources.values()))


def test_survey_lists_what_does_not_parse(undisturbed: Survey, library: Library) -> None:
    """The report leaves out exactly the files that the compiler refuses, with a reason each."""
    refused = undisturbed.report["refused"]
    assert list(refused) == library.refused
    assert all(re.match(r"does not (parse|decode): \S", why) for why in refused.values())


def test_survey_distinguishes_bytes_from_grammar(undisturbed: Survey, library: Library) -> None:
    """A file is reported as undecodable if Python's own reader of source files cannot read it."""
    root = sysconfig.get_path("stdlib")
    for name, why in undisturbed.report["refused"].items():
        assert name in library.sources
        try:
            with tokenize.open(f"{root}/{name}") as file:
                file.read()
        except (SyntaxError, UnicodeDecodeError):
            assert why.startswith("does not decode")
        else:
            assert why.startswith("does not parse")


def test_survey_measures_packages(undisturbed: Survey, library: Library) -> None:
    """Files, lines and bytes of every package agree with another count."""
    packages = undisturbed.report["packages"]
    measured = {name: {key: counts[key] for key in COUNTS[:3]} for name, counts in packages.items()}
    assert measured == library.packages


@pytest.mark.parametrize("package", CLOSELY)
def test_survey_counts_definitions(undisturbed: Survey, library: Library, package: str) -> None:
    """Classes, functions and docstrings of a package are the ones found by walking every node."""
    counts = undisturbed.report["packages"][package]
    assert {key: counts[key] for key in COUNTS[3:]} == library.definitions(package)


def test_survey_table(undisturbed: Survey) -> None:
    """The table has a row per package with the report's numbers, and was printed."""
    heading, *rows = undisturbed.table.splitlines()
    assert heading.split() == ["package", *COUNTS]
    packages = undisturbed.report["packages"]
    splits = (row.rsplit(maxsplit=len(COUNTS)) for row in rows[: len(packages) + 1])
    cells = {name.strip(): numbers for name, *numbers in splits}
    assert set(cells) == {*packages, "total"}
    for name, counts in packages.items():
        assert cells[name][:5] == [f"{counts[key]:,}" for key in COUNTS[:5]]
    for column, key in enumerate(COUNTS[:5]):
        total = sum(counts[key] for counts in packages.values())
        assert cells["total"][column] == f"{total:,}"
    left_out = [f"left out: {name}: {why}" for name, why in undisturbed.report["refused"].items()]
    assert rows[len(packages) + 1 :] == left_out
    assert undisturbed.printed.endswith("\n\n" + undisturbed.table)


def test_survey_breaks_and_resumes(undisturbed: Survey, library: Library) -> None:
    """If a file does not parse, the run fails in that step, is mended, and resumes there."""
    if not library.refused:
        pytest.skip("every file of this installation parses")
    assert undisturbed.steps == ["find", "read", "parse", "parse", "measure", "report"]
    broken, mended = undisturbed.printed.split("The step is mended.")
    assert re.search(r"^The parser broke on (\S+\.py): ", broken, re.MULTILINE)
    note = "step 3 of 5, 'parse', broke in its part 'step'. The checkpoint in "
    assert f"{note}{undisturbed.folder / 'checkpoint.pkl'} holds" in broken
    assert "input loaded" not in broken
    assert mended.count("parse: input loaded from disk") == 1
    assert mended.count("input loaded from disk") == 1


def test_survey_keeps_large_parts_out(undisturbed: Survey, library: Library) -> None:
    """The checkpoint holds the small variables only, and says that the run is finished."""
    checkpoint = undisturbed.folder / "checkpoint.pkl"
    handler = LocalStateHandler(checkpoint)
    state, header = handler.read(), handler.header()
    assert header is not None
    assert (header.status, header.position) == ("finished", 0)
    assert not {"sources", "facts"} & set(state)
    assert state["files"] == sorted(library.sources)
    assert checkpoint.stat().st_size < (undisturbed.folder / "sources.zip").stat().st_size / 50


def test_survey_says_when_nothing_broke(tmp_path: Path, library: Library) -> None:
    """Among a few sound files nothing breaks: the survey says so, and starts anew when asked."""
    first = sorted(library.sources)[:40]
    assert not set(first) & set(library.refused)
    for _ in range(2):
        done = run_example(tmp_path, "survey_stdlib.py", "--output", "out", "--limit", "40")
        survey = Survey(tmp_path / "out", done.stdout)
        assert survey.steps == STEPS
        assert "Nothing broke" in done.stdout
        assert survey.report["found"] == 40
        assert survey.report["bytes"] == sum(len(library.sources[name]) for name in first)
        assert done.stderr == ""


def test_survey_continues_after_parsing(
    tmp_path: Path, undisturbed: Survey, library: Library
) -> None:
    """Set back to the step after the parsing, the survey loads the facts and reports the same."""
    folder = shutil.copytree(undisturbed.folder, tmp_path / "out")
    for name in ("report.json", "report.txt", "sources.zip"):
        (folder / name).unlink()
    handler = LocalStateHandler(folder / "checkpoint.pkl")
    handler.write({**handler.read(), "checkpoint_index": STEPS.index("measure")})

    done = run_example(tmp_path, "survey_stdlib.py", "--output", "out", *library.limit)
    again = Survey(folder, done.stdout)
    assert again.steps == ["measure", "report"]
    assert "measure: input loaded from disk" in done.stdout
    assert ("Nothing broke" in done.stdout) == (not undisturbed.report["refused"])
    assert (again.report, again.table) == (undisturbed.report, undisturbed.table)


def test_survey_killed_while_parsing(tmp_path: Path, undisturbed: Survey, library: Library) -> None:
    """Killed in the middle of its parsing and started again, the survey ends with equal reports."""
    folder = tmp_path / "out"
    kill_while_parsing(tmp_path, undisturbed.steps.count("parse"), library.limit)
    header = LocalStateHandler(folder / "checkpoint.pkl").header()
    assert header is not None
    assert header.position == STEPS.index("parse")
    assert header.status != "finished"
    assert not (folder / "facts.json").exists()

    done = run_example(tmp_path, "survey_stdlib.py", "--output", "out", *library.limit)
    again = Survey(folder, done.stdout)
    assert again.steps == undisturbed.steps[2:]
    assert (again.report, again.table) == (undisturbed.report, undisturbed.table)
    stored = LocalStateHandler(folder / "checkpoint.pkl").read()
    assert stored == LocalStateHandler(undisturbed.folder / "checkpoint.pkl").read()


def kill_while_parsing(folder: Path, times: int, limit: list[str]) -> None:
    """Start a survey, wait until its parsing step has begun so many times, and kill it."""
    process = subprocess.Popen(
        command("survey_stdlib.py", "--output", "out", *limit),
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stdout is not None
    with process, process.stdout:
        begun = (line for line in process.stdout if line == "  [3/5] parse\n")
        for _ in range(times):
            next(begun)
        time.sleep(0.2)  # into the step; parsing takes seconds
        process.kill()
    assert process.returncode != 0
