"""The log: on one logger, configured by the user alone, and without values of the state."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from log_secrets import CANARY, LOGGER, Mute, all_text, with_secrets
from support import make_stored

from aiocheckpoint import CheckpointError, CheckpointFlow

if TYPE_CHECKING:
    from pathlib import Path

    from support import FlowFactory, Runner, State


def messages(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    """Give the library's log messages of a level."""
    found = [record for record in caplog.records if record.levelno == level]
    assert {record.name for record in caplog.records} <= {LOGGER, "asyncio"}
    return [record.getMessage() for record in found if record.name == LOGGER]


def test_course_of_a_run_is_logged(
    any_runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """Runs, steps and failures are logged at INFO, the rest at DEBUG, and nothing above."""
    caplog.set_level(logging.DEBUG, LOGGER)
    flows.faults["step b"] = error = OSError("broken")
    with pytest.raises(OSError, match="broken"):
        any_runner(flows.flow())
    assert error.__notes__
    flows.faults.clear()
    any_runner(flows.flow())
    info = "\n".join(messages(caplog, logging.INFO))
    for words in ("'a' took", "'b' failed", "OSError", "'b' took", "'c' took", "finished"):
        assert words in info
    assert "bytes" in "\n".join(messages(caplog, logging.DEBUG))
    assert {record.levelno for record in caplog.records} <= {logging.DEBUG, logging.INFO}


def test_run_is_named_in_its_lines(
    any_runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """Every log line names the flow, and the run if it has an id."""
    caplog.set_level(logging.DEBUG, LOGGER)
    any_runner(flows.flow(name="orders"), run_id="order-42")
    lines = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert lines
    assert all("orders" in line and "order-42" in line for line in lines)


def test_state_that_cannot_be_compared_is_a_warning(
    any_runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """A given state beside a stored one of an unknown beginning is logged at WARNING, once."""
    flows.flow().handler.write({"stored": 1, "checkpoint_index": 1})
    caplog.clear()
    any_runner(flows.flow(), {"given": 1})
    warnings = messages(caplog, logging.WARNING)
    assert len(warnings) == 1
    assert "checkpoint" in warnings[0]
    assert "gnores the given state" in warnings[0]


@pytest.mark.parametrize("kind", ["nothing", "finished", "failed at 0"])
def test_used_state_is_no_warning(
    kind: str, any_runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """A given state that is used logs no warning."""
    make_stored(flows, kind)
    caplog.clear()
    any_runner(flows.flow(), {"given": 1})
    assert messages(caplog, logging.WARNING) == []


def test_returned_value_is_a_warning(
    any_runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """A step that returns a value is logged at WARNING, without the value."""
    cp = flows.flow("a")
    cp.add_step(name="odd")(lambda state: CANARY)
    cp.add_step(name="state")(lambda state: state)
    cp.add_step(name="data")(lambda state, data: data)
    any_runner(cp)
    warnings = messages(caplog, logging.WARNING)
    assert len(warnings) == 1
    assert "'odd'" in warnings[0]
    assert CANARY not in caplog.text


def test_warnings_need_no_setting_up(tmp_path: Path) -> None:
    """In a program that does not configure logging, only warnings are shown.

    The library adds no handler, sets no level, and leaves the root logger alone.
    """
    program = """
import logging, sys
from aiocheckpoint import CheckpointFlow
cp = CheckpointFlow(sys.argv[1])
@cp.add_step()
def a(state): return "odd"
cp.run()
logger = logging.getLogger("aiocheckpoint")
assert logger.handlers == [] and logging.getLogger().handlers == []
assert logger.level == logging.NOTSET and logger.propagate and not logger.disabled
assert logger.filters == []
"""
    command = [sys.executable, "-c", program, str(tmp_path / "c.pkl")]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert "'a'" in ended.stderr


def test_logger_that_is_off_gets_nothing(
    any_runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """If the user disables the logger, hooks still get every event."""
    caplog.set_level(logging.CRITICAL, LOGGER)
    make_stored(flows, "failed at 1")
    caplog.clear()
    any_runner(flows.flow())
    assert caplog.records == []
    assert len(flows.events) == 9


def break_state(state: State) -> None:
    """Put into the state an object that cannot be stored."""
    state["bad"] = Mute()


def break_step(state: State) -> None:
    """Raise an exception."""
    raise ValueError("user's own words")


def return_secret(state: State) -> Any:  # noqa: ANN401
    """Return a secret from a step."""
    return CANARY


def return_list(state: State) -> Any:  # noqa: ANN401
    """Return a list of secrets from a loader, instead of a dict."""
    return [CANARY]


@pytest.mark.parametrize("step", [break_state, break_step, return_secret, return_list])
def test_no_value_in_messages(
    step: Any,  # noqa: ANN401
    any_runner: Runner,
    flows: FlowFactory,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No log line and no error of the library holds a value of the state."""
    caplog.set_level(logging.DEBUG, LOGGER)
    cp = CheckpointFlow(flows.path)
    cp.add_step(name="fine")(lambda state: None)
    loader = step if step is return_list else None
    cp.add_step(loader, name="odd")((lambda state: None) if loader else step)
    error: Exception | None = None
    try:
        any_runner(cp, with_secrets(), "always")
    except (CheckpointError, ValueError) as raised:
        error = raised
    assert (error is None) == (step is return_secret)
    assert messages(caplog, logging.DEBUG)
    assert CANARY not in all_text(error, caplog)


def test_no_value_of_an_unstorable_state_in_messages(
    any_runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """The error about an unserializable state names paths and types only."""
    caplog.set_level(logging.DEBUG, LOGGER)
    cp = flows.flow("a")
    with pytest.raises(TypeError) as info:
        any_runner(cp, with_secrets(bad=Mute(), worse=[Mute()]))
    said = all_text(info.value, caplog)
    assert 'state["bad"]' in said
    assert 'state["worse"][0]' in said
    assert CANARY not in said


def test_no_value_of_a_damaged_or_foreign_file_in_messages(
    any_runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """The error about a truncated, altered or foreign file does not quote its content."""
    caplog.set_level(logging.DEBUG, LOGGER)
    any_runner(flows.flow(), with_secrets())
    whole = flows.path.read_bytes()
    assert CANARY.encode() in whole
    for damaged in (whole[:-1], whole[1:], whole.replace(b"canary", b"cAnary"), whole + b"x"):
        flows.path.write_bytes(damaged)
        with pytest.raises(CheckpointError) as info:
            any_runner(flows.flow())
        assert CANARY not in all_text(info.value, caplog).replace("cAnary", "canary")
    flows.path.unlink()


def test_no_value_of_wrong_arguments_in_messages(
    any_runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """The error about a state of another type names the type only."""
    for wrong in ([CANARY], CANARY, {CANARY}):
        with pytest.raises(TypeError) as info:
            any_runner(flows.flow(), wrong)
        assert CANARY not in all_text(info.value, caplog)


def test_no_value_in_messages_about_a_busy_path(
    flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the lock file nor the error about it holds a value."""
    caplog.set_level(logging.DEBUG, LOGGER)
    cp = CheckpointFlow(flows.path)
    seen: list[bytes] = []

    @cp.add_step()
    async def inside(state: State) -> None:
        seen.extend(path.read_bytes() for path in flows.path.parent.glob("*.lock"))
        seen.extend(path.read_bytes() for path in flows.path.parent.glob(".*.lock"))
        with pytest.raises(CheckpointError) as info:
            await cp.arun()
        assert CANARY not in all_text(info.value, caplog)

    asyncio.run(cp.arun(with_secrets()))
    assert seen
    assert not any(CANARY.encode() in content for content in seen)
