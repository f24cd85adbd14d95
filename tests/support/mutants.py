"""Mutants of one module: small changes to its code, each tried against the tests that concern it.

The changes are made by cosmic-ray, in a copy of the tree. It edits the file itself, so that forked
children and processes of tests run the mutant too, and constants and properties are changed as
well. mutmut, kept as well, switches inside functions without decorators, in forked children of one
pytest, where the library's threads are missing.
"""

from __future__ import annotations

import ast
import logging
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

from locations import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIBRARY = "src/aiocheckpoint"
SECONDS = 240
_logger = logging.getLogger("mutants")
_SAME_BY_NATURE = re.compile(
    r"core/ReplaceComparisonOperator_(Is_Eq|IsNot_NotEq|Eq_Is|NotEq_IsNot)"
)
"""These differ for unusual objects alone, and here None, constants and numbers are compared."""

_TESTED = "not arun and not notebook"
"""These modules do not know whether a loop runs, so one runner of each test is enough."""

_COMPUTING = (ast.BinOp, ast.AugAssign)
_Span: TypeAlias = tuple[tuple[int, int], tuple[int, int]]

TESTS: dict[str, tuple[str, ...]] = {
    "_model/plan.py": (
        *("model/test_plan_decisions.py", "model/test_starts.py", "model/test_changed_steps.py"),
        "engine/test_once.py",
    ),
    "_model/start_points.py": (
        *("model/test_plan_decisions.py", "model/test_starts.py", "model/test_changed_steps.py"),
    ),
    "_model/header.py": (
        *("model/test_header_facts.py", "snapshot/test_headers.py", "model/test_records.py"),
        *("snapshot/test_large_headers.py", "model/test_large_flows.py"),
    ),
    "_snapshot/codec.py": (
        *("snapshot/test_codec.py", "snapshot/test_verify.py", "snapshot/test_secret.py"),
        "snapshot/test_bad_signed_files.py",
    ),
    "handlers/_files/replace.py": (
        *("handlers/local/test_temporary_names.py", "handlers/local/test_flush.py"),
        *("handlers/local/test_bad_paths.py", "handlers/local/test_atomic.py"),
        *("handlers/local/test_failpoints.py", "snapshot/test_very_large.py"),
    ),
    "handlers/_files/lock.py": (
        *("handlers/local/test_lock_file.py", "handlers/local/test_lock.py"),
        *("handlers/local/test_lacking_systems.py", "handlers/local/test_cleared_leftovers.py"),
    ),
    "handlers/leased/_lease.py": (
        *("handlers/sqlite/test_group_commit.py", "handlers/sqlite/test_sqlite_shared.py"),
        "handlers/sqlite/test_sqlite_abandoned_claims.py",
        "handlers/sqlite/test_sqlite_states.py",
        *("handlers/sqlite/test_sqlite_faults.py", "handlers/sqlite/test_sqlite_owners.py"),
    ),
    "handlers/leased/_processor.py": (
        *("handlers/leased/test_store_processor.py", "handlers/leased/test_lost_answers.py"),
        *("handlers/sqlite/test_group_commit.py", "handlers/sqlite/test_failed_commits.py"),
        *("handlers/sqlite/test_one_bad_request.py", "handlers/sqlite/test_sqlite_shared.py"),
        *("handlers/sqlite/test_sqlite_abandoned_claims.py", "handlers/test_keep_all.py"),
        *("handlers/sqlite/test_sqlite_faults.py", "package/test_counts.py"),
        *("handlers/sqlite/test_sqlite_owners.py", "handlers/sqlite/test_sqlite_process_ends.py"),
    ),
    "handlers/leased/_store_processor.py": (
        *("handlers/leased/test_store_processor.py", "handlers/leased/test_lost_answers.py"),
        "handlers/leased/test_putting_off.py",
    ),
    "handlers/leased/_store_session.py": (
        *("handlers/leased/test_store_processor.py", "handlers/leased/test_lost_answers.py"),
        *("handlers/leased/test_putting_off.py", "handlers/leased/test_leased_handler.py"),
    ),
    "handlers/leased/_claims.py": (
        *("handlers/leased/test_store_processor.py", "handlers/leased/test_lost_answers.py"),
        *("handlers/sqlite/test_group_commit.py", "runs/test_counted_starts.py"),
    ),
}
"""The tests that concern each module which decides, fast and telling ones first."""


@dataclass
class Figures:
    """The outcome for one module.

    Attributes:
        module: Path of the module, below the library.
        made: Number of mutants there are.
        tried: Number of mutants that were tried.
        survivors: The change of each mutant that the tests did not notice, as a diff.
    """

    module: str
    made: int
    tried: int
    survivors: list[str] = field(default_factory=list[str])

    @property
    def share_killed(self) -> float:
        """Share of the tried mutants that a test noticed."""
        return 1 - len(self.survivors) / self.tried

    def __str__(self) -> str:
        """The figures in one line, and then each survivor."""
        killed = self.tried - len(self.survivors)
        first = (
            f"{self.module}: {killed} of {self.tried} mutants killed ({self.share_killed:.1%}), "
            f"out of {self.made}"
        )
        return "\n\n".join([first, *self.survivors])


def try_mutants(module: str, copy: Path, most: int, seed: int) -> Figures:
    """Try mutants of a module, in a copy of the tree, which is the working directory.

    Args:
        module: A key of `TESTS`.
        copy: The directory for the copy, empty.
        most: How many mutants are tried. They are drawn at random if there are more.
        seed: Seed of that draw.
    """
    _copy_tree(copy)
    path = copy / LIBRARY / module
    assert path.exists(), f"{module} has moved: TESTS in {__file__} names it"
    mutants = _mutants(path, copy.parent / f"{copy.name}.session")
    drawn = random.Random(seed).sample(mutants, min(most, len(mutants)))  # noqa: S311 - a sample
    command = _command(copy, TESTS[module])
    _check_that_tests_pass(command, path)
    figures = Figures(module, len(mutants), len(drawn))
    mutating: Any = import_module("cosmic_ray.mutating")
    for mutant in drawn:
        result = mutating.mutate_and_test(mutant.mutations, shlex.join(command), SECONDS)
        assert result.worker_outcome == "normal", result.output
        _logger.info("%s: %s", result.test_outcome.value, mutant.mutations[0])
        if not result.is_killed:
            figures.survivors.append(f"{mutant.mutations[0].operator_name}\n{result.diff}")
    return figures


def _copy_tree(copy: Path) -> None:
    for name in ("src", "tests", "docs", "examples", "benchmarks"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "SECURITY.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, copy / name)


def _command(copy: Path, tests: tuple[str, ...]) -> list[str]:
    paths = [str(copy / "tests" / test) for test in tests]
    setting = ["env", f"PYTHONPATH={copy / 'src'}", sys.executable, "-m", "pytest"]
    options = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", "--timeout=60"]
    return [*setting, "-c", str(copy / "pyproject.toml"), *options, "-k", _TESTED, *paths]


def _mutants(path: Path, session: Path) -> list[Any]:
    """All mutants of a file, except for those that are the same program by their nature."""
    work_db: Any = import_module("cosmic_ray.work_db")
    init: Any = import_module("cosmic_ray.commands.init")
    with work_db.use_db(str(session), work_db.WorkDB.Mode.create) as database:
        init.init([path], database, {})
        found = list(database.work_items)
    tree = ast.parse(path.read_text())
    idle = [_span(node) for node in (*_annotations(tree), *_other_systems(tree))]
    computing = [_span(node) for node in ast.walk(tree) if isinstance(node, _COMPUTING)]
    differing = [
        one
        for one in found
        if not _SAME_BY_NATURE.fullmatch(one.mutations[0].operator_name)
        and not _is_in(one.mutations[0], idle)
        # cosmic-ray takes the star of a signature, or before an argument, for a product.
        and ("Binary" not in one.mutations[0].operator_name or _is_in(one.mutations[0], computing))
    ]
    return sorted(differing, key=lambda one: _order(one.mutations[0]))


def _is_in(mutation: Any, spans: list[_Span]) -> bool:  # noqa: ANN401 - of cosmic-ray
    return any(start <= mutation.start_pos < end for start, end in spans)


def _order(mutation: Any) -> tuple[Any, ...]:  # noqa: ANN401 - of cosmic-ray
    return mutation.start_pos, mutation.operator_name, mutation.occurrence


def _span(node: ast.expr | ast.stmt) -> _Span:
    end = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
    return (node.lineno, node.col_offset), end


def _annotations(tree: ast.AST) -> Iterator[ast.expr]:
    """All annotations: changed, they change no behaviour."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.arg, ast.AnnAssign)) and node.annotation is not None:
            yield node.annotation
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.returns is not None:
            yield node.returns


def _other_systems(tree: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """Questions about system and type checker, and the code for Windows: no test here runs it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and ast.unparse(node.left) == "sys.platform":
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "sys.platform == 'win32'":
            yield from node.body
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield node.test
        elif isinstance(node, ast.Call) and ast.unparse(node).startswith("getattr(os, 'O_"):
            yield node


def _check_that_tests_pass(command: list[str], path: Path) -> None:
    """Run the tests without a change. This compiles everything except for the module."""
    environment = {key: value for key, value in os.environ.items() if "BYTECODE" not in key}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
        compiled.unlink()
