"""The programs of docs/dask.md and the survey of the examples are executed on real clusters."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from locations import EXAMPLES, ROOT, program

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (ROOT / "docs" / "dask.md").read_text("utf-8")
FILES: dict[str, str] = dict(
    re.findall(r"^```py\n# (\w+\.py)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
)
FILES_OF_SURVEY = 150


def call(folder: Path, *words: object) -> list[str]:
    """Execute a program of Python in a folder, and give the lines that it prints."""
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONUTF8": "1",
            "PYTHONPATH": os.pathsep.join(paths),
            "SURVEY_STORE": f"sqlite:///{folder}/survey.db",
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-10_000:]
    return done.stdout.splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with the programs of the page."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


def test_programs_of_the_page(folder: Path) -> None:
    """The runs are sent, and a second call reads them."""
    printed = sorted(call(folder, "send_survey.py"))
    assert printed == [
        f"{run} {{'text': '{text}', 'length': {len(text)}, 'kind': '{kind}'}}"
        for run, text, kind in [
            ("a", "snow", "short"),
            ("b", "winter", "long"),
            ("c", "ice", "short"),
        ]
    ]
    assert call(folder, "send_to_gpus.py") == ["x short"]


def test_resources_and_priority(folder: Path) -> None:
    """What is given to the executor of the page is that of the tasks."""
    (found,) = call(folder, program("dask_places_script.py"))
    assert json.loads(found) == {"resources": {"GPU": 1}, "priority": 10}


@pytest.mark.leaves_files
def test_survey(tmp_path: Path) -> None:
    """The survey is finished though its workers are killed, and counts as the one of one process.

    A second call reads its results from the store.
    """
    limit = ["--limit", FILES_OF_SURVEY]
    survey = [EXAMPLES / "dask_survey.py", "--output", tmp_path / "dask", *limit]
    first = call(tmp_path, *survey, "--kills", 3)
    assert sum(line.endswith("is killed") for line in first) == 3
    again = call(tmp_path, *survey, "--kills", 0)
    call(tmp_path, EXAMPLES / "survey_stdlib.py", "--output", tmp_path / "one", *limit)
    table = (tmp_path / "one" / "report.txt").read_text("utf-8").splitlines()
    assert first[-len(table) :] == again[-len(table) :] == table
