"""A second Ctrl-C while `run` ends because of the first."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from traced_interrupts import TracedInterrupt

if TYPE_CHECKING:
    from support import FlowFactory, State

FEWEST = {"_files/lock.py": 10, "handlers/_snapshot_run_store.py": 3}
if sys.version_info >= (3, 13):  # It traces fewer instructions of frames that run already.
    FEWEST = {"_files/lock.py": 3, "handlers/_snapshot_run_store.py": 0}


# Nothing awaits a coroutine that was made right before the interrupt.
@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("file", FEWEST)
def test_second_ctrl_c_while_the_lock_is_released(file: str, flows: FlowFactory) -> None:
    """At every point of the release, the lock is free afterwards, and its file deleted."""
    places: list[str] = []
    while len(places) == 0 or places[-1]:
        second = TracedInterrupt(file, len(places) + 1)
        cp = flows.flow("a")

        with ExitStack() as stack:

            @cp.add_step()
            def press(
                state: State, stack: ExitStack = stack, second: TracedInterrupt = second
            ) -> None:
                stack.enter_context(second.armed())
                raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                cp.run({})
        places.append(second.place)
        assert [path.name for path in flows.path.parent.iterdir()] == [flows.path.name], places
        cp.reset()
    assert len(places) > FEWEST[file]
