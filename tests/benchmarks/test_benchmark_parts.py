"""The measuring parts of the benchmarks do as they say: rows, fits, memory, one large write."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from locations import BENCHMARKS

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 30
MIB = 1 << 20
GROWTH = """
from workloads.peak import Peak
kept = b"x" * (20 << 20)
peak = Peak()
more = b"x" * ({} << 20)
del more
print(peak.grown())
"""


@pytest.fixture(autouse=True)
def _benchmarks_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[CheckpointFlow]:
    """Give a flow whose database was filled with copies of a finished run."""
    place = f"sqlite:///{tmp_path / 'runs.db'}"
    asyncio.run(import_module("workloads.flows").counting_run(place, 5)("template"))
    import_module("workloads.rows").fill(tmp_path / "runs.db", "template", COUNT)
    flow = CheckpointFlow(place, name="orders")
    yield flow
    flow.handler.close()


def test_rows_are_what_the_library_would_have_written(filled: CheckpointFlow) -> None:
    """Every copy is listed as a finished run under an id of its own, and none is damaged."""
    headers = list(filled.runs("finished"))

    assert len(headers) == len({header.run_id for header in headers}) == COUNT
    assert {header.position for header in headers} == {0}
    assert {header.steps for header in headers} == {tuple(f"step {n}" for n in range(5))}


def test_rows_hold_the_state_of_the_run_that_they_copy(filled: CheckpointFlow) -> None:
    """A copy reads as the run itself, through all checks of its footer."""
    ids = [header.run_id for header in filled.runs("finished")]

    states = [filled.read(run_id) for run_id in ids]

    assert states == [filled.read("template")] * COUNT
    assert states[0]["count"] == 5


@pytest.mark.parametrize(("power", "factor"), [(0, 3.0), (1, 0.5), (0.25, 7.0)])
def test_exponent_finds_the_power(power: float, factor: float) -> None:
    """Costs that are a power of the size are fitted by that very power, for any factor."""
    points = [(size, factor * size**power) for size in (10, 100, 1000, 10_000)]

    assert import_module("measure.size_series").exponent(points) == pytest.approx(power)


def test_each_round_has_an_exponent_of_its_own() -> None:
    """The smallest size of all is the base, if it is of the same kind."""
    measure = import_module("measure.pairs")
    base = measure.Contender("10 things", lambda: 1.0)
    costs = {100: iter([1.0, 10.0]).__next__, 1000: iter([1.0, 100.0]).__next__}
    ladder = import_module("measure.size_series").SizeSeries.over("things", base, 10, costs, "ms")

    measure.measure(ladder.pairs.values(), 2, warm_ups=0, freeze=False)

    assert dict(ladder.fits()) == {"exponent, things": ("", pytest.approx([0.0, 1.0]))}
    assert [str(pair.goal) for pair in ladder.pairs.values()] == ["None", "at most 1.1"]


@pytest.mark.parametrize(("grown", "least", "most"), [(0, 0, 4 * MIB), (30, 29 * MIB, 40 * MIB)])
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system cannot tell")
def test_memory_that_was_given_back_is_seen(grown: int, least: int, most: int) -> None:
    """Memory taken and given back counts, and memory taken before does not."""
    command = [sys.executable, "-c", GROWTH.format(grown)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=BENCHMARKS)

    assert least <= int(done.stdout) <= most


@pytest.mark.parametrize("method", ["by_run", "by_arun"])
def test_the_large_value_is_written_once(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only one of a run's three snapshots has the value, so one durable step is timed."""
    large = import_module("workloads.large")
    codec = import_module("aiocheckpoint._snapshot.codec").Codec
    written: list[dict[str, Any]] = []
    write, encode_small = codec.write, codec.encode_small

    def noting(self: Any, header: Any, state: Any, *more: Any, **options: Any) -> Any:  # noqa: ANN401
        written.append(dict(state))
        return write(self, header, state, *more, **options)

    def noting_small(self: Any, header: Any, state: dict[str, Any], *more: Any) -> Any:  # noqa: ANN401
        done = encode_small(self, header, state, *more)
        written.append(dict(state))
        return done

    monkeypatch.setattr(codec, "write", noting)
    monkeypatch.setattr(codec, "encode_small", noting_small)
    sample = getattr(large.OneWrite(tmp_path / "c.pkl", bytes(MIB)), method)

    milliseconds = sample() if method == "by_run" else asyncio.run(sample())

    assert milliseconds > 0
    assert ["value" in state for state in written] == [False, True, False]
