"""`migrate=` takes runs of older versions on: state, step, and what is stored meanwhile."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from support import do_nothing, notes_of
from versioned_flows import BrokenError, breaks, flow, header, recorded, stand

from aiocheckpoint import (
    CheckpointError,
    CheckpointFlow,
    InvalidTypeError,
    InvalidValueError,
    Pause,
    Retry,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from run_factories import Runs
    from support import Runner, State


def loading(runs: Runs, name: str) -> Callable[[State], State]:
    """Make a loader that writes its name down."""

    def load(state: State) -> State:
        runs.log.append(f"load {name}")
        return {}

    return load


def split(state: State, version: int) -> None:
    """Rename a value."""
    state["who"], state["from"] = state.pop("name"), version


async def asplit(state: State, version: int) -> None:
    """Do the same in a coroutine."""
    await asyncio.sleep(0)
    split(state, version)


@pytest.mark.parametrize("migrate", [split, asplit])
@pytest.mark.parametrize("version", [None, 1])
def test_state_is_changed_before_the_first_step(
    migrate: Callable[..., Any], version: int | None, runner: Runner, runs: Runs
) -> None:
    """The step gets the changed state, and the next snapshot has it with the new version."""
    stand(runs, "a", "b", at="b", version=version)
    before = header(runs)
    assert (before.version, before.position) == (version or 0, 1)
    cp = flow(runs, "a", "b", version=2, migrate=migrate)
    state = runner(cp, run_id="x")
    assert state == {"who": "Ann", "from": version or 0, "trail": ["a", "b"]}
    assert (header(runs).version, header(runs).finished) == (2, True)


@pytest.mark.parametrize("place", ["pay", 2])
def test_step_is_chosen(place: object, runner: Runner, runs: Runs) -> None:
    """A returned name or index is the step to go on at, and no name is compared."""
    stand(runs, "fetch", "charge", at="charge")
    cp = flow(runs, "get", "check", "pay", "send", version=2, migrate=lambda state, version: place)
    runs.log.clear()
    assert runner(cp, run_id="x")["trail"] == ["fetch", "pay", "send"]


@pytest.mark.parametrize(
    ("names", "ran"),
    [
        pytest.param(("a", "new", "b", "c"), ["new", "b", "c"], id="as without migrate"),
        pytest.param(("new", "a", "b", "c"), ["b", "c"], id="by name"),
        pytest.param(("A", "B", "C"), ["B", "C"], id="by index"),
        pytest.param(("a",), [], id="no step left"),
    ],
)
def test_place_without_a_result(names: tuple[str, ...], ran: list[str], runs: Runs) -> None:
    """A run goes on where it stands, if `migrate` names no step."""
    stand(runs, "a", "b", "c", at="b")
    state = flow(runs, *names, version=2, migrate=split).run(run_id="x")
    assert (state["who"], state["trail"]) == ("Ann", ["a", *ran])
    assert header(runs).finished


def test_loaders_fit_the_chosen_step(runs: Runs) -> None:
    """The policy "first only" calls the loader of the step that `migrate` chose."""
    stand(runs, "a", "b", at="b")
    cp = runs.empty_flow(version=2, migrate=lambda state, version: "c")
    for name in ("a", "b", "c", "d"):
        cp.add_step(name=name, load=loading(runs, name))(recorded(runs, name))
    runs.log.clear()
    cp.run(run_id="x")
    assert runs.log == ["load c", "step c", "step d"]


def test_called_again_until_a_snapshot(runner: Runner, runs: Runs) -> None:
    """A step that breaks leaves the stored run as the older version has it, but for the failure."""
    stand(runs, "a", "b", at="b")
    before = header(runs)
    cp = runs.empty_flow(version=2, migrate=split)
    cp.add_step(name="new")(do_nothing)
    cp.add_step(name="b")(breaks)
    for _ in range(2):
        with pytest.raises(BrokenError) as info:
            runner(cp, run_id="x")
        assert "as version 1 left it" in notes_of(info.value)
        after = header(runs)
        assert (after.version, after.position, after.steps) == (1, 1, ("a", "b"))
        assert (after.status, after.next_step) == ("failed", "b")
        assert runs.empty_flow().read("x") == {
            "name": "Ann",
            "trail": ["a"],
            "checkpoint_index": 1,
        }
    assert before.number == after.number


def test_not_called_after_a_snapshot(runner: Runner, runs: Runs) -> None:
    """A run that has a snapshot of this version is not migrated again."""
    stand(runs, "a", "b", at="b")
    cp = runs.empty_flow(version=2, migrate=split)
    for name in ("a", "b", "c"):
        cp.add_step(name=name)(breaks if name == "c" else recorded(runs, name))
    with pytest.raises(BrokenError):
        runner(cp, run_id="x")
    assert (header(runs).version, header(runs).position) == (2, 2)

    def never(state: State, version: int) -> None:
        raise AssertionError

    assert runner(flow(runs, "a", "b", "c", version=2, migrate=never), run_id="x")["who"] == "Ann"


def test_each_attempt_has_the_migrated_state(runner: Runner, runs: Runs) -> None:
    """An attempt after the first begins with the state as `migrate` makes it."""
    stand(runs, "a", "b", at="b")
    cp, seen = runs.empty_flow(version=2, migrate=split), list[dict[str, Any]]()
    cp.add_step(name="a")(do_nothing)

    @cp.add_step(retry=Retry(attempts=3, wait_initial=0.0, wait_jitter=0.0))
    def b(state: State) -> None:
        seen.append(dict(state))
        state.clear()
        if len(seen) < 3:
            raise BrokenError

    runner(cp, run_id="x")
    assert seen == [{"who": "Ann", "from": 1, "trail": ["a"]}] * 3


def test_paused_run(runner: Runner, runs: Runs) -> None:
    """A pause before the next snapshot keeps the older state. Its answer comes after `migrate`."""
    stand(runs, "a", "b", at="b")
    cp = runs.empty_flow(version=2, migrate=split)
    cp.add_step(name="a")(do_nothing)

    @cp.add_step()
    def b(state: State) -> None:
        if state["who"] != "Bob":
            raise Pause("ask")

    assert runner(cp, run_id="x")["who"] == "Ann"
    assert (header(runs).version, header(runs).status) == (1, "paused")
    assert runner(cp, run_id="x", update={"who": "Bob"})["who"] == "Bob"
    assert (header(runs).version, header(runs).finished) == (2, True)


@pytest.mark.parametrize("status", ["failed", "stopped"])
def test_migrate_that_raises(status: str, runner: Runner, runs: Runs) -> None:
    """Its exception comes out, the same object, and nothing of the stored run changes."""
    if status == "failed":
        stand(runs, "a", "b", at="b")
    else:
        flow(runs, "a", "b", version=1, migrate=split).run({"name": "Ann"}, run_id="x", until="a")
    before, error = header(runs), BrokenError("not yet")
    ran = list(runs.log)

    def migrate(state: State, version: int) -> None:
        state.clear()
        raise error

    with pytest.raises(BrokenError) as info:
        runner(flow(runs, "a", "b", version=2, migrate=migrate), run_id="x")
    assert info.value is error
    assert "version 1 to 2" in notes_of(error)
    assert "as it was" in notes_of(error)
    assert (header(runs), runs.log) == (before, ran)
    assert runs.empty_flow().read("x")["name"] == "Ann"
    assert flow(runs, "a", "b", version=2, migrate=split).run(run_id="x")["who"] == "Ann"


@pytest.mark.parametrize(
    ("result", "kind", "words"),
    [
        ("nope", InvalidValueError, "type str.*0: 'a', 1: 'b'"),
        (5, InvalidValueError, "type int.*0: 'a', 1: 'b'"),
        (-1, InvalidValueError, "type int"),
        (True, InvalidTypeError, "bool"),
        (1.0, InvalidTypeError, "float"),
    ],
)
def test_results_that_are_no_step(
    result: object, kind: type[CheckpointError], words: str, runner: Runner, runs: Runs
) -> None:
    """A result that names no step is refused, and the run stays as it was.

    The error does not show it: it may be a value of the state.
    """
    stand(runs, "a", "b", at="b")
    before = header(runs)
    with pytest.raises(kind, match=f"migrate.*{words}") as info:
        runner(flow(runs, "a", "b", version=2, migrate=lambda state, version: result), run_id="x")
    assert "as it was" in notes_of(info.value)
    assert repr(result) not in str(info.value)
    assert header(runs) == before


def test_unknown_place_has_to_be_named(runs: Runs) -> None:
    """Where no step is like that of the run, `migrate` must return one."""
    stand(runs, "a", "b", "c", at="c")
    before = header(runs)
    assert "Starts at the step that it returns." in str(
        flow(runs, "y", version=2, migrate=split).plan(run_id="x")
    )
    with pytest.raises(InvalidValueError, match=r"return the index or the name.*'y'"):
        flow(runs, "y", version=2, migrate=split).run(run_id="x")
    assert header(runs) == before
    chosen = flow(runs, "y", version=2, migrate=lambda state, version: "y")
    assert chosen.run(run_id="x")["trail"] == ["a", "b", "y"]


RETURNS_A_STEP = "It may change the state, and return another step to start at."


def test_plan_says_whether_a_returned_step_counts(runs: Runs) -> None:
    """It counts for the rest of a run alone: not under `checkpoint=`, nor for a new run."""
    stand(runs, "a", "b", "c", at="b")
    cp = flow(runs, "a", "b", "c", version=2, migrate=lambda state, version: "c")
    assert RETURNS_A_STEP in str(cp.plan(run_id="x"))
    chosen = cp.plan(run_id="x", checkpoint="b")
    assert (chosen.migrates, chosen.returned_step) == (1, "ignored")
    assert "It may change the state.\n" in str(chosen)
    assert cp.run(run_id="x", checkpoint="b", until="b")["trail"] == ["a", "b"]


def test_plan_of_a_finished_run_of_an_older_version(runs: Runs) -> None:
    """A new run with its state starts at the first step, and the plan says no more."""
    flow(runs, "a").run({"name": "Ann", "trail": []}, run_id="x")
    cp = flow(runs, "a", "b", version=2, migrate=lambda state, version: "b")
    plan = cp.plan(run_id="x")
    assert (plan.migrates, plan.first, plan.returned_step) == (0, "a", "ignored")
    assert "It may change the state.\n" in str(plan)
    assert cp.run(run_id="x")["trail"] == ["a", "a", "b"]


def test_no_step_is_left_to_return(runs: Runs) -> None:
    """The plan of a run behind the last step says that nothing runs."""
    stand(runs, "a", "b", at="b")
    text = str(flow(runs, "a", version=2, migrate=split).plan(run_id="x"))
    assert RETURNS_A_STEP in text
    assert "no step is left" in text


def test_checkpoint_behind_until(runs: Runs) -> None:
    """The two are refused as without `migrate`, whose result they do not wait for."""
    stand(runs, "a", "b", at="b")
    cp = flow(runs, "a", "b", version=2, migrate=split)
    with pytest.raises(InvalidValueError, match="until='a' is before 'b'"):
        cp.run(run_id="x", checkpoint="b", until="a")


@pytest.mark.parametrize("value", [{"checkpoint_index": "x"}, {"checkpoint_data": {}}])
def test_reserved_keys(value: State, runs: Runs) -> None:
    """A value under a reserved key is refused, as one that a step puts there."""
    stand(runs, "a", "b", at="b")
    cp = flow(runs, "a", "b", version=2, migrate=lambda state, version: state.update(value))
    with pytest.raises(CheckpointError, match="migrate="):
        cp.run(run_id="x")
    assert header(runs).version == 1


def test_chosen_checkpoint_wins(runs: Runs) -> None:
    """`checkpoint=` is the start, and the state is migrated all the same, and stored with it."""
    stand(runs, "a", "b", at="b")

    def migrate(state: State, version: int) -> str:
        split(state, version)
        return "a"

    cp = flow(runs, "a", "b", "c", version=2, migrate=migrate)
    assert cp.run(run_id="x", checkpoint="c", until="c")["trail"] == ["a", "c"]


def test_new_run_with_the_stored_state(runner: Runner, runs: Runs) -> None:
    """A finished run's state is migrated for a run that begins with it, at the first step."""
    flow(runs, "a", "b", version=1, migrate=split).run({"name": "Ann"})

    def migrate(state: State, version: int) -> str:
        split(state, version)
        return "b"

    cp = flow(runs, "a", "b", version=2, migrate=migrate)
    assert runner(cp)["trail"] == ["a", "b", "a", "b"]
    assert (header(runs, None).version, header(runs, None).number) == (2, 2)
    assert "name" not in runner(cp, {"who": "Bob"})
    assert runner(flow(runs, "a", version=3, migrate=breaks), {"who": "Bob"})["who"] == "Bob"


def test_state_written_by_hand_is_no_older_run(runs: Runs) -> None:
    """A first state that `write` stored is the user's own, and not migrated."""
    cp = flow(runs, "a", version=2, migrate=breaks)
    cp.handler.write({"who": "Ann"})
    assert cp.run() == {"who": "Ann", "trail": ["a"]}


def test_plan_says_so(runner: Runner, runs: Runs) -> None:
    """The plan names the version, calls nothing, and has the step unless `migrate` names one."""
    stand(runs, "a", "b", at="b")
    plan = runner.allowed_plan(flow(runs, "new", "a", "b", version=2, migrate=breaks), run_id="x")
    assert (plan.migrates, plan.first, plan.source) == (1, "b", "stored")
    assert str(plan).startswith("Calls migrate= first, since version 1 of the flow stored the run.")
    assert "Starts at step 3 of 3, 'b'" in str(plan)
    same = flow(runs, "a", "b", version=1, migrate=breaks)
    assert runner.allowed_plan(same, run_id="x").migrates is None


def test_until_is_compared_with_the_chosen_step(runs: Runs) -> None:
    """`until` may be before the step at which the run stood, and not before the chosen one."""
    stand(runs, "a", "b", "c", at="c")
    back = flow(runs, "a", "b", "c", version=2, migrate=lambda state, version: "a")
    assert back.plan(run_id="x", until="b").refused is None
    assert back.run(run_id="x", until="a")["trail"] == ["a", "b", "a"]
    stand(runs, "a", "b", "c", at="b", run_id="y")
    on = flow(runs, "a", "b", "c", version=2, migrate=lambda state, version: "c")
    with pytest.raises(InvalidValueError, match="until="):
        on.run(run_id="y", until="b")
    assert header(runs, "y").version == 1


async def test_cancelled_migration(runs: Runs) -> None:
    """A cancellation in `migrate` leaves the run as it was."""
    stand_async = asyncio.to_thread(stand, runs, "a", "b", at="b")
    await stand_async
    before, entered = header(runs), asyncio.Event()

    async def migrate(state: State, version: int) -> None:
        entered.set()
        await asyncio.sleep(60)

    def in_thread(state: State, version: int) -> None:
        loop.call_soon_threadsafe(entered.set)
        time.sleep(0.2)

    loop = asyncio.get_running_loop()
    for way in (migrate, in_thread):
        entered.clear()
        task = asyncio.create_task(flow(runs, "a", "b", version=2, migrate=way).arun(run_id="x"))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as info:
            await task
        assert notes_of(info.value).endswith("the run is as it was. Run again.")
        assert (header(runs), runs.log) == (before, [])


def never_called(state: State, version: int) -> None:
    """Be a function of the right form."""


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"version": "2"}, InvalidTypeError, "version=.*str"),
        ({"version": 2.0}, InvalidTypeError, "version=.*float"),
        ({"version": True}, InvalidTypeError, "version=.*bool"),
        ({"version": -1}, InvalidValueError, "version=-1"),
        ({"version": 2, "migrate": 5}, InvalidTypeError, "migrate=.*int"),
        ({"version": 2, "migrate": "f"}, InvalidTypeError, "migrate=.*str"),
        ({"version": 2, "migrate": do_nothing}, InvalidTypeError, "migrate=.*do_nothing"),
        ({"migrate": never_called}, InvalidValueError, "version=1"),
        ({"version": 0, "migrate": never_called}, InvalidValueError, "version=1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input(
    options: dict[str, Any], kind: type[CheckpointError], words: str, runs: Runs
) -> None:
    """Bad versions and functions are refused when the flow is made."""
    with pytest.raises(kind, match=words):
        runs.empty_flow(**options)


def test_generator_function(runs: Runs) -> None:
    """A function that would run nothing is refused."""

    def migrate(state: State, version: int) -> Any:  # noqa: ANN401
        yield

    with pytest.raises(InvalidTypeError, match="yield"):
        runs.empty_flow(version=2, migrate=migrate)


def test_handler_of_dicts() -> None:
    """A handler of dicts stores no version, so that none can be given."""

    class Own:
        def read(self) -> State:
            return {}

        def write(self, state: State) -> None:
            """Forget it."""

    with pytest.raises(InvalidValueError, match="version= needs"):
        CheckpointFlow("x", handler=Own(), version=2)
