"""A kernel stops in a step with a cursor, and the next attempt begins at the cursor."""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat.v4 import new_code_cell, new_notebook

from aiocheckpoint.look import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

PAGES = 10_000
SECRET = "s" * 32
FLOW = f"""
import time
from pathlib import Path
from aiocheckpoint import CheckpointFlow, current_step

cp = CheckpointFlow("pages.pkl", secret="{SECRET}")

@cp.add_step()
def fetch(state):
    step = current_step()
    start = (step.cursor or {{}}).get("page", 0)
    with open("began.txt", "a") as began:
        began.write(f"{{start}}\\n")
    for page in range(start, {PAGES}):
        if Path("enough").exists():
            break
        with open("fetched.txt", "a") as fetched:
            fetched.write(f"{{page}}\\n")
        step.progress(page + 1, {PAGES}, "pages", cursor={{"page": page + 1}})
        time.sleep(0.01)
    state["fetched"] = page
"""


class Kernel:
    """A kernel in a folder, with the cells that it has executed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notebook = new_notebook()  # type: ignore[no-untyped-call]
        self.client: Any = NotebookClient(
            self.notebook,
            timeout=60,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
        )

    async def execute(self, source: str) -> Any:  # noqa: ANN401 (a cell is plain JSON)
        """Execute a new cell, and give it with its outputs, also if it breaks."""
        cell = new_code_cell(source)  # type: ignore[no-untyped-call]
        self.notebook["cells"].append(cell)
        with suppress(CellExecutionError, DeadKernelError):
            await self.client.async_execute_cell(cell, len(self.notebook["cells"]) - 1)
        return cell

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until something holds that the step does."""
        async with asyncio.timeout(60):
            while not reached():  # noqa: ASYNC110 (another process reaches it)
                await asyncio.sleep(0.01)

    def stored_cursor(self) -> int | None:
        """Give the page of the cursor that is stored, or None. The flow is not needed for it."""
        if not (self.folder / "pages.pkl").exists():
            return None
        with open_store(str(self.folder / "pages.pkl"), secret=SECRET) as store:
            progress = store.run(None, values=True).progress
        return None if progress is None else progress.cursor["page"]


@asynccontextmanager
async def kernel_in(folder: Path) -> AsyncGenerator[Kernel]:
    """Start a kernel in a folder, execute the flow there, and end the kernel with the block."""
    kernel = Kernel(folder)
    async with kernel.client.async_setup_kernel():
        assert (await kernel.execute(FLOW))["outputs"] == []
        yield kernel


def numbers_in(file: Path) -> list[int]:
    """Give the numbers that the step has written, one a line."""
    return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


async def test_interrupted(tmp_path: Path) -> None:
    """The stop button stores the last cursor, and the card stays above the traceback."""
    fetched = tmp_path / "fetched.txt"
    async with kernel_in(tmp_path) as kernel:
        running = asyncio.create_task(kernel.execute("cp.run()"))
        await kernel.until(lambda: len(numbers_in(fetched)) > 100)
        await kernel.client.km.interrupt_kernel()
        stopped = await running
        pages = len(numbers_in(fetched))
        (tmp_path / "enough").touch()
        await kernel.execute("cp.run()")
    *cards, error = stopped["outputs"]
    assert error["ename"] == "KeyboardInterrupt"
    assert [set(card["data"]) for card in cards] == [{"text/html", "text/plain"}]
    assert "fetch" in cards[0]["data"]["text/plain"]
    first, second = numbers_in(tmp_path / "began.txt")
    assert first == 0
    assert second in {pages - 1, pages}  # It may be stopped between a page and its cursor.


async def test_killed(tmp_path: Path) -> None:
    """A new kernel begins at the cursor that was stored when the old one was killed."""
    async with kernel_in(tmp_path) as kernel:
        running = asyncio.create_task(kernel.execute("cp.run()"))
        await kernel.until(lambda: kernel.stored_cursor() is not None)
        await kernel.client.km.signal_kernel(signal.SIGKILL)
        await running
        stored = kernel.stored_cursor()
    (tmp_path / "enough").touch()
    async with kernel_in(tmp_path) as kernel:
        resumed = await kernel.execute("cp.run()")
    assert numbers_in(tmp_path / "began.txt") == [0, stored]
    assert resumed["outputs"][-1]["output_type"] == "execute_result"


async def test_restarted(tmp_path: Path) -> None:
    """The button that restarts the kernel in the midst of a step loses no more than a kill."""
    async with kernel_in(tmp_path) as kernel:
        running = asyncio.create_task(kernel.execute("cp.run()"))
        await kernel.until(lambda: kernel.stored_cursor() is not None)
        await kernel.client.km.restart_kernel(now=True)
        running.cancel()
        await kernel.client.kc.wait_for_ready()
        stored = kernel.stored_cursor()
        (tmp_path / "enough").touch()
        await kernel.execute(FLOW)
        await kernel.execute("cp.run()")
    assert numbers_in(tmp_path / "began.txt") == [0, stored]
