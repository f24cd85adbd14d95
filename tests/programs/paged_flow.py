"""A flow whose one step sends pages, by the target `paged_flow:cp`. It goes on at its cursor.

The environment says where: `ENGINE_STORE` is the store, `ENGINE_OPTIONS` has options in JSON, and
`ENGINE_LOG` gets a line for each page: the run, the idempotency key, the page and the process.
`ENGINE_PAGES` is the number of pages.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from aiocheckpoint import CheckpointFlow, current_step

PAGES = int(os.environ["ENGINE_PAGES"])
SECONDS = 0.15

cp = CheckpointFlow(
    os.environ["ENGINE_STORE"], name="pages", **json.loads(os.environ["ENGINE_OPTIONS"])
)


@cp.add_step()
def send(state: dict[str, Any]) -> None:
    """Send the pages that are not sent yet, and note which process has sent the last one."""
    step = current_step()
    for page in range((step.cursor or {}).get("page", 0), PAGES):
        time.sleep(SECONDS)
        with Path(os.environ["ENGINE_LOG"]).open("a", encoding="ascii") as log:
            log.write(f"{step.run_id} {step.idempotency_key} {page} {os.getpid()}\n")
        step.progress(page + 1, PAGES, "pages", cursor={"page": page + 1})
    state["by"] = os.getpid()
