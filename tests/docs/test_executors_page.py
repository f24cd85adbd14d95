"""The scripts of docs/executors.md are executed, and print what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from locations import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (ROOT / "docs" / "executors.md").read_text("utf-8")
FILE = re.compile(r"^```py\n# (\w+\.py)\n(.*?)^```", re.DOTALL | re.MULTILINE)
SCRIPT = re.compile(
    r"^```py\n# (run_\w+\.py)\n.*?^```\n\n```text\n(.*?)^```", re.DOTALL | re.MULTILINE
)


def files_of_the_page(folder: Path) -> None:
    """Write the modules and scripts of the page, as they are."""
    for name, source in FILE.findall(PAGE):
        (folder / name).write_text(source)


def executed(script: Path) -> subprocess.CompletedProcess[str]:
    """Execute a script in its folder."""
    return subprocess.run(
        [sys.executable, script.name],
        cwd=script.parent,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


@pytest.mark.parametrize(("name", "shown"), SCRIPT.findall(PAGE))
def test_script_prints_what_the_page_shows(name: str, shown: str, tmp_path: Path) -> None:
    """The modules and the scripts of the page are run as they are."""
    files_of_the_page(tmp_path)
    ran = executed(tmp_path / name)
    assert ran.stdout == shown, ran.stderr


def test_script_without_its_guard(tmp_path: Path) -> None:
    """The process of the step would run the flow: that is said once, and not tried again."""
    files_of_the_page(tmp_path)
    script = tmp_path / "run_primes.py"
    source = script.read_text()
    guarded = 'if __name__ == "__main__":\n    print('
    assert guarded in source
    script.write_text(source.replace(guarded, "print(").replace(", retry=3", ""))
    ran = executed(script)
    assert ran.returncode == 1
    error = next(
        line for line in ran.stderr.splitlines() if line.startswith("aiocheckpoint.ExecutorError")
    )
    assert "ended with exit code 1 before the step began" in error
    assert "if __name__" in error
    assert ran.stderr.count("aiocheckpoint.RunInProgressError") == 1
