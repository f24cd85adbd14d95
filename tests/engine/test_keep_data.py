"""`keep_data=True`: snapshots hold `data` as well, so that a run resumes without its loaders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest
from flaky_steps import THRICE, AnyStore, Flaky, after, before
from run_factories import resume_all
from support import Runner, State, notes_of

from aiocheckpoint import CheckpointFlow, UnserializableStateError, events
from aiocheckpoint.testing import crash_everywhere

if TYPE_CHECKING:
    from pathlib import Path

    from aiocheckpoint._model.request import LoadPolicy

NAMES = ("fill", "change", "use")


class Keeper:
    """Steps that fill, change and use `data`.

    Attributes:
        breaks: Names of the steps that fail, after they changed both dicts.
        loaded: Names of the steps whose loaders were called.
    """

    def __init__(self, *breaks: str) -> None:
        """Keep the names of the steps that fail."""
        self.breaks = set(breaks)
        self.loaded: list[str] = []

    def add_to(self, cp: CheckpointFlow) -> CheckpointFlow:
        """Add the steps to a flow."""
        for name in NAMES:
            load, step = self._load(name), getattr(self, name)
            cp.add_step(load, name=name)(self._breaking(name, step))
        return cp

    def fill(self, state: State, data: State) -> None:
        """Add to `data` a list that the state shares."""
        assert "checkpoint_data" not in state
        data["shared"] = state["shared"]
        data["rows"].append("filled")

    def change(self, state: State, data: State) -> None:
        """Change the shared list, through `data`."""
        assert "checkpoint_data" not in state
        data["shared"].append("changed")
        data["rows"].append("changed")

    def use(self, state: State, data: State) -> None:
        """Copy `data` into the state."""
        assert "checkpoint_data" not in state
        state["same"] = data["shared"] is state["shared"]
        state["rows"] = list(data["rows"])
        state["keys"] = sorted(data)

    def _load(self, name: str) -> Any:  # noqa: ANN401 - a function
        def load(state: State) -> State:
            self.loaded.append(name)
            return {"rows": [f"loaded for {name}"], f"of {name}": True}

        return load

    def _breaking(self, name: str, step: Any) -> Any:  # noqa: ANN401 - a function
        def run(state: State, data: State) -> None:
            step(state, data)
            if name in self.breaks:
                state["half"] = data["half"] = True
                raise ConnectionError

        return run


def begin() -> State:
    """Give the initial state."""
    return {"shared": []}


def done(*loaders: str, rows: list[str] | None = None) -> State:
    """Give the final state after these loaders were called."""
    keys = sorted(["rows", "shared", *(f"of {name}" for name in loaders)])
    changed = ["loaded for fill", "filled", "changed"]
    return {"shared": ["changed"], "same": True, "rows": rows or changed, "keys": keys}


@pytest.mark.parametrize("at", NAMES)
def test_resumed_without_loaders(at: str, any_store: AnyStore, runner: Runner) -> None:
    """A failed run resumes with its data, and calls no loader where data was stored."""
    first, second = Keeper(at), Keeper()
    with pytest.raises(ConnectionError):
        any_store.go(runner, first.add_to(any_store.empty_flow(keep_data=True)), begin())
    assert first.loaded == ["fill"]
    plan = any_store.empty_flow(keep_data=True)
    words = str(second.add_to(plan).plan(run_id=any_store.run_id))
    assert ("Has the data that the checkpoint holds" in words) == (at != "fill")
    result = any_store.go(runner, second.add_to(any_store.empty_flow(keep_data=True)))
    assert result == done("fill")
    assert second.loaded == (["fill"] if at == "fill" else [])
    assert any_store.stored() == {**done("fill"), "checkpoint_index": 0}


ALL = list(NAMES)
POLICIES: dict[str, tuple[LoadPolicy, list[str]]] = {
    "always": ("always", ["change", "use"]),
    "list": ([True, False, True], ["use"]),
    "none": ([False] * 3, []),
}
ROWS = {"always": ["loaded for use"], "list": ["loaded for use"], "none": None}


@pytest.mark.parametrize("kind", POLICIES)
def test_loaders_that_are_asked_for(kind: str, file_store: AnyStore, runner: Runner) -> None:
    """A policy that chooses loaders has them called, and merges their data into the stored."""
    policy, loaded = POLICIES[kind]
    with pytest.raises(ConnectionError):
        runner(Keeper("change").add_to(file_store.empty_flow(keep_data=True)), begin())
    keeper = Keeper()
    result = runner(keeper.add_to(file_store.empty_flow(keep_data=True)), None, policy)
    assert keeper.loaded == loaded
    assert result == done("fill", *loaded, rows=ROWS[kind])


def test_without_it_nothing_is_kept(file_store: AnyStore, runner: Runner) -> None:
    """By default `data` is not stored. The step that needs it fails, or its loader is called."""
    with pytest.raises(ConnectionError):
        runner(Keeper("change").add_to(file_store.empty_flow()), begin())
    assert not file_store.header().holds_data
    keeper = Keeper()
    with pytest.raises(KeyError, match="shared") as info:
        runner(keeper.add_to(file_store.empty_flow()))
    assert "'change'" in notes_of(info.value)
    assert keeper.loaded == ["change"]


@pytest.mark.parametrize("runner", ["run", "arun"])
@pytest.mark.parametrize("policy", ["first only", "always"])
def test_any_crash_point(policy: LoadPolicy, runner: Literal["run", "arun"]) -> None:
    """A run that breaks off at any point ends like the undisturbed run."""

    def make_flow(path: str) -> CheckpointFlow:
        return Keeper().add_to(CheckpointFlow(path, keep_data=True, fsync=False))

    assert crash_everywhere(make_flow, begin(), load_policy=policy, method=runner) > 15


def test_turned_on_between_two_runs(simple_store: AnyStore, runner: Runner) -> None:
    """A run that began without `keep_data` resumes with its loader, and stores data afterwards."""
    with pytest.raises(ConnectionError):
        runner(Keeper("fill").add_to(simple_store.empty_flow()), begin())
    keeper = Keeper("change")
    with pytest.raises(ConnectionError):
        runner(keeper.add_to(simple_store.empty_flow(keep_data=True)))
    assert keeper.loaded == ["fill"]
    assert "checkpoint_data" in simple_store.stored()
    keeper = Keeper()
    assert runner(keeper.add_to(simple_store.empty_flow(keep_data=True))) == done("fill")
    assert keeper.loaded == []


def test_turned_off_between_two_runs(simple_store: AnyStore, runner: Runner) -> None:
    """Without `keep_data`, stored data is not used, and is gone with the next snapshot."""
    with pytest.raises(ConnectionError):
        runner(Keeper("use").add_to(simple_store.empty_flow(keep_data=True)), begin())
    keeper = Keeper("use")
    with pytest.raises(KeyError, match="shared"):
        runner(keeper.add_to(simple_store.empty_flow()))
    assert keeper.loaded == ["use"]
    assert simple_store.stored()["checkpoint_data"]["rows"] == [
        "loaded for fill",
        "filled",
        "changed",
    ]
    cp = simple_store.empty_flow()
    for name in NAMES[:2]:
        cp.add_step(name=name)(lambda state: None)
    cp.add_step(name="use")(lambda state, data: state.update(data=sorted(data)))
    assert runner(cp) == {"shared": ["changed"], "data": []}
    assert "checkpoint_data" not in simple_store.stored()


def test_retried_step(any_store: AnyStore, runner: Runner) -> None:
    """Each attempt has the stored data, without the changes of earlier attempts."""
    cp, flaky = any_store.empty_flow(keep_data=True), Flaky()
    cp.add_step(name="fill")(lambda state, data: data.update(deep=[[]], rows=[0]))
    flaky.add(cp)
    seen: list[State] = []

    @cp.add_step(name="ruin", retry=THRICE)
    def ruin(state: State, data: State) -> None:
        seen.append({**data, "deep": [*map(list, data["deep"])]})
        data["deep"][0].append(1)
        if len(seen) < 3:
            raise ConnectionError

    assert any_store.go(runner, cp, before(), [False, True, False]) == after()
    assert seen == [seen[0]] * 3
    assert seen[0]["deep"] == [[]]


@pytest.mark.parametrize("policy", ["first only", "always"])
def test_going_back(policy: LoadPolicy, file_store: AnyStore, runner: Runner) -> None:
    """With `keep=`, `checkpoint=` begins with the data stored on entry to the step."""
    options: dict[str, Any] = {"keep_data": True, "keep": "all"}
    runner(Keeper().add_to(file_store.empty_flow(**options)), begin())
    keeper = Keeper()
    result = runner(keeper.add_to(file_store.empty_flow(**options)), None, policy, "use")
    loaded = [] if policy == "first only" else ["use"]
    rows = None if policy == "first only" else ["loaded for use"]
    assert keeper.loaded == loaded
    assert result == done("fill", *loaded, rows=rows)
    # On entry to the first step there was no data.
    again = Keeper()
    assert runner(
        again.add_to(file_store.empty_flow(**options)), None, "first only", "fill"
    ) == done("fill")
    assert again.loaded == ["fill"]


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
def test_resumed_among_all(kind: str, tmp_path: Path) -> None:
    """A run resumed by `resume_all` has its data as well."""
    file_store, keeper = AnyStore.at(tmp_path, kind), Keeper()
    with pytest.raises(ConnectionError):
        Keeper("use").add_to(file_store.empty_flow(keep_data=True)).run(begin(), run_id="x")
    found = resume_all(keeper.add_to(file_store.empty_flow(keep_data=True)))
    assert found["x"].state == done("fill")
    assert keeper.loaded == []
    file_store.forget()


def test_until(file_store: AnyStore, runner: Runner) -> None:
    """A stopped run has its data when it resumes."""
    runner(Keeper().add_to(file_store.empty_flow(keep_data=True)), begin(), until="change")
    keeper = Keeper()
    assert runner(keeper.add_to(file_store.empty_flow(keep_data=True))) == done("fill")
    assert keeper.loaded == []


# --- data that cannot be stored


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ('data["bad"]', {"bad": (name for name in NAMES)}),
        ('data["deep"][1]["bad"]', {"deep": [1, {"bad": (name for name in NAMES)}]}),
    ],
)
def test_data_that_cannot_be_stored(
    path: str, wrong: State, simple_store: AnyStore, runner: Runner
) -> None:
    """The error names the path in `data` and the remedies. The stored snapshot stays."""
    cp = simple_store.empty_flow(keep_data=True)
    cp.add_step(name="a")(lambda state: None)
    cp.add_step(name="b")(lambda state, data: data.update(wrong))
    cp.add_step(name="c")(lambda state: None)
    with pytest.raises(UnserializableStateError, match="keep_data=True") as info:
        runner(cp, {"n": 1})
    assert [where for where, _ in info.value.offenders] == [path]
    assert info.value.step == "b"
    stored = simple_store.stored()
    assert stored == {"n": 1, "checkpoint_index": 1, "checkpoint_data": {}}
    (failed,) = simple_store.events_of(events.StepFailed)
    assert failed.part == "snapshot"
