"""The benchmarks run, print their figures and write them down. Nothing here asserts a time."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
from benchmarking import BENCHMARKS, run_benchmark

CASES = {
    "step_cost": (
        ("--rounds=2", "--steps=3", "--no-gumly"),
        ("arun, coroutine step", "run, sync step, signed", "run, sync step, fsync=False"),
    ),
    "serialise": (
        ("--rounds=2", "--count=50", "--megabytes=1"),
        (
            "dill, 50 plain dicts",
            "dill, array of 1 MB",
            "dill, 100 times one lambda",
            "ours, 25 plain dicts, one instance of the script",
        ),
    ),
    "digests": (
        ("--rounds=2", "--count=50"),
        ("digest of a small state", "digest of 50 dicts, keyed", "digest of a step's code, first"),
    ),
    "replays": (
        ("--rounds=2", "--waiting=5", "--no-http"),
        ("5 calls woken", "step beside 5 waiting calls", "step beside 5 woken calls"),
    ),
    "start_up": (
        ("--rounds=1", "--count=50"),
        (
            "import aiocheckpoint",
            "aiocheckpoint --help",
            "process to step, 50 dicts, SQLite",
            "run to step, 50 dicts",
        ),
    ),
    "look": (
        ("--rounds=1", "--rows=200"),
        (
            "runs --limit 50, 200 runs",
            "count of 200 runs by status",
            "diff of two states of 440 KB",
        ),
    ),
    "displays": (
        ("--rounds=1", "--steps=20", "--runs=3"),
        ("progress(), one watch", "run of 20 steps, with a card", "3 runs at once, with a card"),
    ),
    "many_runs": (
        ("--rounds=2", "--runs=3", "--crowds", "2", "--queued=4", "--no-rivals"),
        (
            "asubmit, 4 runs",
            "4 runs queued for 2 processes",
            "aiocheckpoint on SQLite, 3 runs",
            "2 runs, aiocheckpoint on SQLite",
            "2 runs, aiocheckpoint on files",
        ),
    ),
    "engine": (
        ("--rounds=1", "--parts", "steps", "--steps=3"),
        ("step through ProcessPoolExecutor",),
    ),
    "rivals": (
        ("--rounds=2", "--steps", "2", "3", "--no-rivals"),
        ("aiocheckpoint, local file, arun, 2 steps", "aiocheckpoint, local file, run, 3 steps"),
    ),
    "large_state": (
        ("--rounds=2", "--largest=1", "--count=50"),
        ("1 MB, arun", "1 MB, run", "50 dicts, arun"),
    ),
    "scaling": (
        ("--rounds=2", "--steps=100", "--rows=100", "--bytes=10000", "--work=2"),
        ("100 steps, run", "100 rows, arun on SQLite", "10000 bytes of state, run"),
    ),
}


class Outcome(NamedTuple):
    """The output of a benchmark, its written figures, and the names of the files that it left."""

    printed: str
    written: dict[str, Any]
    left: list[str]


@cache
def outcome(name: str) -> Outcome:
    """Run a benchmark at its smallest, once for all tests."""
    with TemporaryDirectory() as directory:
        place = Path(directory)
        printed, written = run_benchmark(name, CASES[name][0], place)
        return Outcome(printed, written, [path.name for path in place.iterdir()])


@pytest.mark.parametrize("name", CASES)
def test_benchmark_prints_and_writes_its_figures(name: str) -> None:
    """Every subject is in the table and in the JSON, with a sample of both sides per round."""
    arguments, subjects = CASES[name]
    rounds = int(arguments[0].partition("=")[2])

    printed, written, _ = outcome(name)

    assert set(subjects) <= {pair["subject"] for pair in written["pairs"]}
    for pair in written["pairs"]:
        assert pair["subject"] in printed
        assert pair["base"] in printed
        assert len(pair["subject_samples"]) == len(pair["base_samples"]) == rounds
        assert min(pair["subject_samples"] + pair["base_samples"]) > 0


@pytest.mark.parametrize("name", CASES)
def test_benchmark_names_machine_and_command(name: str) -> None:
    """Figures come with their machine, and with the command that measures them again."""
    printed, written, _ = outcome(name)

    assert {"CPU", "cores", "system", "Python", "aiocheckpoint", "dill"} <= written[
        "machine"
    ].keys()
    assert printed.startswith(f"CPU {written['machine']['CPU']}; ")
    assert written["command"].startswith(f"python benchmarks/{name}.py --rounds")


def test_goals_are_printed_beside_the_ratios() -> None:
    """The goals for the two runners are in the table, each met or missed."""
    printed, written, _ = outcome("step_cost")

    goals = [pair["goal"] for pair in written["pairs"][:4]]
    on_disk = written["machine"]["file system"] != "tmpfs"
    expected = ["at most 1.2", "at most 1.15", "at most 1.3", "at most 1.25"]
    assert goals == (expected if on_disk else [None] * 4)
    assert printed.count("goal: ") == 4 * on_disk + 2  # two goals of the CPU time


def test_libraries_that_are_missing_are_named() -> None:
    """The serialiser's figures have the objects of a library, or a note that it is missing."""
    printed, written, _ = outcome("serialise")

    subjects = {pair["subject"] for pair in written["pairs"]}
    for name, subject in (
        ("pandas", "dill, frame of 5 rows"),
        ("scikit-learn", "dill, 100 times a pipeline"),
    ):
        assert (subject in subjects) is (f"{name} is not installed" not in printed)


def test_flushes_pause_where_they_are_to() -> None:
    """Both a step and its floor wait for two pauses, and the time beside the floor is reported."""
    _, written, _ = outcome("step_cost")

    pairs = {pair["subject"]: pair for pair in written["pairs"]}
    paused = pairs["run, sync step, flushes pause 0.1 ms"]
    assert min(paused["subject_samples"] + paused["base_samples"]) >= 200
    assert "beside the floor, run, behind pauses" in written["extra"]


def test_own_cpu_time_is_what_there_is_beside_the_floor() -> None:
    """The floor's CPU time is subtracted in each round, and the two runners have their goals."""
    _, written, _ = outcome("step_cost")

    runners = {
        "arun": ("arun, coroutine step", "at most 120"),
        "run": ("run, sync step", "at most 60"),
    }
    pairs = {pair["subject"]: pair for pair in written["pairs"]}
    for runner, (subject, goal) in runners.items():
        pair, own = (
            pairs[f"{subject}, CPU time"],
            written["extra"][f"library's own CPU time, {runner}"],
        )
        assert pair["base"] == "floor without hop, CPU time"
        of_subject, of_base = sum(pair["subject_samples"]), sum(pair["base_samples"])
        assert own["spread"]["median"] == pytest.approx((of_subject - of_base) / 2, abs=0.5)
        assert own["goal"] == goal


def test_step_cost_names_figures_not_comparable_without_fsync() -> None:
    """The note about ext4 accompanies the figures everywhere."""
    printed, written, _ = outcome("step_cost")

    assert "better protected against power cuts" in printed
    assert any("better protected against power cuts" in note for note in written["notes"])


def test_gumly_is_measured_in_its_own_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If gumly has been installed, its step is beside `run`'s, with fsync and without."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    if not import_module("peers.gumly").environment().is_installed:
        pytest.skip("benchmarks/step_cost.py has not yet installed gumly")

    _, written = run_benchmark("step_cost", ("--rounds=2", "--steps=3"), tmp_path)

    assert written["machine"]["gumly"] == "1.2.0"
    assert [p["goal"] for p in written["pairs"] if p["base"] == "gumly"] == ["at most 0.5", None]


def test_many_runs_give_rate_stalls_and_memory() -> None:
    """Figures with a goal show it, and figures of the loop without the library are beside them."""
    printed, written, _ = outcome("many_runs")

    goals = {name: figure.get("goal") for name, figure in written["extra"].items()}
    assert goals.pop("aiocheckpoint on SQLite, rate") == "at least 25000"
    assert goals.pop("worst stall, by how much more than bare tasks'") == "at most 20"
    assert goals == dict.fromkeys(
        (
            "worst stall, aiocheckpoint on SQLite",
            "worst stall, aiocheckpoint on files",
            "worst stall, bare tasks",
            "memory of a waiting run",
            "memory of a waiting bare task",
            "worst stall, 2 runs, aiocheckpoint on SQLite",
            "worst stall, 2 runs, aiocheckpoint on files",
            "memory of a waiting run, 2 runs, aiocheckpoint on SQLite",
            "memory of a waiting run, 2 runs, aiocheckpoint on files",
        )
    )
    assert printed.count("goal: ") == 4  # the last two are those of rates to a floor's
    assert all(name in printed for name in written["extra"])


def test_rivals_are_measured_in_processes_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the rivals have been installed, their rates and promises are beside ours."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    rivals = import_module("peers.concurrent_runs").RIVALS
    if not all(rival.environment.is_installed for rival in rivals):
        pytest.skip("benchmarks/many_runs.py has not yet installed the rivals")

    arguments = ("--rounds=2", "--runs=3", "--crowds")
    printed, written = run_benchmark("many_runs", arguments, tmp_path)

    goals = {pair["base"]: pair["goal"] for pair in written["pairs"] if pair["goal"]}
    assert goals == {
        "floor, 3 rows": "at least 0.1",
        "Burr, 3 runs": "at least 4",
        "LangGraph, 3 runs": "at least 30",
        "DBOS, 3 runs": "at least 100",
    }
    assert {"apache-burr", "langgraph", "dbos"} <= written["machine"].keys()
    assert printed.count("synchronous=FULL: ") == len(rivals)


def test_scaling_counts_the_stored_runs() -> None:
    """The time of a count is among the figures."""
    printed, written, _ = outcome("scaling")
    assert "count of 100 runs by status" in printed
    assert written["extra"]["count of 100 runs by status"]["spread"]["median"] > 0


@pytest.mark.parametrize(
    "name", ["step_cost", "many_runs", "engine", "rivals", "large_state", "scaling", "look"]
)
def test_benchmarks_leave_nothing_behind(name: str) -> None:
    """A benchmark leaves only its figures behind."""
    assert outcome(name).left == ["figures.json"]
