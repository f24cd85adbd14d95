"""Given states beside the one that the stored run began with: equal, another, or not known."""

from __future__ import annotations

import asyncio
import copy
import gc
import linecache
import logging
import pickle
import secrets
import warnings
import weakref
from contextlib import suppress
from dataclasses import dataclass
from threading import get_ident
from typing import TYPE_CHECKING, Any

import pytest
from support import FlowFactory, Runner, State, dump_bare, make_stored

from aiocheckpoint import (
    CheckpointFlow,
    GivenStateIgnoredWarning,
    InvalidTypeError,
    InvalidValueError,
    LocalStateHandler,
    StateConflictError,
    adopt,
    current_step,
)
from aiocheckpoint._snapshot import initial_state, state_digest

if TYPE_CHECKING:
    from pathlib import Path

    from run_factories import Runs

BEGAN = {"lr": 0.2, "tags": {"b", "a"}, "deep": {"x": 1, "y": [1.5, None]}}
EQUAL = {"deep": {"y": [1.5, None], "x": 1}, "tags": {"a", "b"}, "lr": 0.2}
ANOTHER = {**BEGAN, "lr": 0.3}


def break_at(flows: FlowFactory, step: str, state: State, **options: object) -> None:
    """Run until a step breaks, which is mended afterwards."""
    flows.faults[f"step {step}"] = OSError("not yet")
    with pytest.raises(OSError, match="not yet"):
        flows.flow().run(state, **options)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    flows.faults.clear()
    flows.log.clear()
    flows.events.clear()


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The library's records at WARNING or above."""
    ours = [one for one in caplog.records if one.name == "aiocheckpoint"]
    return [one.getMessage() for one in ours if one.levelno >= logging.WARNING]


def test_equal_state_is_passed_over_in_silence(
    any_runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """A state equal to the first one, in another order, resumes the run without a word."""
    break_at(flows, "b", copy.deepcopy(BEGAN))
    assert any_runner.plan(flows.flow(), EQUAL).given == "equal"
    assert any_runner(flows.flow(), EQUAL)["lr"] == 0.2
    assert (flows.ran(), logged(caplog)) == (["b", "c"], [])


def test_another_state_is_ignored_with_a_warning(
    any_runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """Another state resumes the stored run, and a Python warning says so, each time anew."""
    for _ in range(2):
        break_at(flows, "b", copy.deepcopy(BEGAN))
        plan = any_runner.plan(flows.flow(), ANOTHER)
        assert plan.given == "different"
        assert "began with another one" in str(plan)
        with pytest.warns(GivenStateIgnoredWarning, match=r"reset\(\)") as caught:
            assert any_runner(flows.flow(), ANOTHER)["lr"] == 0.2
        assert len(caught) == 1
        assert (flows.ran(), logged(caplog)) == (["b", "c"], [])
        flows.path.unlink()


def test_warning_has_the_line_of_the_caller(flows: FlowFactory) -> None:
    """`run` and `arun`, in a loop and in a task, name a line of this file."""

    async def awaited() -> None:
        await flows.flow().arun(ANOTHER)

    async def streamed() -> None:
        async for _ in flows.flow().astream(ANOTHER):
            pass

    async def inside_a_loop() -> None:
        flows.flow().run(ANOTHER)

    ways = (
        lambda: flows.flow().run(ANOTHER),
        lambda: asyncio.run(awaited()),
        lambda: asyncio.run(flows.flow().arun(ANOTHER)),
        lambda: asyncio.run(streamed()),
        lambda: asyncio.run(inside_a_loop()),
    )
    for way in ways:
        break_at(flows, "b", copy.deepcopy(BEGAN))
        with pytest.warns(GivenStateIgnoredWarning) as caught:
            way()
        assert [one.filename for one in caught] == [__file__]
        text = linecache.getline(__file__, caught[0].lineno)
        assert "(ANOTHER)" in text
        flows.path.unlink()


def test_warning_made_an_error_runs_no_step(runner: Runner, flows: FlowFactory) -> None:
    """Under `-W error` the run stops before its first step, and its lock is free."""
    break_at(flows, "b", copy.deepcopy(BEGAN))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(GivenStateIgnoredWarning):
            runner(flows.flow(), ANOTHER)
    assert flows.log == []
    assert runner(flows.flow(), EQUAL)["lr"] == 0.2


def test_very_dict_of_the_last_broken_run_counts_as_equal(
    any_runner: Runner, flows: FlowFactory
) -> None:
    """The dict that a broken run changed is given again in silence. An equal copy of it is not."""
    mine = copy.deepcopy(BEGAN)
    break_at(flows, "b", mine)
    assert mine["trail"] == ["a", "b"]
    flows.faults["step c"] = OSError("nor this")
    with pytest.raises(OSError, match="nor this"):
        any_runner(flows.flow(), mine)
    flows.faults.clear()
    assert any_runner.plan(flows.flow(), mine).given == "equal"
    assert any_runner.plan(flows.flow(), dict(mine)).given == "different"
    assert any_runner(flows.flow(), mine)["trail"] == ["a", "b", "c"]


def test_dict_of_another_place_is_another_state(runner: Runner, tmp_path: Path) -> None:
    """The very dict is that of one place: in another one it is compared."""
    one, other = FlowFactory(tmp_path / "one.pkl"), FlowFactory(tmp_path / "other.pkl")
    mine = copy.deepcopy(BEGAN)
    break_at(other, "b", {"another": 1})
    break_at(one, "b", mine)
    with pytest.warns(GivenStateIgnoredWarning, match="other"):
        runner(other.flow(), mine)


def test_dict_is_let_go_of_when_the_run_has_finished(flows: FlowFactory) -> None:
    """Nothing of a state stays in memory behind the end of its run."""

    class Large(dict[str, Any]):
        """A dict that a weak reference can watch."""

    mine = Large(BEGAN)
    break_at(flows, "b", mine)
    flows.flow().run(mine)
    gone = weakref.ref(mine)
    flows.events.clear()
    del mine
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize("state", [EQUAL, ANOTHER], ids=["equal", "another"])
def test_runs_with_an_id_log_it(
    state: State,
    *,
    once: bool,
    runs: Runs,
    any_runner: Runner,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """For a run with an id, one record at WARNING takes the place of the Python warning."""
    break_at(runs, "b", copy.deepcopy(BEGAN), run_id="order-1")
    caplog.clear()
    assert any_runner(runs.flow(), dict(state), run_id="order-1", once=once)["lr"] == 0.2
    assert runs.ran() == ["b", "c"]
    assert len(logged(caplog)) == (state is ANOTHER)
    assert all("order-1" in text and "ignored" in text for text in logged(caplog))
    assert all("0.3" not in text for text in logged(caplog))


@pytest.mark.parametrize("run_id", ["order-1", None], ids=str)
def test_once_compares_with_the_finished_run(
    run_id: str | None, runs: Runs, any_runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """A stored result answers an equal state in silence, and another one with a warning."""
    any_runner(runs.flow(), copy.deepcopy(BEGAN), run_id=run_id, once=True)
    caplog.clear()
    assert any_runner(runs.flow(), EQUAL, run_id=run_id, once=True)["lr"] == 0.2
    assert logged(caplog) == []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert any_runner(runs.flow(), ANOTHER, run_id=run_id, once=True)["lr"] == 0.2
    found = [str(one.message) for one in caught] + logged(caplog)
    assert len(found) == 1
    if run_id is None:
        assert "leave once=True out" in found[0]
    else:  # Without `once`, the work would be done again, with other idempotency keys.
        assert "use another run_id" in found[0]
        assert "once=" not in found[0]
        assert "reset" not in found[0]
    assert [one.category for one in caught] == [GivenStateIgnoredWarning] * (run_id is None)


def test_many_runs_log_it_as_well(runs: Runs, caplog: pytest.LogCaptureFixture) -> None:
    """`amap` and `astream` compare each given state."""
    for name in ("x", "y"):
        break_at(runs, "b", {"n": name}, run_id=name)
    caplog.clear()

    async def all_of_them() -> list[Any]:
        results = await runs.flow().amap({"x": {"n": "x"}, "y": {"n": "another"}})
        return [result.error for result in results]

    assert asyncio.run(all_of_them()) == [None, None]
    assert len(logged(caplog)) == 1
    assert "'y'" in logged(caplog)[0]


# The first step of a run with an id.


def key_flow(runs: Runs, keys: list[str], broken: list[int]) -> CheckpointFlow:
    """A flow whose first step notes its idempotency key, and breaks while a list has entries."""
    cp = runs.empty_flow()

    @cp.add_step()
    def pay(state: State) -> None:
        keys.append(current_step().idempotency_key)
        state["half"] = True
        if broken:
            raise OSError(broken.pop())
        state["paid"] = True

    @cp.add_step()
    def ship(state: State) -> None:
        """Do nothing."""

    return cp


def test_first_step_again_is_the_same_run(
    runs: Runs, any_runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that fails in its first step keeps its number and keys for an equal state."""
    keys: list[str] = []
    broken = [1, 2]
    cp = key_flow(runs, keys, broken)
    for _ in range(2):
        with pytest.raises(OSError):  # noqa: PT011
            any_runner(cp, {"order": 7}, run_id="order-7")
    assert any_runner.plan(cp, {"order": 7}, run_id="order-7").fresh is False
    assert any_runner(cp, {"order": 7}, run_id="order-7") == {
        "order": 7,
        "half": True,
        "paid": True,
    }
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert logged(caplog) == []
    header = cp.handler.header("order-7")
    assert (header.number, header.attempts) == (1, {"pay": 3})
    any_runner(cp, {"order": 7}, run_id="order-7")
    assert len(set(keys)) == 2, "a finished run begins anew"


def test_another_state_at_the_first_step_is_a_conflict(
    runs: Runs, any_runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """The stored run goes on with its own state, and the log warns."""
    keys: list[str] = []
    cp = key_flow(runs, keys, [1])
    with pytest.raises(OSError):  # noqa: PT011
        any_runner(cp, {"order": 7}, run_id="order-7")
    caplog.clear()
    assert any_runner(cp, {"order": 8}, run_id="order-7")["order"] == 7
    assert len(set(keys)) == 1
    assert len(logged(caplog)) == 1


def test_patched_first_step_keeps_the_patch(runs: Runs, runner: Runner) -> None:
    """A state patched at the first step counts, and the first state still is the equal one."""
    cp = key_flow(runs, [], [1])
    with pytest.raises(OSError):  # noqa: PT011
        runner(cp, {"order": 7}, run_id="order-7")
    runner.do(cp, "patch", {"order": 70}, run_id="order-7")
    assert runner.plan(cp, {"order": 7}, run_id="order-7").given == "equal"
    assert runner(cp, {"order": 7}, run_id="order-7")["order"] == 70


def test_without_an_id_the_first_step_takes_the_given_state(
    any_runner: Runner, flows: FlowFactory
) -> None:
    """Nothing is done yet, so a script's other parameter counts, with a new run's number."""
    break_at(flows, "a", {"lr": 0.2})
    assert any_runner(flows.flow(), {"lr": 0.3})["lr"] == 0.3
    assert flows.header().number == 2


def test_checkpoint_begins_anew_at_the_first_step(runs: Runs, any_runner: Runner) -> None:
    """With `checkpoint=` a run with an id that did no step begins with the given state."""
    keys: list[str] = []
    cp = key_flow(runs, keys, [1])
    with pytest.raises(OSError):  # noqa: PT011
        any_runner(cp, {"order": 7}, run_id="order-7")
    assert any_runner(cp, {"order": 8}, checkpoint=0, run_id="order-7")["order"] == 8
    assert len(set(keys)) == 2


# What the digest goes through.


def test_digest_is_carried_by_every_snapshot(runs: Runs, runner: Runner) -> None:
    """Steps, failures, patches and updates keep the digest. A new run has another one."""
    cp = runs.flow()
    handler = cp.handler
    break_at(runs, "b", copy.deepcopy(BEGAN), run_id="x")
    first = handler.header("x").initial_digest
    assert first.startswith("sha256:")
    runner.do(cp, "patch", {"lr": 9}, run_id="x")
    assert handler.header("x").initial_digest == first
    runner(cp, run_id="x", until="b")
    assert handler.header("x").initial_digest == first
    runner(cp, run_id="x", checkpoint="a", until="a")
    assert handler.header("x").initial_digest == first
    runner(cp, run_id="x")
    assert handler.header("x").initial_digest == first
    runner(cp, ANOTHER.copy(), run_id="x")
    assert handler.header("x").initial_digest != first
    assert first not in repr(handler.header("x"))


def test_state_of_a_handler_by_hand_has_no_digest(
    runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """A state that was written by hand is of no run: one record in the log, as in 0.5."""
    runner.write(LocalStateHandler(flows.path), {"lr": 1, "checkpoint_index": 1})
    plan = runner.plan(flows.flow(), ANOTHER)
    assert plan.given == "unknown"
    assert runner(flows.flow(conflict="raise"), ANOTHER)["lr"] == 1
    assert len(logged(caplog)) == 1
    assert "Ignores the given state" in logged(caplog)[0]


def test_file_of_gumly_has_no_digest(
    runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """A bare pickle is not compared either."""
    dump_bare(flows.path, {"lr": 1, "checkpoint_index": 1})
    assert runner(flows.flow(conflict="raise"), ANOTHER)["lr"] == 1
    assert len(logged(caplog)) == 1


def test_user_handler_has_no_digest(
    runner: Runner, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A handler of dicts stores none, and `conflict="raise"` asks for one that does."""
    stored: dict[str, Any] = {"lr": 1, "checkpoint_index": 1}

    class Own:
        def read(self) -> State:
            return dict(stored)

        def write(self, state: State) -> None:
            stored.clear()
            stored.update(state)

    cp = CheckpointFlow(tmp_path / "own", Own())
    for name in ("a", "b"):
        cp.add_step(name=name)(lambda state: None)
    assert runner(cp, ANOTHER)["lr"] == 1
    assert len(logged(caplog)) == 1
    assert runner(cp, {"new": 1}) == {"new": 1}
    with pytest.raises(InvalidValueError, match="local"):
        CheckpointFlow(tmp_path / "own", Own(), conflict="raise")


def test_state_of_read_is_compared_without_its_border_key(
    runner: Runner, flows: FlowFactory
) -> None:
    """The key that `read` adds is no difference."""
    cp = flows.flow()
    runner(cp, {"lr": 1}, until="a")
    given = {"lr": 1, "checkpoint_index": 0}
    assert runner.plan(cp, given).given == "equal"
    assert given["checkpoint_index"] == 0


def test_stored_state_is_what_a_run_without_one_begins_with(
    runner: Runner, flows: FlowFactory
) -> None:
    """After a finished run, a run without a state begins with the stored one."""
    make_stored(flows, "finished", {"lr": 1})
    begun = {key: value for key, value in flows.stored().items() if key != "checkpoint_index"}
    break_at_stored(flows)
    assert runner.plan(flows.flow(), begun).given == "equal"
    flows.path.unlink()
    break_at_stored(flows)
    assert runner.plan(flows.flow(), {}).given == "equal"


def break_at_stored(flows: FlowFactory) -> None:
    """Break in step b, with no state given."""
    flows.faults["step b"] = OSError()
    with suppress(OSError):
        flows.flow().run()
    flows.faults.clear()


# Objects that are no plain data.


@dataclass
class Config:
    """A user's object in a state."""

    rate: float


def test_other_values_only_warn(runner: Runner, flows: FlowFactory) -> None:
    """A state whose objects differ warns. One with equal objects does not."""
    break_at(flows, "b", {"config": Config(0.1), "n": 1})
    assert runner.plan(flows.flow(), {"n": 1, "config": Config(0.1)}).given == "equal"
    plan = runner.plan(flows.flow(), {"config": Config(0.2), "n": 1})
    assert plan.given == "similar"
    assert "objects" in str(plan)
    assert runner.plan(flows.flow(), {"config": Config(0.1), "n": 2}).given == "different"
    with pytest.warns(GivenStateIgnoredWarning):
        runner(flows.flow(), {"config": Config(0.2), "n": 1})


def test_raise_asks_for_plain_data(any_runner: Runner, runs: Runs) -> None:
    """Under `conflict="raise"` an object in a given state is refused before anything is stored."""
    cp = runs.flow(conflict="raise")
    with pytest.raises(InvalidTypeError, match=r"state\['config'\].*Config") as info:
        any_runner(cp, {"n": 1, "config": [Config(0.123)]}, run_id="x")
    assert "0.123" not in str(info.value)
    assert (runs.log, cp.handler.header("x")) == ([], None)
    assert any_runner(cp, {"n": 1, "rows": [{"x": 1}] * 3}, run_id="x")["n"] == 1


# Conflicts that are errors.


@pytest.mark.parametrize("run_id", ["order-1", None], ids=str)
@pytest.mark.parametrize("step", ["finished", "a", "b"])
def test_raise_refuses_another_state(
    step: str, run_id: str | None, runs: Runs, any_runner: Runner
) -> None:
    """A conflict is an error that runs nothing. An equal state is none."""
    cp = runs.flow(conflict="raise")
    if step == "finished":
        cp.run(copy.deepcopy(BEGAN), run_id=run_id, once=True)
    else:
        break_at(runs, step, copy.deepcopy(BEGAN), run_id=run_id, once=True)
    runs.log.clear()
    before = cp.handler.header(run_id)
    with pytest.raises(StateConflictError, match="refused") as info:
        any_runner(cp, ANOTHER.copy(), run_id=run_id, once=True)
    assert (info.value.path, info.value.run_id) == (cp.handler.locate(run_id), run_id)
    assert (runs.log, cp.handler.header(run_id)) == ([], before)
    if step == "b":
        plan = any_runner.plan(cp, ANOTHER.copy(), run_id=run_id)
        assert str(plan.refused) == str(info.value)
    again = pickle.loads(pickle.dumps(info.value))
    assert (str(again), again.run_id) == (str(info.value), run_id)
    assert any_runner(cp, copy.deepcopy(EQUAL), run_id=run_id, once=True)["lr"] == 0.2


@pytest.mark.parametrize("value", ["stop", "", 1, None])
def test_conflict_is_one_of_two_words(value: Any, tmp_path: Path) -> None:  # noqa: ANN401
    """Anything else is an error of ours."""
    with pytest.raises((InvalidValueError, InvalidTypeError), match='"warn" or "raise"'):
        CheckpointFlow(tmp_path / "x.pkl", conflict=value)


# Secrets.


def broken_with(flows: FlowFactory, secret: object, state: State) -> str:
    """Break in step b under a secret, and give the digest of the header."""
    options = {} if secret is None else {"secret": secret}
    flows.faults["step b"] = OSError()
    with suppress(OSError):
        flows.flow(**options).run(state)
    flows.faults.clear()
    digest = flows.flow(**options).handler.header().initial_digest
    assert isinstance(digest, str)
    return digest


def test_digest_is_keyed_by_the_secret(flows: FlowFactory, runner: Runner) -> None:
    """Nobody without the secret can compute the digest of a guessed state."""
    one, other = secrets.token_hex(32), secrets.token_hex(32)
    plain = broken_with(flows, None, {"lr": 0.2})
    flows.path.unlink()
    signed = broken_with(flows, one, {"lr": 0.2})
    flows.path.unlink()
    found = {plain, signed, broken_with(flows, other, {"lr": 0.2})}
    assert len({text.partition(":")[2] for text in found}) == 3
    assert runner.plan(flows.flow(secret=other), {"lr": 0.2}).given == "equal"


def test_equal_states_of_two_runs_have_different_keyed_digests(tmp_path: Path) -> None:
    """Nobody sees in the headers which runs began alike."""
    cp = FlowFactory(tmp_path / "runs").flow(secret=secrets.token_hex(32))
    for name in ("x", "y"):
        cp.run({"lr": 0.2}, run_id=name)
    assert len({header.initial_digest for header in cp.runs()}) == 2


def test_digest_of_an_older_secret_still_compares(flows: FlowFactory, runner: Runner) -> None:
    """During a rotation, the digest is compared with the secret that made it, and carried on."""
    old, new = secrets.token_hex(32), secrets.token_hex(32)
    digest = broken_with(flows, old, {"lr": 0.2})
    both = flows.flow(secret=[new, old])
    assert runner.plan(both, {"lr": 0.2}).given == "equal"
    assert runner.plan(both, {"lr": 0.3}).given == "different"
    runner(both, until="b")
    assert flows.flow(secret=new).handler.header().initial_digest == digest
    assert runner.plan(flows.flow(secret=new), {"lr": 0.2}).given == "unknown"


def test_adopted_snapshot_compares_where_it_can(flows: FlowFactory, runner: Runner) -> None:
    """A snapshot that is signed later keeps its digest, unless it is of another run now."""
    broken_with(flows, None, {"lr": 0.2})
    secret = secrets.token_hex(32)
    adopt(flows.path, secret=secret)
    assert runner.plan(flows.flow(secret=secret), {"lr": 0.2}).given == "equal"
    assert runner.plan(flows.flow(secret=secret), {"lr": 0.3}).given == "different"
    adopt(flows.path, secret=secret, flow="renamed")
    renamed = flows.flow(secret=secret, name="renamed")
    assert runner.plan(renamed, {"lr": 0.3}).given == "unknown"


# Large states.


def test_large_states_are_digested_beside_the_loop(tmp_path: Path) -> None:
    """A state above 1 MiB is digested in another thread, when it is stored and when compared."""
    seen: list[int] = []
    digest_state = state_digest.digest_state

    def noting(state: State) -> Any:  # noqa: ANN401
        seen.append(get_ident())
        return digest_state(state)

    flows = FlowFactory(tmp_path / "large.pkl")
    large = {"rows": list(range(400_000))}
    flows.faults["step b"] = OSError("not yet")

    async def story() -> None:
        with pytest.raises(OSError, match="not yet"):
            await flows.flow().arun(dict(large))
        flows.faults.clear()
        await flows.flow().arun(dict(large))
        assert get_ident() not in seen
        seen.clear()
        await flows.flow().arun({"small": 1})
        assert seen == [get_ident()]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(initial_state, "digest_state", noting)
        asyncio.run(story())
