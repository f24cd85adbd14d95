"""`progress=` outside of notebooks: words, lines, nothing by default, and runs inside of runs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Literal

import pytest

from aiocheckpoint import CheckpointFlow, Pause, Retry, Terminate, current_step
from aiocheckpoint._display.live import lines
from aiocheckpoint.errors import InvalidTypeError, InvalidValueError

if TYPE_CHECKING:
    from pathlib import Path

    from support import Runner

LINES = [
    "[1/2] reserve: done in ",
    "[2/2] charge: attempt 1 failed: ConnectionError",
    "[2/2] charge: done in ",
    "orders finished after 0:00",
]


def flow(folder: Path, progress: Literal["lines"] | None = None) -> CheckpointFlow[dict[str, Any]]:
    """A flow of two steps. The second ends as the state says."""
    cp = CheckpointFlow(folder / "orders.db", "sqlite", fsync=False, progress=progress)

    @cp.add_step()
    def reserve(state: dict[str, Any]) -> None:
        state["reserved"] = True

    @cp.add_step(retry=Retry(attempts=2, wait_initial=0, wait_jitter=0, on=ConnectionError))
    async def charge(state: dict[str, Any]) -> None:
        if state.get("end") == "retry" and current_step().attempt == 1:
            raise ConnectionError("no")
        if state.get("end") == "pause":
            raise Pause("who\x1b[2J?")
        if state.get("end") == "terminate":
            raise Terminate("sold")
        if state.get("end") == "fail":
            raise LookupError("a secret of the state")

    return cp


def same(shown: str, expected: list[str]) -> None:
    """Compare lines by their beginnings, as durations differ."""
    found = shown.splitlines()
    assert len(found) == len(expected)
    for line, beginning in zip(found, expected, strict=True):
        assert line.startswith(beginning)


def test_lines(runner: Runner, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each end of a step, of an attempt and of the run."""
    runner(flow(tmp_path), {"end": "retry"}, progress="lines")
    same(capsys.readouterr().err, LINES)


ENDS = {
    "pause": ["order-1 [2/2] charge: paused: who\\x1b[2J?"],
    "terminate": ["order-1 terminated: sold"],
    "fail": ["order-1 [2/2] charge: failed after 0:00: LookupError"],
}


@pytest.mark.parametrize("end", ENDS)
def test_lines_of_ends(end: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each end has its line, with the id of the run, and without what the error says."""
    cp = flow(tmp_path, progress="lines")
    error = None
    try:
        cp.run({"end": end}, run_id="order-1")
    except Exception as caught:  # noqa: BLE001 - some ends are errors
        error = caught
    assert (error is None) is (end == "pause")
    same(capsys.readouterr().err, ["order-1 [1/2] reserve: done in ", *ENDS[end]])


def test_progress_in_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The share that is done has a line now and then."""
    monkeypatch.setattr(lines, "LINE_SECONDS", 0.0)
    cp = CheckpointFlow(tmp_path / "rows.pkl", progress="lines")

    @cp.add_step()
    def load(state: dict[str, Any]) -> None:
        current_step().progress(62, 100, "rows")

    cp.run({})
    expected = ["[1/1] load: 62 %", "[1/1] load: done in ", "rows finished after 0:00"]
    same(capsys.readouterr().err, expected)


def test_lines_of_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each failure, and one for all at the end."""
    cp = flow(tmp_path)
    given = {f"order-{number}": {"end": "fail" if number == 3 else ""} for number in range(5)}
    assert len(list(cp.map(given, progress="lines"))) == 5
    shown = capsys.readouterr().err
    same(
        shown,
        [
            "order-3 failed at 2/2 charge: LookupError",
            "orders: 5/5 runs, 4 finished, 1 failed, ",
        ],
    )
    assert [result.run_id for result in cp.resume_all(status="failed", progress="lines")]
    assert "orders: 1 runs, 0 finished, 1 failed, " in capsys.readouterr().err


def test_an_end_without_an_event(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run whose first state cannot be stored tells no end. It has failed all the same."""
    given: dict[str, dict[str, Any]] = {"order-1": {}, "order-2": {"lock": threading.Lock()}}
    assert len(list(flow(tmp_path).map(given, progress="lines"))) == 2
    assert "orders: 2/2 runs, 1 finished, 1 failed, " in capsys.readouterr().err


def test_bar_without_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A bar that has no terminal is lines, and "auto" and "card" are nothing."""
    cp = flow(tmp_path)
    cp.run({}, progress="bar")
    assert len(capsys.readouterr().err.splitlines()) == 3
    for word in ("auto", "card", "none", None):
        cp.run({}, progress=word)
    assert capsys.readouterr().err == ""


def test_word_of_the_flow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A call has the word of its flow, unless it has its own. Copies have it too."""
    cp = flow(tmp_path, progress="lines")
    cp.run({})
    assert capsys.readouterr().err
    cp.run({}, progress="none")
    assert not capsys.readouterr().err


@pytest.mark.parametrize("method", ["run", "resume", "map", "resume_all", "work"])
def test_wrong_words(method: str, tmp_path: Path) -> None:
    """Wrong words are refused at the call, with the right ones named."""
    cp = flow(tmp_path)
    first: tuple[object, ...] = ({},) if method in {"run", "map"} else ()
    first = ("order-1",) if method == "resume" else first
    call: Any = getattr(cp, method)
    with pytest.raises(InvalidValueError, match=r"progress= is .*, not 'bars'"):
        call(*first, progress="bars")
    with pytest.raises(InvalidTypeError, match=r'progress= is .*, not a bool. True is "auto"'):
        call(*first, progress=True)
    with pytest.raises(InvalidTypeError, match=r'not a bool. False is "none"'):
        call(*first, progress=False)
    with pytest.raises(InvalidValueError, match="progress="):
        CheckpointFlow(tmp_path / "x.pkl", progress="loud")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_runs_inside_of_runs(
    runner: Runner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run inside a step of a shown run is not shown, and one inside of another run is."""
    inner = flow(tmp_path, progress="lines")
    outer = CheckpointFlow(tmp_path / "outer.pkl")

    @outer.add_step()
    def plainly(state: dict[str, Any]) -> None:
        inner.run({}, run_id="inside")

    @outer.add_step()
    async def awaited(state: dict[str, Any]) -> None:
        await inner.arun({}, run_id="awaited")
        await asyncio.gather(*(inner.arun({}, run_id=f"beside-{one}") for one in range(2)))

    runner(outer, {}, progress="lines")
    same(capsys.readouterr().err, ["[1/2] plainly", "[2/2] awaited", "outer finished"])
    runner(outer, {})
    shown = {line.split()[0] for line in capsys.readouterr().err.splitlines()}
    assert shown == {"inside", "awaited", "beside-0", "beside-1"}
    inner.run({}, run_id="behind")
    assert capsys.readouterr().err


def test_a_closed_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Lines that cannot be printed end the display, which is logged once, and not the run."""
    with (tmp_path / "stream").open("w") as stream:
        pass
    monkeypatch.setattr(sys, "stderr", stream)
    assert flow(tmp_path).run({}, progress="lines") == {"reserved": True}
    monkeypatch.undo()
    (record,) = [one for one in caplog.records if "display" in one.getMessage()]
    assert "ValueError" in record.getMessage()


def test_no_thread_by_default(tmp_path: Path) -> None:
    """Without a word there is no thread of a display in a script."""
    cp, seen = flow(tmp_path), list[str]()

    @cp.add_step()
    def look(state: dict[str, Any]) -> None:
        seen.extend(one.name for one in threading.enumerate())

    cp.run({})
    assert "aiocheckpoint-display" not in seen


SCRIPT = """
import sys
from aiocheckpoint import CheckpointFlow
cp = CheckpointFlow(sys.argv[1])
@cp.add_step()
def step(state): pass
before = set(sys.modules)
cp.run({})
new = {name for name in set(sys.modules) - before}
print(sorted(name for name in sys.modules if name.split(".")[0] in ("rich", "IPython")))
print(sorted(name for name in new if "_display" in name))
"""


def test_no_import_by_default(tmp_path: Path) -> None:
    """A script imports neither rich nor IPython, and a run no module of displays."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / "checkpoint.pkl"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("[]\n[]\n", "")
