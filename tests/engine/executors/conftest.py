"""The executors of all tests of this folder."""

from __future__ import annotations

import pickle
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import pytest
from sent_steps import charge
from support import do_nothing

from aiocheckpoint import CheckpointFlow
from aiocheckpoint._engine.sent_progress import SentProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KINDS = ["thread", "fork", "spawn", "forkserver"]


class SharedPools:
    """An executor of each kind, whose workers serve all tests of a session."""

    def __init__(self) -> None:
        self._made: dict[str, Executor] = {}

    def of(self, kind: str) -> Executor:
        """Give the executor, with workers that have begun."""
        if kind not in self._made:
            pool: Executor = ThreadPoolExecutor(2)
            if kind != "thread":
                pool = ProcessPoolExecutor(2, mp_context=get_context(kind))
            self._made[kind] = pool
            for future in [pool.submit(do_nothing, {}) for _ in range(4)]:
                future.result()
        return self._made[kind]

    def close(self) -> None:
        """Shut them down."""
        for pool in self._made.values():
            pool.shutdown()


@pytest.fixture(scope="session")
def pools() -> Iterator[SharedPools]:
    """Give the executors, and begin what a process begins once and keeps."""
    made = SharedPools()
    pickle.dumps(SentProgress(_NoStep()))
    with_processes = CheckpointFlow("unused.pkl", handler=_Nowhere)
    with_processes.add_step(executor="process")(charge)
    with_processes.run({})
    with_processes._core.settings.pools.close()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    made.of("fork")
    yield made
    made.close()


class _NoStep:
    latest = None
    reports = None

    def make_reports(self) -> Any:  # noqa: ANN401
        """Make nothing."""
        raise AssertionError


class _Nowhere:
    """Keeps a state in memory, as a handler of a user does."""

    def __init__(self, path: object) -> None:
        self.state: dict[str, Any] = {}

    def read(self) -> dict[str, Any]:
        """Give what is kept."""
        return self.state

    def write(self, state: dict[str, Any]) -> None:
        """Keep it."""
        self.state = dict(state)


@pytest.fixture(scope="session", params=KINDS)
def executor(request: pytest.FixtureRequest, pools: SharedPools) -> Executor:
    """Give an executor of each kind in turn."""
    return pools.of(request.param)


@pytest.fixture(scope="session")
def forked(pools: SharedPools) -> Executor:
    """Give processes that begin quickly."""
    return pools.of("fork")


@pytest.fixture
def make_pool(pools: SharedPools) -> Callable[[], Executor]:
    """Give a function that makes pools of two forked processes."""
    return partial(ProcessPoolExecutor, 2, mp_context=get_context("fork"))
