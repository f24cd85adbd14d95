"""A program whose store hangs for ever: `hanging_store_script.py`.

Eight runs store a snapshot each. The flow is drained, and the end of the loop cancels them.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from hanging_stores import HangingStore, hung_flow


class Never(threading.Event):
    """An event that is waited for for ever."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait."""
        del timeout
        return super().wait()


async def main() -> None:
    """Begin the runs, and give them up."""
    store = HangingStore()
    cp = hung_flow(store)
    store.goes_on = Never()
    tasks: list[asyncio.Task[dict[str, Any]]] = [
        asyncio.create_task(cp.arun({}, run_id=str(number))) for number in range(8)
    ]
    await store.hangs(4)
    left = await cp.adrain(timeout=0.05)
    sys.stdout.write(f"left: {len(left)}\n")
    del tasks


if __name__ == "__main__":
    asyncio.run(main())
    sys.stdout.write("the program is over\n")
