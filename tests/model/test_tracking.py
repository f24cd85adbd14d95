"""`current_step().track` gives the items, and reports how many of them are done."""

from __future__ import annotations

import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import InvalidTypeError
from aiocheckpoint._model.tracking import tracked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

Report = tuple[float, float | None, str | None]


@pytest.fixture
def reports() -> list[Report]:
    """Give a list for reports."""
    return []


@pytest.fixture
def progress(reports: list[Report]) -> Callable[[float, float | None, str | None], None]:
    """Give a function that notes reports."""
    return lambda *report: reports.append(report)


class NoLength(list[int]):
    """A list whose length raises, as that of some data sets does."""

    def __len__(self) -> int:
        raise NotImplementedError


class TooShort(list[int]):
    """A list that says a smaller length than it has."""

    def __len__(self) -> int:
        return 2


class ByIndex:
    """Items that have no `__iter__`, as those of some data sets."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> int:
        return (7, 8, 9)[index]


@pytest.mark.parametrize(
    ("items", "total", "totals"),
    [
        ([7, 8, 9], None, [3, 3, 3, 3]),
        (iter([7, 8, 9]), None, [3, 3, 3, 3]),
        ((one for one in (7, 8, 9)), None, [None] * 4),
        ((one for one in (7, 8, 9)), 5, [5] * 4),
        ([7, 8, 9], 5, [5] * 4),
        (NoLength([7, 8, 9]), None, [None] * 4),
        (TooShort([7, 8, 9]), None, [2, 2, 2, None]),
        (ByIndex(), None, [3, 3, 3, 3]),
    ],
    ids=[
        "list",
        "iterator",
        "generator",
        "total",
        "other total",
        "no length",
        "too short",
        "index",
    ],
)
def test_totals(
    items: Any,  # noqa: ANN401 - any iterable
    total: float | None,
    totals: list[float | None],
    progress: Any,  # noqa: ANN401 - the fixture
    reports: list[Report],
) -> None:
    """An item is done when the next one is asked for. The total is given, or the length."""
    done = list[float]()
    for item in tracked(progress, items, total, "rows"):  # type: ignore[union-attr]
        done.append(reports[-1][0])
        assert item == 7 + reports[-1][0]
    assert done == [0, 1, 2]
    assert reports == [(n, total, "rows") for n, total in enumerate(totals)]


def test_left_early(progress: Any, reports: list[Report]) -> None:  # noqa: ANN401 - the fixture
    """The item at which the loop is left is not done, and a used up iterator counts no further."""
    for item in tracked(progress, [1, 2, 3], None, None):  # type: ignore[union-attr]
        if item == 2:
            break
    assert reports[-1][0] == 1
    all_items: Any = tracked(progress, [1], None, None)
    assert [next(all_items, None) for _ in range(3)] == [1, None, None]
    assert reports[-1][0] == 1


async def test_async(progress: Any, reports: list[Report]) -> None:  # noqa: ANN401 - the fixture
    """Async iterables are given to `async for`."""

    async def rows() -> AsyncIterator[int]:
        for row in range(3):
            yield row

    found = [row async for row in tracked(progress, rows(), 3, None)]  # type: ignore[union-attr]
    assert found == [0, 1, 2]
    assert [done for done, _, _ in reports] == [0, 1, 2, 3]


async def test_async_items_are_closed(progress: Any) -> None:  # noqa: ANN401 - the fixture
    """`aclosing` closes the source of a loop that is left early. One without `aclose` stays."""
    closed = list[bool]()

    async def rows() -> AsyncIterator[int]:
        try:
            yield 7
            yield 8
        finally:
            closed.append(True)

    class Rows:
        def __aiter__(self) -> Rows:
            return self

        async def __anext__(self) -> int:
            return 7

    for source in (rows(), Rows()):
        items: Any = tracked(progress, source, None, None)
        async with aclosing(items):
            async for item in items:
                assert item == 7
                break
    assert closed == [True]


async def test_sync_items_in_async_for(progress: Any, reports: list[Report]) -> None:  # noqa: ANN401 - the fixture
    """The items of a list come by `async for` too, and are counted."""
    tracked_items: Any = tracked(progress, [7, 8], None, None)
    assert [item async for item in tracked_items] == [7, 8]
    assert reports == [(done, 2, None) for done in (0, 1, 2)]


async def test_async_items_in_for(progress: Any) -> None:  # noqa: ANN401 - the fixture
    """A `for` over async items says what to write, and they are taken for no `Iterable`."""

    async def rows() -> AsyncIterator[int]:
        yield 1

    items: Any = tracked(progress, rows(), None, None)
    with pytest.raises(InvalidTypeError, match="`async for`"):
        list(items)
    assert [row async for row in tracked(progress, items, None, None)] == [1]  # type: ignore[union-attr]


@pytest.mark.parametrize("nothing", [3, None, re.match("", ""), int], ids=repr)
def test_no_iterable(progress: Any, nothing: Any) -> None:  # noqa: ANN401 - the fixture
    """A number is no iterable, and the error says what takes one."""
    with pytest.raises(InvalidTypeError, match="progress"):
        tracked(progress, nothing, None, None)
