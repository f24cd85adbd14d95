"""The last line of a note is a call that can be pasted, and goes on with the run."""

from __future__ import annotations

import asyncio
import enum
from typing import TYPE_CHECKING, Any

import pytest
from support import NAMES, FlowFactory, Runner, State, fail, notes_of

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from pathlib import Path

ODD_ID = "order '42'\n\\"


def last_line(error: BaseException) -> str:
    """The line that a user copies."""
    return notes_of(error).splitlines()[-1]


def paste(line: str, cp: CheckpointFlow, state: State | None = None) -> Any:  # noqa: ANN401
    """Execute a line as a user would, in a script or in a notebook."""
    names: dict[str, Any] = {"cp": cp, "state": state}
    body = f"async def cell():\n    return {line}\n" if line.startswith("await ") else ""
    if not body:
        return eval(line, names)  # noqa: S307 - the line that is tested
    exec(body, names)  # noqa: S102
    return asyncio.run(names["cell"]())


@pytest.mark.parametrize("name", NAMES)
def test_pasted_line_resumes(name: str, any_runner: Runner, flows: FlowFactory) -> None:
    """The line is one call in the way that the run was called, and resumes at the broken step."""
    error = OSError("not yet")
    flows.faults[f"step {name}"] = error
    fail(any_runner, flows.flow(), error, {"who": "given"})
    line = last_line(error)
    expected = "(load_policy='always')"  # `fail` asks for it.
    assert line == ("await cp.arun" if any_runner.name == "arun" else "cp.run") + expected
    flows.faults.clear()
    flows.log.clear()
    assert paste(line, flows.flow())["who"] == "given"
    assert flows.ran() == list(NAMES[NAMES.index(name) :])


def broken_run(runner: Runner, cp: CheckpointFlow, **options: object) -> str:
    """Let a run break in its step "b", and give the last line of the note."""
    with pytest.raises(ZeroDivisionError) as info:
        runner(cp, {"left": 1}, **options)
    return last_line(info.value)


def counting_flow(place: str) -> CheckpointFlow:
    """Make a flow whose step "b" breaks once."""
    cp = CheckpointFlow(place)

    @cp.add_step()
    def a(state: State) -> None:
        state["trail"] = ["a"]

    @cp.add_step()
    def b(state: State) -> None:
        if state.pop("left"):
            raise ZeroDivisionError

    cp.add_step(name="c")(lambda state: state["trail"].append("c"))
    return cp


@pytest.mark.parametrize("run_id", ["order-42", ODD_ID])
def test_line_names_the_run(run_id: str, any_runner: Runner, tmp_path: Path) -> None:
    """A run id is written as Python reads it, so that no line is torn by it."""
    cp = counting_flow(f"{tmp_path}/runs/")
    line = broken_run(any_runner, cp, run_id=run_id)
    assert line.endswith(f"resume({run_id!r})")
    cp.patch({"left": 0}, run_id=run_id)
    assert paste(line, cp)["trail"] == ["a", "c"]


def test_line_keeps_what_was_asked_for(any_runner: Runner, tmp_path: Path) -> None:
    """The loaders and the end that the run was given are in the line as well."""
    cp = counting_flow(f"{tmp_path}/c.pkl")
    line = broken_run(any_runner, cp, load_policy=[True, False, True], until="b")
    assert line.endswith("run(load_policy=[True, False, True], until='b')")
    cp.patch({"left": 0})
    assert paste(line, cp)["trail"] == ["a"]


def test_line_keeps_the_given_data(any_runner: Runner, tmp_path: Path) -> None:
    """Given data are in the line, and a policy that is the flow's own is not."""
    cp = CheckpointFlow(f"{tmp_path}/c.pkl", load_policy="always")
    cp.add_step(name="a")(lambda state, data: 1 / data["left"])
    assert broken_run(any_runner, cp, data={"left": 0}).endswith("run(data=data)")
    line = broken_run(any_runner, cp, load_policy="first only", data={"left": 0})
    assert line.endswith("run(load_policy='first only', data=data)")


class Order(enum.StrEnum):
    """Ids of runs."""

    A = "a"


def test_id_of_a_subclass(any_runner: Runner, tmp_path: Path) -> None:
    """An id of a subclass of str is shown as Python reads a plain one."""
    cp = counting_flow(f"{tmp_path}/runs/")
    with pytest.raises(ZeroDivisionError) as info:
        any_runner(cp, {"left": 1}, run_id=Order.A)
    assert "reset(run_id='a') starts over" in notes_of(info.value)
    assert last_line(info.value).endswith("resume('a')")


@pytest.mark.parametrize("run_id", [None, "x"])
def test_line_where_nothing_is_stored(
    run_id: str | None, any_runner: Runner, tmp_path: Path
) -> None:
    """If the checkpoint was deleted meanwhile, the line starts anew with a state."""
    cp = CheckpointFlow(tmp_path / "c.pkl" if run_id is None else f"{tmp_path}/runs/")

    @cp.add_step()
    def delete(state: State) -> None:
        for file in [*tmp_path.glob("c.pkl"), *tmp_path.glob("runs/**/*.pkl")]:
            file.unlink()
        if state["left"]:
            raise ZeroDivisionError

    line = broken_run(any_runner, cp, run_id=run_id)
    assert line.endswith("run(state)" if run_id is None else "run(state, run_id='x')")
    assert paste(line, cp, {"left": 0}) == {"left": 0}


async def test_line_of_a_finished_run(tmp_path: Path) -> None:
    """A run that was cancelled behind its last snapshot is finished: the line reads its state."""
    entered, free = asyncio.Event(), asyncio.Event()

    async def hook(event: object) -> None:
        if type(event).__name__ == "SnapshotWritten" and getattr(event, "position", 1) == 0:
            entered.set()
            await free.wait()

    cp = CheckpointFlow(tmp_path / "c.pkl", hooks=[hook])
    cp.add_step(name="s")(lambda state: state.update(done=True))
    started = asyncio.create_task(cp.arun({}))
    await entered.wait()  # The start is at position 0 as well.
    entered.clear()
    free.set()
    free = asyncio.Event()
    await entered.wait()
    started.cancel()
    with pytest.raises(asyncio.CancelledError) as info:
        await started
    assert "The run is finished" in notes_of(info.value)
    assert last_line(info.value) == "await cp.aread()"
    assert (await cp.aread())["done"]


async def test_lines_of_many_runs(tmp_path: Path) -> None:
    """Each result of `amap` names its own run."""
    cp = counting_flow(f"{tmp_path}/runs/")
    results = await cp.amap({name: {"left": 1} for name in ("x", "y")})
    lines = {result.run_id: last_line(result.error) for result in results if result.error}
    assert lines == {name: f"await cp.aresume({name!r})" for name in ("x", "y")}
