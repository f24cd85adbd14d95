"""With `verify=True` a snapshot counts only after it was loaded back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from forged_snapshots import SECRET
from support import FlowFactory, State, add_with

from aiocheckpoint import (
    IncompatibleSnapshotError,
    LocalStateHandler,
    UnserializableStateError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import Runner

CANARY = "canary-4f1d"
FAST: dict[str, Any] = {"fsync": False}


def raise_error(word: str) -> object:
    """Raise an error on loading."""
    raise ValueError(word)


class Unmade:
    """Is loaded by a function that raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        return raise_error, (CANARY,)


class Unset:
    """Raises when its state is set."""

    error: type[Exception] = ValueError

    def __init__(self) -> None:
        self.word = CANARY

    def __setstate__(self, state: State) -> None:
        """Raise an error."""
        raise self.error(state["word"])


class Slow:
    """Needs an argument that was not kept."""

    def __init__(self, word: str) -> None:
        self.word = word

    def __reduce__(self) -> tuple[Any, ...]:
        return Slow, ()


MAKERS: dict[str, Callable[[], object]] = {
    "made by what raises": Unmade,
    "takes no state": Unset,
    "argument lost": lambda: Slow(CANARY),
}


@pytest.mark.parametrize("options", [{}, {"secret": SECRET}, {"keep": 3}], ids=str)
@pytest.mark.parametrize("name", MAKERS)
def test_what_would_not_load(
    name: str, options: dict[str, Any], runner: Runner, flows: FlowFactory
) -> None:
    """A state that dumps but does not load is refused by its path. The stored snapshot stays."""
    cp = flows.flow("a", verify=True, **FAST, **options)
    before = list[dict[str, tuple[bytes, int]]]()

    def corrupt(state: State) -> None:
        before.append({path: file for path, file in flows.files().items() if ".lock" not in path})
        state.update(fine=[1], deep=[{"x": (MAKERS[name](),)}])

    add_with(cp, "b", "step", corrupt)
    with pytest.raises(UnserializableStateError) as info:
        runner(cp, {"n": 1})
    ((path, why),) = info.value.offenders
    assert path.startswith('state["deep"][0]["x"][0]')
    assert "would not load again" in why
    assert CANARY not in str(info.value)
    assert info.value.step == "b"
    assert [flows.files()] == before
    assert LocalStateHandler(flows.path).read()["trail"] == ["a"]


class Later:
    """Loads until it is broken, as a class does that an upgrade changes."""

    broken: type[Exception] | None = None

    def __init__(self) -> None:
        self.word = CANARY

    def __setstate__(self, state: State) -> None:
        """Raise an error once it is broken."""
        if Later.broken is not None:
            raise Later.broken(state["word"])


@pytest.mark.parametrize("error", [ValueError, AttributeError, ImportError, RecursionError])
def test_what_no_longer_loads(
    error: type[Exception], runner: Runner, flows: FlowFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state that loads no more is refused on resume, and the error names key, class and ways on.

    The text of the class's own exception, which may hold values, is not passed on.
    """
    runner(flows.flow("a", "b", **FAST), {"x": Later(), "n": 1}, until="a")
    monkeypatch.setattr(Later, "broken", error)
    flows.log.clear()
    with pytest.raises(IncompatibleSnapshotError, match="partial=True") as info:
        runner(flows.flow("a", "b", **FAST))
    ((path, why),) = info.value.lost
    assert (path, why) == ('state["x"]', f"loading it raised {error.__name__} (Later)")
    assert path in str(info.value)
    assert CANARY not in f"{info.value} {vars(info.value)}"
    assert flows.log == []


@pytest.mark.parametrize("state", [{}, {"a": 1}, {"rows": ["x" * 99] * 9999}, {"f": lambda: 1}])
@pytest.mark.parametrize("options", [{}, {"secret": SECRET}, {"keep": 2}], ids=str)
def test_what_loads_is_stored(
    state: State, options: dict[str, Any], runner: Runner, flows: FlowFactory
) -> None:
    """A state that loads is stored as without `verify`, and the run is unchanged."""
    cp = flows.flow("a", "b", verify=True, **FAST, **options)
    runner(cp, dict(state), until="a")
    assert runner(flows.flow("a", "b", verify=True, **FAST, **options))["trail"] == ["a", "b"]
    assert flows.stored().keys() == {*state, "trail", "loads", "checkpoint_index"}


def test_under_a_list(flows: FlowFactory) -> None:
    """Under an allowlist as well, the snapshot is loaded back under the list."""
    handler = LocalStateHandler(flows.path, verify=True, allow=[f"{__name__}:Unset"], **FAST)
    handler.write({"n": [1]})
    with pytest.raises(UnserializableStateError, match="would not load again") as info:
        handler.write({"x": Unset()})
    assert info.value.offenders[0][0] == 'state["x"]'
    assert handler.read()["n"] == [1]


def test_what_is_wrong_with_the_whole(flows: FlowFactory) -> None:
    """If every part would load but the whole would not, the error names the state."""
    Together.made = 0
    handler = LocalStateHandler(flows.path, verify=True, **FAST)
    with pytest.raises(UnserializableStateError, match="would not load again"):
        handler.write({"x": Together(1)})
    assert flows.files() == {}


class Together:
    """Loads alone, and not together with another."""

    made = 0

    def __init__(self, value: object) -> None:
        self.value = value

    def __setstate__(self, state: State) -> None:
        """Refuse every first time."""
        Together.made += 1
        if Together.made % 2:
            raise ValueError(CANARY)


def test_by_hand(runner: Runner, flows: FlowFactory) -> None:
    """A state written by hand is verified like any other."""
    handler = LocalStateHandler(flows.path, verify=True, **FAST)
    runner.write(handler, {"n": 1})
    before = flows.files()
    with pytest.raises(UnserializableStateError, match="would not load again") as info:
        runner.write(handler, {"n": 2, "x": Unmade()})
    assert info.value.offenders[0][0] == 'state["x"]'
    assert flows.files() == before


def test_a_failure_is_recorded(runner: Runner, flows: FlowFactory) -> None:
    """The record of a failure is also written under `verify`. Its payload was verified before."""
    flows.faults["step b"] = OSError("broken")
    with pytest.raises(OSError, match="broken"):
        runner(flows.flow("a", "b", verify=True, **FAST), {"n": 1})
    assert flows.header().status == "failed"
