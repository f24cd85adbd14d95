"""`aiocheckpoint watch`: changes of other processes come as lines, and Ctrl-C harms nothing."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from cli import clean_environment, invoke
from stored_runs import queue_run
from terminals import Terminal

from aiocheckpoint import CheckpointFlow, Pause, current_step
from aiocheckpoint._cli.output import Output
from aiocheckpoint._cli.rendering.changes import ChangeLines, ProgressLines
from aiocheckpoint._cli.terminal import Terminal as Screen
from aiocheckpoint.look import ProgressView, RunView, StepView, open_store
from aiocheckpoint.look._following import ChangedRun

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

State = dict[str, Any]
PATIENCE = 60.0
PLACES = {"database": "sqlite:///{}/orders.db", "directory": "{}/orders/"}
TARGETS = {"database": "orders.db", "directory": "orders"}


class BrokenError(Exception):
    """A step fails."""


def make_flow(place: str) -> CheckpointFlow:
    """A flow of two steps, of which the second does what it is told."""
    cp = CheckpointFlow(place, name="orders", fsync=False)

    @cp.add_step()
    def reserve(state: State) -> None:
        state["reserved"] = True

    @cp.add_step()
    def charge(state: State) -> None:
        gate: threading.Event | None = state.pop("gate", None)
        if gate is not None:
            assert gate.wait(PATIENCE)
        if state.get("do") == "fail":
            raise BrokenError
        if state.get("do") == "pause":
            raise Pause("waiting for \x1b[2J approval")

    return cp


@contextmanager
def watching(folder: Path, *words: str) -> Generator[subprocess.Popen[str]]:
    """Start a watch whose output is piped, and kill it at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "aiocheckpoint", "watch", *words],
        cwd=folder,
        env=clean_environment(None),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def next_record(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for the next line."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the watch ended"
    record: dict[str, Any] = json.loads(line)
    return record


def next_until(process: subprocess.Popen[str], run_id: str, status: str) -> dict[str, Any]:
    """Wait for the line of a run with a status."""
    while True:
        record = next_record(process)
        if (record["run_id"], record["status"]) == (run_id, status):
            return record


@pytest.mark.parametrize("kind", PLACES)
def test_runs_of_other_processes(kind: str, tmp_path: Path) -> None:
    """Claims, ends and deletions come as records, and Ctrl-C ends the watch without a word."""
    cp = make_flow(PLACES[kind].format(tmp_path))
    queue_run(cp, "order-0", {})
    with watching(tmp_path, TARGETS[kind], "--output", "jsonl") as process:
        gate = threading.Event()
        run = threading.Thread(target=run_gated, args=(cp, gate))
        run.start()
        seen = next_until(process, "order-1", "running")
        assert seen["owner"]
        gate.set()
        run.join(PATIENCE)
        assert next_until(process, "order-1", "finished")["step"] is None
        with pytest.raises(BrokenError):
            cp.run({"do": "fail"}, run_id="order-2")
        failed = next_until(process, "order-2", "failed")
        assert failed["failure"]["type"].endswith("BrokenError")
        cp.delete("order-2")
        assert next_until(process, "order-2", "deleted")["location"] == ""
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, errors) == (130, "")
    assert cp.read("order-0") == {"checkpoint_index": 0}


def run_gated(cp: CheckpointFlow, gate: threading.Event) -> None:
    """Run an order that waits in its second step."""
    held = make_flow(str(cp.handler.path))

    @held.add_step(name="charge", replace=True)
    def charge(state: State) -> None:
        assert gate.wait(PATIENCE)

    held.run({}, run_id="order-1")


def test_a_run_is_followed_to_its_end(tmp_path: Path) -> None:
    """On a terminal the steps of a run come as they end, and the watch ends with the run."""
    cp = make_flow(f"{tmp_path}/orders/")
    with pytest.raises(BrokenError):
        cp.run({"do": "fail"}, run_id="order-42")
    words = [sys.executable, "-m", "aiocheckpoint", "watch", "orders", "order-42"]
    terminal = Terminal(words, tmp_path)
    try:
        terminal.wait_for("order-42 of orders, run 1\r\n")
        assert re.fullmatch(r"  ✓ reserve  0\.\d{3} s\r\n", terminal.wait_for("✗ failed"))
        assert "2/2 charge  " in terminal.wait_for("BrokenError\r\n")
        terminal.wait_for("Watching. Ctrl-C ends this, and leaves the runs alone.\r\n")
        cp.patch({"do": "nothing"}, run_id="order-42")
        terminal.wait_for("■ stopped  2/2 charge  by patch\r\n")
        cp.resume("order-42")
        terminal.wait_for("✓ charge")
        terminal.wait_for("✓ finished\r\n")
        assert terminal.process.wait(PATIENCE) == 0
    finally:
        terminal.close()


def test_ctrl_c_on_a_terminal(tmp_path: Path) -> None:
    """Ctrl-C ends a watch on a terminal without a word, and the exit code is 130."""
    queue_run(make_flow(f"{tmp_path}/orders/"), "order-1", {})
    terminal = Terminal([sys.executable, "-m", "aiocheckpoint", "watch", "orders"], tmp_path)
    try:
        terminal.wait_for("alone.\r\n")
        make_flow(f"{tmp_path}/orders/").run({}, run_id="order-2")
        terminal.wait_for("order-2")
        terminal.wait_for("✓ finished")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.process.wait(PATIENCE) == 130
        with pytest.raises(AssertionError, match="the program ended"):
            terminal.wait_for("Traceback")
    finally:
        terminal.close()


def test_a_closed_pipe_ends_it(tmp_path: Path) -> None:
    """A reader that goes, as `head` does, ends the watch without a word."""
    cp = make_flow(f"{tmp_path}/orders/")
    cp.run({}, run_id="order-1")
    with watching(tmp_path, "orders") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stderr.readline().startswith("Watching.")
        cp.run({}, run_id="order-1")
        assert "order-1" in process.stdout.readline()
        process.stdout.close()
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None:
            assert time.monotonic() < deadline
            cp.run({}, run_id="order-1")
            time.sleep(0.05)
        assert (process.returncode, process.stderr.read()) == (141, "")
        process.stdout = None


def test_ended_runs(tmp_path: Path) -> None:
    """A run that has ended for good is shown, and followed no more."""
    cp = make_flow(f"{tmp_path}/orders/")
    cp.run({}, run_id="order-1")
    queue_run(cp, "order-2", {})
    cp.terminate("order-2", "no \x1b[2Jsuch customer")
    done = invoke("watch", "orders", "order-1", cwd=tmp_path)
    assert (done.code, done.out.splitlines()[-1]) == (0, "✓ finished")
    ended = invoke("watch", "orders", "order-2", cwd=tmp_path)
    assert (ended.code, ended.out.splitlines()) == (
        12,
        [
            "order-2 of orders, run 1",
            "⊗ terminated  1/2 reserve  by hand: no \\x1b[2Jsuch customer",
        ],
    )
    assert invoke("watch", "orders", "order-3", cwd=tmp_path).code == 3


def test_the_only_run_is_followed(tmp_path: Path) -> None:
    """A file with one run without an id means that run."""
    make_flow(f"{tmp_path}/orders.pkl").run({})
    done = invoke("watch", "orders.pkl", "--output", "jsonl", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["status"] == "finished"


def test_several_flows(tmp_path: Path) -> None:
    """A store of several flows answers with their list."""
    for name in ("mails", "orders"):
        cp = CheckpointFlow(f"sqlite:///{tmp_path}/o.db", name=name, fsync=False)
        cp.add_step(name="send")(lambda state: None)
        cp.run({}, run_id="one")
    done = invoke("watch", "o.db", cwd=tmp_path)
    assert done.code == 2
    assert "mails" in done.out
    assert invoke("watch", "o.db", "one", "--flow", "mails", cwd=tmp_path).code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--output", "json"], "no whole document"),
        (["order-1", "--status", "failed"], "one run is named"),
    ],
)
def test_wrong_words(words: list[str], said: str, tmp_path: Path) -> None:
    """What cannot be meant is refused, with the remedy."""
    make_flow(f"{tmp_path}/orders/").run({}, run_id="order-1")
    done = invoke("watch", "orders", *words, cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_lines_of_changes(capsys: pytest.CaptureFixture[str]) -> None:
    """The columns grow with their texts, and nothing stored steers the terminal."""
    lines = ChangeLines(
        Output(sys.stdout, sys.stderr, Screen(None, None, colour=False, unicode=False))
    )
    view = RunView(flow="orders", run_id="order-1", location="", status="running", owner="me")
    lines.print(view)
    long = RunView(
        flow="orders",
        run_id="a\x1b[2J very long id",
        location="",
        status="paused",
        pause="waits\nlong",
        step="charge",
        step_count=2,
        position=1,
    )
    lines.print(long)
    lines.print(view)
    shown = [line.partition("  ")[2] for line in capsys.readouterr().out.splitlines()]
    assert shown == [
        "order-1       > running                   me",
        "a\\x1b[2J very long id  = paused      2/2 charge    waits\\nlong",
        "order-1                > running                   me",
    ]


def running_view(done: float, at: float) -> RunView:
    """A run in its second step of three, which has reported progress."""
    steps = [
        StepView(index=0, name="reserve", status="done", seconds=0.03),
        StepView(index=1, name="charge", status="running", began=at - 100, ends_at=at + 500),
        StepView(index=2, name="invoice", status="waiting", expected=600.0),
    ]
    return RunView(
        flow="orders",
        run_id="order-1",
        location="",
        status="running",
        owner="me",
        position=1,
        step="charge",
        step_count=3,
        steps=tuple(steps),
        progress=ProgressView(step="charge", done=done, total=2000.0, note="rows\x1b[2J", at=at),
    )


def test_lines_of_progress(capsys: pytest.CaptureFixture[str]) -> None:
    """How far a step is comes with the time left, and not more than once in ten seconds."""
    lines = ProgressLines(
        Output(sys.stdout, sys.stderr, Screen(None, None, colour=False, unicode=False))
    )
    at = time.time()
    lines.print(running_view(1240, at))
    lines.print(running_view(1250, at))
    assert capsys.readouterr().out.splitlines() == [
        "order-1 of orders, run 0",
        "  + reserve  0.030 s",
        "> running  2/3 charge  me  about 18 min left",
        "  charge  1,240/2,000 rows\\x1b[2J, about 8 min left, run: about 18 min left",
    ]


def test_time_left_of_a_stored_cursor(tmp_path: Path) -> None:
    """Progress that a step has stored tells `show` and `watch` when it ends, and so the run."""
    cp = CheckpointFlow(f"sqlite:///{tmp_path}/orders.db", name="orders", fsync=False)
    looks: list[tuple[RunView, str]] = []

    @cp.add_step()
    def pages(state: State) -> None:
        began = time.monotonic()
        with open_store(tmp_path / "orders.db") as store:
            changed = ChangedRun(store, "order-1", None)
            while not looks and (done := time.monotonic() - began) < PATIENCE:
                current_step().progress(done, 1.5 * PATIENCE, "s", cursor={"at": done})
                time.sleep(0.02)
                seen = changed.look()
                if seen is not None and seen.ends_at:
                    looks.append((seen, invoke("show", "orders.db", "order-1", cwd=tmp_path).out))

    cp.run({}, run_id="order-1")
    cp.handler.close()
    ((seen, shown),) = looks
    assert seen.progress is not None
    assert seen.steps[0].ends_at == pytest.approx(seen.ends_at)
    assert seen.ends_at > seen.progress.at
    head, step, *_ = [line for line in shown.splitlines() if " left" in line]
    assert re.search(r"running at step 1 of 1, 'pages', .*, about \d+ (s|min|h) left", head)
    assert re.search(r"[\d.]+/90 s, \d+ s ago  about \d+ (s|min|h) left", step)
    assert "cursor: " in shown
    lines = io.StringIO()
    ProgressLines(Output(lines, lines, Screen(None, None, colour=False, unicode=False))).print(seen)
    assert re.search(r"pages  [\d.]+/90 s, about \d+ (s|min) left", lines.getvalue())
