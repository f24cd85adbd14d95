"""Commands that signals end: the run is stored, and the exit code is that of the signal."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import pytest
from cli import COMMAND_LINE, PATIENCE, clean_environment
from shop import Shop, make_shop

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are a POSIX thing")

INT, TERM = signal.SIGINT, signal.SIGTERM


@pytest.fixture
def shop(tmp_path: Path) -> Generator[Shop]:
    """A shop without orders."""
    with make_shop(tmp_path) as shop:
        yield shop


class Started:
    """A command line as a process that signals are sent to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def told(self, text: str, *, on_stderr: bool = False) -> None:
        """Wait until it has printed a line with a text."""
        stream = self.process.stderr if on_stderr else self.process.stdout
        for line in _lines(stream):
            if text in line:
                return
        pytest.fail(f"it ended without {text!r}: {_rest(self.process.stderr)}")

    def ended(self) -> tuple[int, str, str]:
        """Wait for its end, and give the exit code and what it printed since."""
        out, err = _rest(self.process.stdout), _rest(self.process.stderr)
        return self.process.wait(PATIENCE), out, err


def _lines(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def _rest(stream: IO[str] | None) -> str:
    return _lines(stream).read()


@contextmanager
def started(shop: Shop, *words: str) -> Generator[Started]:
    """Start a command with the flow of the shop as its target."""
    command, *rest = words
    with subprocess.Popen(
        [*COMMAND_LINE, command, shop.target, *rest],
        cwd=shop.folder,
        env=clean_environment(None),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Started(process)
        finally:
            process.kill()


def test_interrupted_run_is_stored_and_goes_on(shop: Shop) -> None:
    """Ctrl-C cancels the coroutine of a step. The run is stored, and told as JSON too."""
    state = '{"waits": true, "writes": true}'
    with started(shop, "run", "x", "--state", state, "--output", "json") as command:
        command.told("from a program", on_stderr=True)
        command.told("charging", on_stderr=True)
        command.process.send_signal(INT)
        code, out, err = command.ended()
    record = json.loads(out)["run"]
    assert (code, record["status"], record["code"]) == (130, "cancelled", 130)
    assert "Cancels the step in progress" in err
    assert (shop.status("x"), shop.header("x").next_step) == ("cancelled", "charge")
    assert shop.does("patch", "x", "--unset", "waits", "--yes").code == 0
    assert shop.does("resume", "x").out == "x  finished\n"


def test_run_that_is_terminated_from_outside(shop: Shop) -> None:
    """A bare store takes the request to end a run in progress, whose command tells of its end."""
    with started(shop, "run", "x", "--state", '{"waits": true}') as command:
        command.told("charging")
        refused = shop.bare("requeue", "x", "--write")
        assert (refused.code, "is in use by" in refused.out) == (4, True)
        words = ["--write", "--yes", "--reason", "fraud", "--wait", str(PATIENCE)]
        done = shop.bare("terminate", "x", *words)
        assert (done.code, done.out) == (0, "x  terminated: fraud\n")
        code, _, err = command.ended()
    assert (code, err.splitlines()[-1]) == (12, "x  terminated: fraud")


def test_reader_that_goes_away(shop: Shop) -> None:
    """A closed pipe ends a command for many runs quietly, and the runs are stored."""
    shop.does("submit", "x", "--state", "{}")
    with started(shop, "resume", "x", "nope", "--output", "jsonl") as command:
        assert command.process.stdout is not None
        command.process.stdout.close()
        err = _rest(command.process.stderr)
        assert command.process.wait(PATIENCE) == 141
        assert "Traceback" not in err
    assert shop.status("x") in {"finished", "stopped", "queued"}


def test_sigterm_drains_a_run(shop: Shop) -> None:
    """SIGTERM lets the step in progress end, and the run stops behind it."""
    with started(shop, "run", "x", "--state", '{"hangs": true}') as command:
        command.told("asking")
        command.process.send_signal(TERM)
        command.told("Ends behind the steps in progress", on_stderr=True)
        (shop.folder / "answer").touch()
        code, _, err = command.ended()
    assert (code, err) == (143, "x  stopped: by drain\n")
    assert (shop.status("x"), shop.header("x").next_step) == ("stopped", "charge")


def test_second_signal_does_not_wait_for_a_step(shop: Shop) -> None:
    """A second signal ends the command, though a sync step hangs. Its state is as it was before."""
    with started(shop, "run", "x", "--state", '{"hangs": true}') as command:
        command.told("asking")
        command.process.send_signal(INT)
        command.told("second signal", on_stderr=True)
        command.process.send_signal(TERM)
        code, _, _ = command.ended()
    assert code == 130
    assert (shop.status("x"), shop.header("x").next_step) == ("cancelled", "approve")


def test_worker_is_drained(shop: Shop) -> None:
    """SIGTERM drains a worker, which is its good end: exit code 0."""
    shop.does("submit", "x", "--state", '{"hangs": true}')
    with started(shop, "work", "--output", "jsonl") as command:
        command.told("asking", on_stderr=True)
        command.process.send_signal(TERM)
        command.told("Ends behind the steps in progress", on_stderr=True)
        (shop.folder / "answer").touch()
        code, out, _ = command.ended()
    assert (code, json.loads(out)["status"]) == (0, "stopped")
    assert (shop.status("x"), shop.header("x").stopped_by) == ("stopped", "drain")


@pytest.mark.parametrize("first", [INT, TERM], ids=["sigint", "sigterm"])
def test_coroutine_that_blocks_its_loop(first: signal.Signals, shop: Shop) -> None:
    """A second signal breaks a coroutine that does not let the loop run."""
    second = INT if first == TERM else TERM  # Two of a kind might be taken together.
    state = {"signals": [first, second], "blocks": True}
    done = shop.does("run", "x", "--state", json.dumps(state))
    assert done.code in {128 + first, 128 + second}  # Pending ones are taken by their numbers.
    assert (shop.status("x"), shop.header("x").next_step) == ("cancelled", "charge")


@pytest.mark.parametrize(
    ("command", "first", "code", "status"),
    [
        ("run", INT, 130, "cancelled"),
        ("run", TERM, 143, "stopped"),
        ("resume", INT, 130, "stopped"),
        ("work", INT, 0, "stopped"),
        ("work", TERM, 0, "stopped"),
    ],
)
def test_first_signal(
    command: str, first: signal.Signals, code: int, status: str, shop: Shop
) -> None:
    """The first signal cancels the one run of `run` at Ctrl-C, and else drains."""
    state = {"signals": [first], "waits": status == "cancelled"}
    shop.does("submit", "x", "--state", json.dumps(state))
    words = {"run": ["x"], "resume": ["x"], "work": []}[command]
    done = shop.does(command, *words)
    assert (done.code, shop.status("x")) == (code, status)


@pytest.mark.parametrize("command", ["resume", "work"])
def test_second_signal(command: str, shop: Shop) -> None:
    """A second signal cancels the runs of a command for many, which are stored."""
    state = {"signals": [TERM, INT], "waits": True}
    shop.does("submit", "x", "--state", json.dumps(state))
    done = shop.does(command, *(["x"] if command == "resume" else []))
    assert done.code in {130, 143}
    assert (shop.status("x"), shop.header("x").next_step) == ("cancelled", "charge")


def test_no_run_is_begun_behind_a_signal(shop: Shop) -> None:
    """A drained command for many takes no further run."""
    for run in "ab":
        shop.does("submit", run, "--state", json.dumps({"signals": [INT]}))
    done = shop.does("resume", "a", "b", "--limit", "1")
    assert (done.code, done.out.splitlines()[-1]) == (130, "a  stopped: by drain")
    assert (shop.status("a"), shop.status("b")) == ("stopped", "queued")


def test_signal_that_is_ignored(shop: Shop) -> None:
    """A command that was started with Ctrl-C ignored, as in the background, is not stopped."""
    before = signal.signal(INT, signal.SIG_IGN)
    try:
        shop.run("x", 0, signals=[INT])
        assert signal.getsignal(INT) is signal.SIG_IGN
    finally:
        signal.signal(INT, before)
