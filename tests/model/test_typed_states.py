"""`CheckpointFlow[Order]` at run time, where the parameter changes nothing."""

from __future__ import annotations

import copy
import pickle
import traceback
import typing
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar

import pytest

from aiocheckpoint import CheckpointFlow, InvalidTypeError, RunResult

if TYPE_CHECKING:
    from pathlib import Path


class Order(TypedDict):
    """The state of an order."""

    total: int


def keep(state: Any) -> None:  # noqa: ANN401
    """Be a step of any flow."""


def test_runs_as_without(tmp_path: Path) -> None:
    """A parametrised flow runs and stores as a plain one does, and either reads the other's."""
    cp = CheckpointFlow[Order](tmp_path / "orders.pkl")

    @cp.add_step()
    def price(state: Order) -> None:
        state["total"] += 1

    assert cp.run({"total": 1}) == {"total": 2}
    assert type(cp) is CheckpointFlow
    assert CheckpointFlow(tmp_path / "orders.pkl").read() == {"total": 2, "checkpoint_index": 0}
    assert price.__name__ == "price"  # The function itself, whatever type checkers know of it.


def test_parameter_is_not_kept(tmp_path: Path) -> None:
    """Copies and pickles need no type of a state, which may be a local one."""

    class Local(TypedDict):
        total: int

    cp = CheckpointFlow[Local](tmp_path / "orders.pkl")
    cp.add_step()(keep)
    plain = CheckpointFlow(tmp_path / "orders.pkl")
    assert vars(cp).keys() == vars(plain).keys()
    assert repr(pickle.loads(pickle.dumps(cp))) == repr(cp) == repr(copy.copy(cp))


def test_error_at_the_door(tmp_path: Path) -> None:
    """A wrong argument is reported at the caller's line, with one frame of the library."""
    with pytest.raises(InvalidTypeError) as info:
        CheckpointFlow[Order](tmp_path / "orders.pkl", hooks=5)  # type: ignore[arg-type]
    names = [frame.filename for frame in traceback.extract_tb(info.value.__traceback__)]
    assert names[0] == __file__
    assert len(names) == 2


def test_as_an_annotation() -> None:
    """Other programs see the class and its parameter, as of classes of the standard library."""
    alias = CheckpointFlow[Order]
    assert (typing.get_origin(alias), typing.get_args(alias)) == (CheckpointFlow, (Order,))
    assert alias == CheckpointFlow[Order] != CheckpointFlow[dict[str, Any]]


def test_subclasses(tmp_path: Path) -> None:
    """A subclass may fix the parameter, or hand it on."""
    kind = TypeVar("kind", bound=typing.Mapping[str, object])

    class Orders(CheckpointFlow[Order]):
        pass

    class Tenants(CheckpointFlow[kind], Generic[kind]):
        pass

    for made in (Orders(tmp_path / "a.pkl"), Tenants[Order](tmp_path / "a.pkl")):
        made.add_step()(keep)
        assert made.run({"total": 1}) == {"total": 1}


async def test_results(tmp_path: Path) -> None:
    """Results are the same records, with or without a parameter."""
    cp = CheckpointFlow[Order](f"{tmp_path}/")
    cp.add_step()(keep)
    (result,) = await cp.amap([("a", {"total": 1})])
    assert result == RunResult(run_id="a", state={"total": 1}, error=None, status="finished")
    assert pickle.loads(pickle.dumps(result)) == result
