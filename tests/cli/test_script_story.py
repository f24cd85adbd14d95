"""A script that breaks, seen and gone on with from the shell."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from cli import clean_environment, invoke, spawn

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
from aiocheckpoint import CheckpointFlow
cp = CheckpointFlow("train.pkl", keep="all")

@cp.add_step()
def fetch(state):
    state["rows"] = [3, 0, 5]

@cp.add_step()
def clean(state):
    state["rows"].append(7)
    state["mean"] = 3.75

@cp.add_step()
def invert(state):
    state["inverted"] = [1 / row for row in state["rows"]]

if __name__ == "__main__":
    cp.run({"who": "me"})
"""


def test_from_the_broken_script_to_the_result(tmp_path: Path) -> None:
    """It is shown, compared and planned. Mended, it runs to its end from where it broke."""
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    broken = subprocess.run(
        [sys.executable, "train.py"],
        cwd=tmp_path,
        env=clean_environment(None),
        capture_output=True,
        text=True,
        check=False,
    )
    assert broken.returncode == 1
    assert broken.stderr.splitlines()[-1].endswith("train.py")

    shown = invoke("show", "train.pkl", cwd=tmp_path)
    assert "failed at step 3 of 3, 'invert'" in shown.out
    assert "ZeroDivisionError: division by zero\n" in shown.out
    compared = invoke("diff", "train.pkl", "fetch..invert", "--values", cwd=tmp_path)
    assert compared.out.splitlines()[1:] == ["+ mean  3.75", "+ rows  [3, 0, 5, 7]", "= who"]
    planned = spawn("plan", "train:cp", cwd=tmp_path)
    assert planned.out.startswith("Starts at step 3 of 3, 'invert', with the stored state")

    script.write_text(SCRIPT.replace('in state["rows"]]', 'in state["rows"] if row]'))
    done = spawn("run", "train:cp", cwd=tmp_path)
    assert (done.code, done.err) == (0, "(the run without an id)  finished\n")
    assert "finished" in invoke("show", "train.pkl", cwd=tmp_path).out
    changed = invoke("diff", "train.pkl", "--values", "--output", "json", cwd=tmp_path)
    assert '"inverted"' in changed.out
