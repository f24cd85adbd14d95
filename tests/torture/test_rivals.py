"""Every library that `rivals.py` knows is installed from PyPI, started, and measured."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import pytest
from benchmarking import BENCHMARKS, run_benchmark

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.torture, pytest.mark.timeout(900)]


def test_all_libraries_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each library is present and paired with one of our runners, and no file is left behind."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = {entrant.name for entrant in import_module("peers.single_runs").PEERS}

    arguments = ("--rounds=2", "--steps", "3", "--seconds=1")
    _, written = run_benchmark("rivals", arguments, tmp_path)

    assert written["absent"] == {}
    paired = {pair["subject"]: pair["base"] for pair in written["pairs"] if "remark" in pair}
    assert paired.keys() == {f"{name}, 3 steps" for name in names}
    assert all(base.startswith("aiocheckpoint, ") for base in paired.values())
    for name in names:
        assert written["extra"][f"{name}, 3 steps, between"]["spread"]["median"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]
