"""With `verify=True` a snapshot counts only when it was loaded back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from forging import SECRET
from support import Lab, State, add_with

from aiocheckpoint import (
    IncompatibleSnapshotError,
    LocalStateHandler,
    UnserializableStateError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import Door

CANARY = "canary-4f1d"
FAST: dict[str, Any] = {"fsync": False}


def raise_error(word: str) -> object:
    """Be what cannot be made again."""
    raise ValueError(word)


class Unmade:
    """Is made again by a function that raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        return raise_error, (CANARY,)


class Unset:
    """Takes no state back."""

    error: type[Exception] = ValueError

    def __init__(self) -> None:
        self.word = CANARY

    def __setstate__(self, state: State) -> None:
        """Refuse."""
        raise self.error(state["word"])


class UnsetAttribute(Unset):
    """Raises what a name that is gone would."""

    error = AttributeError


class UnsetImport(Unset):
    """Raises what a module that is gone would."""

    error = ImportError


class Slow:
    """Needs an argument that nobody kept."""

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
def test_what_would_not_load(name: str, options: dict[str, Any], door: Door, lab: Lab) -> None:
    """What dumps and does not load is refused with its path, and what was stored stays."""
    cp = lab.flow("a", verify=True, **FAST, **options)
    before = list[dict[str, tuple[bytes, int]]]()

    def spoil(state: State) -> None:
        before.append({path: file for path, file in lab.files().items() if ".lock" not in path})
        state.update(fine=[1], deep=[{"x": (MAKERS[name](),)}])

    add_with(cp, "b", "step", spoil)
    with pytest.raises(UnserializableStateError) as info:
        door(cp, {"n": 1})
    ((path, why),) = info.value.offenders
    assert path.startswith('state["deep"][0]["x"][0]')
    assert "would not load again" in why
    assert CANARY not in str(info.value)
    assert info.value.step == "b"
    assert [lab.files()] == before
    assert LocalStateHandler(lab.path).read()["trail"] == ["a"]


@pytest.mark.parametrize("name", MAKERS)
def test_without_verify_it_is_stored(name: str, door: Door, lab: Lab) -> None:
    """Without it the same state is stored, and found out by who resumes, in words of ours."""
    door(lab.flow("a", "b", **FAST), {"x": MAKERS[name]()}, until="a")
    lab.log.clear()
    with pytest.raises(IncompatibleSnapshotError, match="Error") as info:
        door(lab.flow("a", "b", **FAST))
    assert CANARY not in f"{info.value} {vars(info.value)}"
    assert lab.log == []


QUOTING = [UnsetAttribute, UnsetImport]


@pytest.mark.parametrize("kind", QUOTING)
def test_no_value_is_told_when_saved(kind: Callable[[], object], door: Door, lab: Lab) -> None:
    """Words of the user's own classes, which may hold values, are not passed on."""
    with pytest.raises(UnserializableStateError) as info:
        door(lab.flow("a", verify=True, **FAST), {"x": kind()})
    assert CANARY not in f"{info.value} {vars(info.value)}"


@pytest.mark.parametrize("kind", QUOTING)
def test_no_value_is_told_when_loaded(kind: Callable[[], object], door: Door, lab: Lab) -> None:
    """They are not passed on by who resumes either."""
    door(lab.flow("a", "b", **FAST), {"x": kind()}, until="a")
    with pytest.raises(IncompatibleSnapshotError) as info:
        door(lab.flow("a", "b", **FAST))
    assert CANARY not in f"{info.value} {vars(info.value)}"


@pytest.mark.parametrize("state", [{}, {"a": 1}, {"rows": ["x" * 99] * 9999}, {"f": lambda: 1}])
@pytest.mark.parametrize("options", [{}, {"secret": SECRET}, {"keep": 2}], ids=str)
def test_what_loads_is_stored(state: State, options: dict[str, Any], door: Door, lab: Lab) -> None:
    """Whatever loads is stored as without it, and the run is none the wiser."""
    cp = lab.flow("a", "b", verify=True, **FAST, **options)
    door(cp, dict(state), until="a")
    assert door(lab.flow("a", "b", verify=True, **FAST, **options))["trail"] == ["a", "b"]
    assert lab.stored().keys() == {*state, "trail", "loads", "checkpoint_index"}


def test_under_a_list(lab: Lab) -> None:
    """With a list as well, what is loaded back is loaded under the list."""
    handler = LocalStateHandler(lab.path, verify=True, allow=[f"{__name__}:Unset"], **FAST)
    handler.write({"n": [1]})
    with pytest.raises(UnserializableStateError, match="would not load again") as info:
        handler.write({"x": Unset()})
    assert info.value.offenders[0][0] == 'state["x"]'
    assert handler.read()["n"] == [1]


def test_what_is_wrong_with_the_whole(lab: Lab) -> None:
    """Where every part would load and the whole would not, that is said of the state."""
    Together.made = 0
    handler = LocalStateHandler(lab.path, verify=True, **FAST)
    with pytest.raises(UnserializableStateError, match="would not load again"):
        handler.write({"x": Together(1)})
    assert lab.files() == {}


class Together:
    """Loads once, and not together with another."""

    made = 0

    def __init__(self, value: object) -> None:
        self.value = value

    def __setstate__(self, state: State) -> None:
        """Refuse every first time."""
        Together.made += 1
        if Together.made % 2:
            raise ValueError(CANARY)


def test_by_hand(door: Door, lab: Lab) -> None:
    """A state written by hand is verified like any other."""
    handler = LocalStateHandler(lab.path, verify=True, **FAST)
    door.write(handler, {"n": 1})
    before = lab.files()
    with pytest.raises(UnserializableStateError, match="would not load again") as info:
        door.write(handler, {"n": 2, "x": Unmade()})
    assert info.value.offenders[0][0] == 'state["x"]'
    assert lab.files() == before


def test_a_failure_is_recorded(door: Door, lab: Lab) -> None:
    """The record of a failure is written under it too; its payload was verified before."""
    lab.faults["step b"] = OSError("broken")
    with pytest.raises(OSError, match="broken"):
        door(lab.flow("a", "b", verify=True, **FAST), {"n": 1})
    assert lab.header().status == "failed"
