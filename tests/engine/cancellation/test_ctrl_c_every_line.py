"""Ctrl-C at every line of `run`. On some of the lines, with every Python: test_ctrl_c.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ctrl_c_lines import check_ctrl_c_on_lines

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(300)  # on a busy machine
@pytest.mark.parametrize(("kind", "stride"), [("threads", 1), ("coroutines", 5)])
def test_ctrl_c_at_every_line_of_run(kind: str, stride: int, tmp_path: Path) -> None:
    """Ctrl-C at any line is raised, leaves nothing locked, and the next run resumes."""
    check_ctrl_c_on_lines(kind, stride, tmp_path)
