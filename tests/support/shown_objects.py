"""Objects that show themselves, and notebooks that hold what IPython makes of them."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from IPython.core.formatters import DisplayFormatter
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from aiocheckpoint import CheckpointFlow, Pause
from aiocheckpoint.look import store_of

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    from executed_notebooks import Notebook
    from support import State

KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
HOSTILE = (
    "<script>globalThis.harmed = 1</script>",
    '"><img src=https://example.org/a.png onerror="globalThis.harmed = 2">',
    "'><svg onload=globalThis.harmed=3></svg>",
    "</td></tr></table></details></div></svg><h1>HEADING</h1>",
    "<style>*{display:none}</style>",
    "x;background:url(https://example.org/b.png)",
    "&lt;script&gt;&#60;b&#62;",
    "<!-- ]]> ?> <![CDATA[",
    '"]; click A href "javascript:globalThis.harmed=4" %%{init: {}}%%',
    "a\u202eb\x1b[31mc",
    "end",
    "`#quot;` **bold** $x$ [link](https://example.org/c)",
)
"""Texts that break out of HTML, SVG, CSS, Mermaid or Markdown where one is not escaped."""


def bundle_of(shown: object) -> Mapping[str, Any]:
    """Give what IPython would send for an object, by MIME type."""
    formatter = DisplayFormatter()
    data, _ = formatter.format(shown)  # type: ignore[no-untyped-call]
    return dict(data)


def notebook_of(objects: Mapping[str, object], *markdown: str) -> Notebook:
    """Give a saved notebook with a cell for each object, and one for each text of Markdown."""
    cells = [
        new_code_cell(  # type: ignore[no-untyped-call]
            name,
            outputs=[new_output("display_data", bundle_of(shown))],  # type: ignore[no-untyped-call]
        )
        for name, shown in objects.items()
    ]
    cells += [new_markdown_cell(text) for text in markdown]  # type: ignore[no-untyped-call]
    return new_notebook(metadata=KERNEL, cells=cells)  # type: ignore[no-untyped-call]


@contextmanager
def shown_orders(folder: Path, names: Sequence[str] = ()) -> Generator[dict[str, object]]:
    """Give an object of each kind that shows itself, of runs that finished, failed and wait.

    Args:
        folder: Where they are stored.
        names: The name of the flow, of its four steps, of a run, of a key and a value of the state,
            of the error and of the pause. Without them it is a shop with harmless names.
    """
    flow, reserve, approve, charge, invoice, run_id, key, value, error, pause, *_ = names or (
        *("orders", "reserve", "approve", "charge", "invoice", "order-42", "item", "lamp"),
        *("no answer from the bank", "waiting for approval"),
    )
    cp = CheckpointFlow(f"sqlite:///{folder}/orders.db", name=flow, keep="all", fsync=False)

    def waits(state: State) -> None:
        if state["total"] > 100 and "by" not in state:
            raise Pause(pause)

    async def breaks(state: State) -> None:
        state["charged"] = True
        if state["total"] > 10:
            raise ConnectionError(error)

    cp.add_step(name=reserve, save=lambda state, data: None)(lambda state: state.update(held=1))
    cp.add_step(name=approve)(waits)
    cp.add_step(name=charge, timeout=30)(breaks)
    cp.add_step(name=invoice, load=lambda state: {})(lambda state: None)
    cp.run({"total": 9, key: value}, run_id="order-41")
    with suppress(ConnectionError):
        cp.run({"total": 90, key: value}, run_id=run_id)
    cp.run({"total": 700}, run_id="order-43")
    with ExitStack() as stack:
        stack.callback(cp.handler.close)
        store = stack.enter_context(store_of(cp.handler))
        yield {
            "flow": cp,
            "plan": cp.plan(run_id=run_id),
            "new": cp.plan({"total": 1}, run_id="order-44"),
            "header": cp.runs()[0],
            "runs": cp.runs(),
            "history": cp.history(run_id),
            "result": next(cp.map([("order-45", {"total": 30})])),
            "failed": cp.show(run_id),
            "values": cp.show(run_id, values=True),
            "paused": cp.show("order-43"),
            "finished": cp.show("order-41"),
            "diff": store.diff(run_id, values=True),
            "count": store.count(("status", "step")),
            "store": store.flows()[0],
            "diagram": cp.diagram(run_id=run_id),
        }
