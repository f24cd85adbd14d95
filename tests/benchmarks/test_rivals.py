"""Libraries beside ours: each in a process of its own, with its promises, or why it is absent.

None is installed here. The failures to install and to start are real: a cache that is a file, and
interpreters that exit or never answer.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from benchmarking import BENCHMARKS, run_benchmark

if TYPE_CHECKING:
    from pathlib import Path

SMALLEST = ("--rounds=2", "--steps", "2")
OURS = "aiocheckpoint, local file, arun, 2 steps"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the interpreters are scripts")


@pytest.fixture(autouse=True)
def _benchmarks_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def entrants() -> tuple[Any, ...]:
    """Give the known libraries."""
    found: tuple[Any, ...] = import_module("peers.single_runs").PEERS
    return found


def fake_interpreter(place: Path, script: str) -> Path:
    """Make an executable that does something else than run Python."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    place.chmod(0o755)
    return place


def test_what_cannot_be_installed_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The benchmark ends well, reports why a library is absent, and has the other figures."""
    cache = tmp_path / "cache"
    cache.write_text("no directory", "utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))

    printed, written = run_benchmark("rivals", (*SMALLEST, "--only", "Burr", "DBOS"), tmp_path)

    assert set(written["absent"]) == {"Burr", "DBOS"}
    assert str(cache) in written["absent"]["DBOS"]
    assert "DBOS was not measured: " in printed
    assert OURS in {pair["subject"] for pair in written["pairs"]}


def test_what_ends_at_its_start_is_named_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason why a library does not start is reported, and the next one still has its turn.

    The reason is how its process ended, and the last line of its complaints.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for entrant in entrants():
        if entrant.name in {"LangGraph", "Prefect"}:
            place = entrant.environment.place
            fake_interpreter(place / "bin" / "python", f"echo {entrant.name} is ill >&2; exit 3")
            (place / "complete").touch()

    arguments = (*SMALLEST, "--only", "LangGraph", "Prefect")
    _, written = run_benchmark("rivals", arguments, tmp_path)

    assert written["absent"] == {
        name: f"{name}'s process ended with 3: {name} is ill" for name in ("LangGraph", "Prefect")
    }


def test_a_process_that_does_not_answer_is_ended(tmp_path: Path) -> None:
    """A server that never starts is ended after the time limit."""
    module = import_module("measure.environments")
    python = fake_interpreter(tmp_path / "python", "exec sleep 600")

    with pytest.raises(module.WorkerEndedError, match="Slow's process ended with -9"):
        module.Worker("Slow", python, "gumly_worker.py", patience=0.2)


def test_each_library_has_its_promises_and_their_source(tmp_path: Path) -> None:
    """Durable, atomic, async and resumes are answered for all, with the version read."""
    promises = import_module("page.promises")

    assert {entrant.name for entrant in entrants()} == promises.PROMISES.keys()
    for entrant in entrants():
        reported = entrant.promise.as_json()
        facts = {name: reported[name] for name in ("durable", "atomic", "async", "resumes")}
        assert {fact["answer"] for fact in facts.values()} <= {"yes", "no", "in part"}
        assert all(fact["because"] for fact in facts.values())
        versions = [part.rpartition("==")[2] for part in entrant.environment.installs[0]]
        assert any(version in str(reported["source"]) for version in versions)


def test_promises_beside_the_figures(tmp_path: Path) -> None:
    """The promises of our handlers and of the requested libraries are printed and written."""
    cache = tmp_path / "cache"
    cache.write_text("no directory", "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        printed, written = run_benchmark("rivals", (*SMALLEST, "--only", "gumly"), tmp_path)

    names = {"aiocheckpoint, local file", "aiocheckpoint, SQLite", "gumly"}
    assert written["promises"].keys() == names
    assert written["promises"]["gumly"]["durable"]["answer"] == "no"
    assert all(f"Note: {name}: durable: " in printed for name in names)


def test_gumly_is_measured_whole_and_between_steps(tmp_path: Path) -> None:
    """If gumly is installed, its runs are beside ours, with its promises in a line."""
    gumly = next(entrant for entrant in entrants() if entrant.name == "gumly")
    if not gumly.environment.is_installed:
        pytest.skip("benchmarks/step_cost.py has not yet installed gumly")

    printed, written = run_benchmark("rivals", (*SMALLEST, "--only", "gumly"), tmp_path)

    (pair,) = (pair for pair in written["pairs"] if pair["subject"] == "gumly, 2 steps")
    assert pair["base"] == "aiocheckpoint, local file, run, 2 steps"
    assert pair["remark"] == "promises: durable no, atomic no, async no, resumes yes"
    assert pair["remark"] in printed
    assert written["machine"]["gumly"] == "1.2.0"
    assert written["extra"]["gumly, 2 steps, between"]["spread"]["median"] > 0
    assert written["absent"] == {}
