"""Calls to an engine that was closed under them fail, and leave nobody waiting."""

from __future__ import annotations

from concurrent.futures import CancelledError, Executor, Future
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint._concurrency import closed_engines
from aiocheckpoint._concurrency.closed_engines import fail_when_closed
from aiocheckpoint._concurrency.renewed_executor import RenewedExecutor
from aiocheckpoint._concurrency.worker_losses import is_loss

if TYPE_CHECKING:
    from collections.abc import Callable


class Unanswering(Executor):
    """Answers no call, as the executor of Dask does whose scheduler dies at the wrong moment."""

    __module__ = "distributed.cfexecutor"

    def __init__(self) -> None:
        self.client = self._client = SimpleNamespace(status="running")

    def submit(self, fn: Callable[..., Any], /, *_: Any, **__: Any) -> Future[Any]:  # noqa: ANN401
        """Give a future that nobody ends."""
        return Future()


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed_engines, "_SECONDS", 0.01)


def test_call_that_a_closed_engine_leaves() -> None:
    """It counts as the loss of its worker, and a call to a living engine waits on."""
    engine, other = Unanswering(), Unanswering()
    left, waits = [RenewedExecutor(one).submit(one, print, 1) for one in (engine, other)]
    engine.client.status = "closed"
    error = left.exception(60)
    assert isinstance(error, CancelledError)
    assert is_loss(error)
    assert not waits.done()
    waits.set_result(None)


def test_call_that_was_answered() -> None:
    """Its answer stays."""
    engine = Unanswering()
    answered = engine.submit(print)
    fail_when_closed(engine, answered)
    answered.set_result(3)
    engine.client.status = "closed"
    later = RenewedExecutor(engine).submit(engine, print, 1)
    assert isinstance(later.exception(60), CancelledError)
    assert answered.result() == 3
