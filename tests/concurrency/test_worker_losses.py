"""Which errors of executors are the loss of a worker."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor, CancelledError
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pytest

from aiocheckpoint._concurrency.worker_losses import is_loss

KilledWorker = type("KilledWorker", (Exception,), {"__module__": "distributed.scheduler"})
TAKEN_APART = """
def cascade(result):
    typ, error, traceback = result
    raise error.with_traceback(traceback)
"""


@pytest.mark.parametrize(
    "error", [BrokenExecutor(), BrokenProcessPool(), CancelledError(), KilledWorker("key")]
)
def test_losses(error: BaseException) -> None:
    """Broken pools, cancelled futures, and what Dask calls a killed worker."""
    assert is_loss(error)


@pytest.mark.parametrize("error", [ValueError(), RuntimeError("no futures"), TypeError("pickle")])
def test_no_losses(error: BaseException) -> None:
    """Any other error is that of the call."""
    assert not is_loss(error)


def test_answer_that_dask_takes_for_an_exception() -> None:
    """An answer of four values, as its worker dies, fails in the module of Dask's futures."""
    names: dict[str, Any] = {"__name__": "distributed.cfexecutor"}
    exec(TAKEN_APART, names)  # noqa: S102 - the lines of Dask, in a module of that name
    with pytest.raises(ValueError, match="too many values") as info:
        names["cascade"]((1, 2, 3, 4))
    assert is_loss(info.value)
