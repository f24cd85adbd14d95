"""The script of docs/executors.md is executed, and prints what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from locations import ROOT

if TYPE_CHECKING:
    from pathlib import Path

FILE = re.compile(r"^```py\n# (\w+\.py)\n(.*?)^```", re.DOTALL | re.MULTILINE)
SHOWN = re.compile(r"^```text\n(.*?)^```", re.DOTALL | re.MULTILINE)


def test_script_prints_what_the_page_shows(tmp_path: Path) -> None:
    """The module and the script of the page are run as they are."""
    page = (ROOT / "docs" / "executors.md").read_text("utf-8")
    for name, source in FILE.findall(page):
        (tmp_path / name).write_text(source)
    ran = subprocess.run(
        [sys.executable, "run_surveys.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert ran.stdout == SHOWN.findall(page)[0], ran.stderr
