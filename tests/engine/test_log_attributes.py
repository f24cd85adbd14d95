"""Log records carry flow, run id, step and attempt. A failure that nobody awaits is an error."""

from __future__ import annotations

import ast
import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from run_factories import UNFINISHED

import aiocheckpoint
from aiocheckpoint import CheckpointFlow, FlowChangedError, Pause, Retry, StorageError
from aiocheckpoint._logging import NOWHERE, log
from aiocheckpoint.events import StepFinished

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support import FlowFactory, Runner, State

LOGGER = "aiocheckpoint"
NAMES = ("flow", "run_id", "step", "attempt")
AT_ONCE = Retry(attempts=3, wait_initial=0, wait_jitter=0)


def facts_of(caplog: pytest.LogCaptureFixture, words: str) -> tuple[object, ...]:
    """Give the attributes of the one record with these words."""
    found = [one for one in caplog.records if one.name == LOGGER and words in one.getMessage()]
    assert len(found) == 1, caplog.text
    return tuple(getattr(found[0], name) for name in NAMES)


def errors(caplog: pytest.LogCaptureFixture) -> list[tuple[object, ...]]:
    """Give the attributes of the library's errors in the log."""
    found = [one for one in caplog.records if one.levelno == logging.ERROR and one.name == LOGGER]
    return [tuple(getattr(one, name) for name in NAMES) for one in found]


def add_flaky(cp: CheckpointFlow) -> None:
    """Add a step that fails once."""
    failing = [True]

    @cp.add_step(retry=AT_ONCE)
    def flaky(state: State) -> None:
        if failing:
            failing.clear()
            raise OSError


def test_every_record_of_a_run_has_its_attributes(
    any_runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """Records of a step have its name and attempt, those of the run have None."""
    caplog.set_level(logging.DEBUG, LOGGER)

    def hook(event: object) -> None:
        if isinstance(event, StepFinished):
            raise ConnectionError

    cp = CheckpointFlow(flows.path, name="orders", hooks=[hook])
    add_flaky(cp)
    cp.add_step(name="odd")(lambda state: 1)
    any_runner(cp, run_id="order-42")
    run, step = ("orders", "order-42", None, None), ("orders", "order-42", "flaky")
    assert facts_of(caplog, "Starts at step 1") == run
    assert facts_of(caplog, "run 1 finished") == run
    assert facts_of(caplog, "attempt 1 at step 'flaky' failed") == (*step, 1)
    assert facts_of(caplog, "step 'flaky' took") == (*step, 2)
    assert facts_of(caplog, "step 'odd' is not kept") == ("orders", "order-42", "odd", 1)
    ours = [one for one in caplog.records if one.name == LOGGER]
    assert all(hasattr(one, name) for one in ours for name in NAMES)
    snapshots = [one.__dict__["step"] for one in ours if "snapshot of" in one.getMessage()]
    assert snapshots == [None, "flaky", "odd"]
    hooks = [one.__dict__["attempt"] for one in ours if "hook raised" in one.getMessage()]
    assert hooks == [2, 1]


def test_run_inside_a_step_has_its_own_attributes(
    runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """The records of an inner flow name no step of the outer one."""
    caplog.set_level(logging.INFO, LOGGER)
    inner = CheckpointFlow(flows.path.with_name("inner.pkl"))
    inner.add_step(name="a")(lambda state: None)
    outer = CheckpointFlow(flows.path, name="outer")

    @outer.add_step()
    def calls(state: State) -> None:
        inner.run()

    runner(outer)
    assert facts_of(caplog, "inner: run 1 finished") == ("inner", None, None, None)
    assert facts_of(caplog, "inner: step 'a' took") == ("inner", None, "a", 1)
    assert facts_of(caplog, "outer: step 'calls' took") == ("outer", None, "calls", 1)


def test_a_record_about_no_run_has_the_attributes(caplog: pytest.LogCaptureFixture) -> None:
    """A format with the four names fits every record of the logger."""
    log(logging.WARNING, NOWHERE, "About no run.")
    assert facts_of(caplog, "About no run.") == (None, None, None, None)


@pytest.fixture
def factory_with_run_ids() -> Iterator[None]:
    """Give each record of the program an attribute `run_id` of its own."""
    factory = logging.getLogRecordFactory()

    def make(*args: Any, **kwargs: Any) -> logging.LogRecord:  # noqa: ANN401
        record = factory(*args, **kwargs)
        record.run_id = f"the program's, on {record.name.upper()}"
        return record

    logging.setLogRecordFactory(make)
    yield
    logging.setLogRecordFactory(factory)


@pytest.mark.usefixtures("factory_with_run_ids")
def test_attributes_that_the_program_sets_itself_stay(
    runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """`logging` raises a KeyError for an attribute that is set twice. It breaks no run."""
    caplog.set_level(logging.INFO, LOGGER)
    runner(flows.flow("a", name="orders"), run_id="order-42")
    expected = ("orders", "the program's, on AIOCHECKPOINT", "a", 1)
    assert facts_of(caplog, "step 'a' took") == expected


def test_every_record_goes_one_way() -> None:
    """No module but `_logging` uses the logger itself, so that no record lacks its attributes."""
    package = Path(aiocheckpoint.__file__).parent
    users = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, (ast.Name, ast.alias)) and "logger" in ast.unparse(node).lower()
    }
    assert users == {"_logging.py"}


def test_retries_of_stamina_name_flow_step_and_run(
    runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """Its record names flow and step as the callable, as its metrics do, and the run apart."""
    cp = CheckpointFlow(flows.path, name="orders")
    add_flaky(cp)
    runner(cp, run_id="order-42")
    (record,) = [one for one in caplog.records if one.name == "stamina"]
    facts = vars(record)
    assert (facts["stamina.callable"], facts["stamina.kwargs"]) == (
        "orders.flaky",
        {"run_id": "order-42"},
    )


def test_failed_attempt_is_a_warning(
    runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged though nothing below a warning is."""
    caplog.set_level(logging.WARNING, LOGGER)
    cp = CheckpointFlow(flows.path, name="orders")
    add_flaky(cp)
    runner(cp, run_id="order-42")
    assert facts_of(caplog, "attempt 1 at step 'flaky'") == ("orders", "order-42", "flaky", 1)


def services(path: Path) -> list[CheckpointFlow]:
    """Make the same flow in a directory and in a database."""
    return [CheckpointFlow(path / "runs/", name="s"), CheckpointFlow(f"sqlite:///{path}/s.db")]


def add_parts(cp: CheckpointFlow) -> None:
    """Add a step whose runs end in different ways."""

    @cp.add_step()
    async def part(state: State) -> None:
        match state["way"]:
            case "fails":
                raise OSError("a text of the user")
            case "is cancelled":
                raise asyncio.CancelledError
            case "pauses":
                raise Pause("waiting")
            case _:
                pass

    cp.add_step(name="last")(lambda state: None)


@pytest.mark.parametrize("level", [logging.DEBUG, logging.ERROR])
@pytest.mark.parametrize("place", [0, 1], ids=["directory", "sqlite"])
async def test_results_that_failed_are_errors_in_the_log(
    level: int, place: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Failed runs of `amap` and `aresume_all` are, cancelled, paused and finished ones are not."""
    caplog.set_level(level, LOGGER)
    cp = services(tmp_path)[place]
    add_parts(cp)
    ways = ("fails", "is cancelled", "pauses", "finishes")
    results = await cp.amap({way: {"way": way} for way in ways})
    assert len(results) == 4
    assert errors(caplog) == [("s", "fails", "part", 1)]
    assert "a text of the user" not in caplog.text
    caplog.clear()
    assert {result.run_id for result in await cp.aresume_all(status=UNFINISHED)} == {
        "fails",
        "is cancelled",
    }
    assert errors(caplog) == [("s", "fails", "part", 2)]


@pytest.mark.parametrize("place", [0, 1], ids=["directory", "sqlite"])
async def test_a_refused_run_is_an_error_in_the_log(
    place: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A run whose steps have changed is named with the reason, and with no step."""
    cp, changed = services(tmp_path)[place], services(tmp_path)[place]
    cp.add_step(name="first")(lambda state: None)
    add_parts(cp)
    await cp.amap({"r": {"way": "fails"}})
    changed.add_step(name="other")(lambda state: None)
    add_parts(changed)
    caplog.clear()
    (result,) = await changed.aresume_all(status=UNFINISHED)
    assert isinstance(result.error, FlowChangedError)
    assert errors(caplog) == [("s", "r", None, None)]
    assert "[first, part, last]" in caplog.text


async def test_an_exception_that_the_caller_gets_is_no_error_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`arun`, `aresume` and `astream` raise it."""
    caplog.set_level(logging.DEBUG, LOGGER)
    cp = CheckpointFlow(f"sqlite:///{tmp_path}/s.db")
    add_parts(cp)
    with pytest.raises(OSError, match="a text"):
        await cp.arun({"way": "fails"}, run_id="r")
    with pytest.raises(OSError, match="a text"):
        await cp.aresume("r")
    with pytest.raises(OSError, match="a text"):
        await cp.astream(run_id="r")
    assert errors(caplog) == []


async def test_a_drain_that_is_not_noted_is_logged_with_its_attributes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that cannot be written is named by a warning about the flow."""
    cp = CheckpointFlow(f"sqlite:///{tmp_path}/s.db", name="orders")
    begun, go = asyncio.Event(), asyncio.Event()

    def cannot_note(run_ids: object) -> None:
        go.set()
        raise StorageError("s.db", "the disk is full")

    @cp.add_step()
    async def waits(state: State) -> None:
        begun.set()
        await go.wait()

    monkeypatch.setattr(cp.handler, "note_draining", cannot_note)
    run = asyncio.ensure_future(cp.arun(run_id="r"))
    await begun.wait()
    await cp.adrain()
    await run
    assert facts_of(caplog, "the disk is full") == ("orders", None, None, None)


async def test_conflicts_and_drains_are_no_errors(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that another task runs, or that a drain has stopped, did not fail."""
    cp = CheckpointFlow(f"sqlite:///{tmp_path}/s.db")
    begun, go = asyncio.Event(), asyncio.Event()

    @cp.add_step()
    async def waits(state: State) -> None:
        begun.set()
        await go.wait()

    cp.add_step(name="last")(lambda state: None)
    mapped = asyncio.ensure_future(anext(aiter(cp.amap({"r": {}}))))
    await begun.wait()
    (refused,) = await cp.amap({"r": {}})
    assert "RunInProgressError" in repr(refused.error)
    drain = asyncio.ensure_future(cp.adrain())
    await asyncio.sleep(0)
    go.set()
    assert "DrainingError" in repr((await mapped).error)
    await drain
    assert errors(caplog) == []
