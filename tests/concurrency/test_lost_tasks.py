"""A second Ctrl-C that strikes inside the event loop of `run` itself."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

PATIENCE = 60.0

pytestmark = [
    pytest.mark.timeout(30),
    pytest.mark.skipif(os.name != "posix", reason="sends signals to itself"),
]


class Strikes:
    """Raises KeyboardInterrupt when the loop has taken a task's step from its queue.

    Args:
        skipped: The number of steps that it lets pass.

    Attributes:
        struck: Whether it has.
    """

    def __init__(self, skipped: int) -> None:
        """Strike not yet."""
        self._left = skipped
        self.struck = False

    def __call__(self, frame: FrameType, event: str, arg: object) -> Any:  # noqa: ANN401
        """Trace a frame, as `sys.settrace` has it."""
        if frame.f_code.co_name != "_run_once":
            return None
        handle = frame.f_locals.get("handle")
        if event == "line" and not self.struck and _is_step(handle):
            if self._left == 0:
                self.struck = True
                raise KeyboardInterrupt
            self._left -= 1
        return self


def _is_step(handle: Any) -> bool:  # noqa: ANN401
    if handle is None or handle.cancelled():
        return False
    return isinstance(getattr(handle._callback, "__self__", None), asyncio.Task)  # noqa: SLF001


@pytest.mark.parametrize("skipped", range(3))
def test_second_ctrl_c_inside_the_loop(skipped: int, tmp_path: Path) -> None:
    """The run ends, with the clean-up of its coroutines done, though a task lost its next step."""
    ended: list[str] = []
    strikes = Strikes(skipped)
    cp = CheckpointFlow(tmp_path / "c.pkl", fsync=False)

    async def clean_up(name: str) -> None:
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            await asyncio.sleep(0)
            ended.append(name)

    @cp.add_step()
    async def step(state: dict[str, Any]) -> None:
        beside = asyncio.create_task(clean_up("beside"))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(press)
        await clean_up("step")
        await beside

    def press() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        sys.settrace(strikes)
        frame = inspect.currentframe()
        while frame is not None and frame.f_code.co_name != "_run_once":
            frame = frame.f_back
        assert frame is not None
        frame.f_trace = strikes

    before = sys.gettrace()
    try:
        with pytest.raises(KeyboardInterrupt):
            cp.run({})
    finally:
        sys.settrace(before)
    assert strikes.struck
    assert sorted(ended) == ["beside", "step"]
    assert list(tmp_path.iterdir()) == [tmp_path / "c.pkl"]
