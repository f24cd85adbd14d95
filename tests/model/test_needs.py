"""Loaders that bring what their steps need, the flow's load policy, and the words of the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from run_factories import UNFINISHED

from aiocheckpoint import (
    CheckpointFlow,
    FlowDefinitionError,
    InvalidTypeError,
    InvalidValueError,
    Retry,
)
from aiocheckpoint.testing import crash_everywhere

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import FlowFactory, Runner, State


class Story:
    """Four steps of which each one needs other data, and the loaders that were called.

    Attributes:
        loaded: Names of the steps whose loader was called.
        fails: Whether `train` breaks.
    """

    def __init__(self) -> None:
        """Load nothing so far."""
        self.loaded: list[str] = []
        self.fails = False

    def flow(self, path: str | Path, **options: Any) -> CheckpointFlow:  # noqa: ANN401
        """Make the flow, whose `check` and `report` load what they need."""
        cp = CheckpointFlow(path, fsync=False, **options)
        cp.add_step(name="read")(self._read)
        cp.add_step(self.loader("train", "raw"), needs=("raw",), name="train")(self._train)
        cp.add_step(self.loader("check", "raw"), needs=("raw",), name="check")(self._check)
        needs = ("model", "holidays")
        cp.add_step(self.loader("report", *needs), needs=needs, name="report")(self._report)
        return cp

    def loader(self, step: str, *keys: str) -> Callable[[State], State]:
        """Make a loader that brings these keys."""

        def load(state: State) -> State:
            self.loaded.append(step)
            return {key: ord(key[0]) for key in keys}

        return load

    def _read(self, state: State, data: State) -> None:
        data["raw"] = ord("r")

    def _train(self, state: State, data: State) -> None:
        if self.fails:
            raise MemoryError
        data["model"] = data["raw"] - 5

    def _check(self, state: State, data: State) -> None:
        state["checked"] = data["raw"]

    def _report(self, state: State, data: State) -> None:
        state["report"] = data["model"], data["holidays"]


EXPECTED = {"checked": 114, "report": (109, 104)}


@pytest.fixture
def story() -> Story:
    """Give the story."""
    return Story()


def test_in_one_go_and_resumed(story: Story, runner: Runner, tmp_path: Path) -> None:
    """A loader is called where a key is missing, in one go as in a resumed run."""
    cp = story.flow(tmp_path / "a.pkl")
    assert runner(cp, {}) == EXPECTED
    assert story.loaded == ["report"]  # nobody else brings the holidays
    story.loaded.clear()
    assert runner(cp, checkpoint="check") == EXPECTED
    assert story.loaded == ["check", "report"]


def test_resumed_where_it_broke(story: Story, runner: Runner, tmp_path: Path) -> None:
    """The loader of the first step runs, and behind it those of which a key is missing."""
    story.fails = True
    with pytest.raises(MemoryError):
        runner(story.flow(tmp_path / "a.pkl"), {})
    story.fails = False
    assert runner(story.flow(tmp_path / "a.pkl")) == EXPECTED
    assert story.loaded == ["train", "report"]


def test_everywhere(story: Story, tmp_path: Path) -> None:
    """A flow with needs ends the same wherever it is interrupted."""
    assert crash_everywhere(lambda path: story.flow(tmp_path / path), {}) > 20


def test_always_calls_all(story: Story, runner: Runner, tmp_path: Path) -> None:
    """Under "always" every loader runs, whatever is there."""
    runner(story.flow(tmp_path / "a.pkl"), {}, "always")
    assert story.loaded == ["train", "check", "report"]


def test_list_is_exact(story: Story, runner: Runner, tmp_path: Path) -> None:
    """A list of bools calls exactly the loaders that it names, needs or not."""
    with pytest.raises(KeyError):
        runner(story.flow(tmp_path / "a.pkl"), {}, [False] * 4)
    assert story.loaded == []


def test_stored_data_counts(story: Story, runner: Runner, tmp_path: Path) -> None:
    """Under keep_data=True a loader runs for what neither the snapshot nor a step brings."""
    story.fails = True
    with pytest.raises(MemoryError):
        runner(story.flow(tmp_path / "a.pkl", keep_data=True), {})
    story.fails = False
    assert runner(story.flow(tmp_path / "a.pkl", keep_data=True)) == EXPECTED
    assert story.loaded == ["report"]


@pytest.mark.parametrize("keep_data", [False, True])
def test_each_attempt_loads_again(runner: Runner, tmp_path: Path, *, keep_data: bool) -> None:
    """Each attempt begins with its loader's data, if the loader ran at the first."""
    seen: list[list[int]] = []
    cp = CheckpointFlow(tmp_path / "a.pkl", keep_data=keep_data)
    cp.add_step(name="first")(lambda state: None)
    policy = Retry(attempts=3, wait_initial=0, wait_jitter=0)

    @cp.add_step(load=lambda state: {"rows": [1, 2]}, needs=("rows",), retry=policy)
    def use(state: State, data: State) -> None:
        seen.append(list(data["rows"]))
        data["rows"].append(3)
        if len(seen) < 3:
            raise ConnectionError

    runner(cp, {})
    assert seen == [[1, 2]] * 3


def test_no_loader_no_new_attempt_data(runner: Runner, tmp_path: Path) -> None:
    """Where all keys are there, no attempt calls the loader."""
    loads: list[int] = []
    tries: list[int] = []
    cp = CheckpointFlow(tmp_path / "a.pkl")
    cp.add_step(name="first")(lambda state, data: data.update(rows=1))
    policy = Retry(attempts=3, wait_initial=0, wait_jitter=0)

    def load(state: State) -> State:
        loads.append(1)
        return {"rows": 2}

    @cp.add_step(load, needs=("rows",), retry=policy)
    def use(state: State, data: State) -> None:
        tries.append(data["rows"])
        if len(tries) < 3:
            raise ConnectionError

    runner(cp, {})
    assert (loads, tries) == ([], [1, 1, 1])


@pytest.mark.parametrize("policy", ["first only", "always", [True]], ids=repr)
def test_loader_without_a_needed_key(policy: object, runner: Runner, tmp_path: Path) -> None:
    """A loader that does not bring a needed key is an error that names it, and nothing runs."""
    cp = CheckpointFlow(tmp_path / "a.pkl")
    cp.add_step(load=lambda state: {"rows": 1}, needs=("rows", "model"), name="train")(
        lambda state, data: state.update(done=True)
    )
    with pytest.raises(InvalidValueError, match=r"loader of step 'train'.*without 'model'") as info:
        runner(cp, {}, policy)
    assert "part 'load'" in info.value.__notes__[-1]
    assert "done" not in cp.read()


def test_needs_without_a_loader(tmp_path: Path) -> None:
    """Keys that nobody brings are refused when they are given."""
    cp = CheckpointFlow(tmp_path / "a.pkl")
    with pytest.raises(FlowDefinitionError, match="load="):
        cp.add_step(needs=("rows",))
    cp.add_step(needs=(), name="without")(lambda state: None)
    assert cp.plan().steps == ("without",)


@pytest.mark.parametrize(
    ("needs", "match"),
    [
        ("rows", r"needs=\('rows',\)"),
        (("rows", 5), "int"),
        (b"rows", "int"),
        (5, "int"),
        (None, "NoneType"),
        ([None], "NoneType"),
    ],
    ids=repr,
)
def test_bad_needs(needs: Any, match: str, tmp_path: Path) -> None:  # noqa: ANN401
    """One string is refused with the tuple to write, and so is anything else but strings."""
    cp = CheckpointFlow(tmp_path / "a.pkl")
    with pytest.raises(InvalidTypeError, match=match):
        cp.add_step(load=lambda state: {}, needs=needs)
    cp.add_step(name="good")(lambda state: None)
    assert cp.run({}) == {}


def test_needs_may_be_any_iterable(story: Story, tmp_path: Path, runner: Runner) -> None:
    """A list or a generator of keys holds for every run."""
    cp = CheckpointFlow(tmp_path / "a.pkl")
    cp.add_step(name="first")(lambda state: None)
    load = story.loader("use", "rows")
    cp.add_step(load, needs=(key for key in ["rows"]), name="use")(lambda state: None)
    runner(cp, {})
    runner(cp, {})
    assert story.loaded == ["use", "use"]


def test_policy_of_the_flow(story: Story, runner: Runner, tmp_path: Path) -> None:
    """The flow's policy is that of its runs, unless they say otherwise."""
    cp = story.flow(tmp_path / "a.pkl", load_policy="always")
    assert runner(cp, {}) == EXPECTED
    assert story.loaded == ["train", "check", "report"]
    story.loaded.clear()
    runner(cp, {}, "first only")
    assert story.loaded == ["report"]
    assert runner.plan(cp).loads == (False, True, True, True)


async def test_policy_of_the_flow_in_a_service(story: Story, tmp_path: Path) -> None:
    """Many runs, streams, and runs that are resumed have the flow's policy as well."""
    cp = story.flow(f"{tmp_path}/runs/", load_policy="always")
    await cp.amap({"x": {}, "y": {}})
    assert sorted(story.loaded) == sorted(["train", "check", "report"] * 2)
    story.loaded.clear()
    await cp.astream({}, run_id="z", until="read")
    await cp.aresume_all(status=UNFINISHED)
    assert story.loaded == ["train", "check", "report"]
    story.loaded.clear()
    await cp.arun({}, run_id="w", until="check", load_policy="first only")
    assert await cp.aresume("w") == EXPECTED
    assert story.loaded == ["report"]


@pytest.mark.parametrize("policy", ["sometimes", "", None, [True, False], 5], ids=repr)
def test_bad_policy_of_a_flow(policy: Any, tmp_path: Path) -> None:  # noqa: ANN401
    """A flow takes one of the two words, and lists belong to runs."""
    kind = InvalidValueError if type(policy) is str else InvalidTypeError
    options: dict[str, Any] = {"load_policy": policy}
    with pytest.raises(kind, match=r"'first only' or 'always'.*run\(\)"):
        CheckpointFlow(tmp_path / "a.pkl", **options)


def test_words_of_the_plan(flows: FlowFactory, story: Story, tmp_path: Path) -> None:
    """The plan names the loaders that run, that do not, and that run if a key is missing."""
    cp = story.flow(tmp_path / "a.pkl")
    cp.add_step(load=lambda state: {}, name="last")(lambda state: None)
    plan = cp.plan(checkpoint="train", until="last")
    assert (plan.needs, plan.skips) == (
        ((), (), ("raw",), ("model", "holidays"), ()),
        ("last",),
    )
    assert str(plan).splitlines()[2:] == [
        "Calls the loader of 'train'.",
        "Calls the loader of 'check' if 'raw' is missing from `data` then.",
        "Calls the loader of 'report' if 'model' or 'holidays' is missing from `data` then.",
        "Does not call the loader of 'last'.",
    ]
    always = str(cp.plan(None, "always", until="check")).splitlines()
    assert always[2:4] == ["Calls the loader of 'train', 'check'.", always[3]]
    assert always[3].startswith("Stops after 'check'")
    none = str(cp.plan(None, [False] * 5))
    assert "Does not call the loader of 'train', 'check', 'report', 'last'." in none
    assert "Calls" not in none
    assert flows.files() == {}
