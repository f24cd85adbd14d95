"""The live card in a real kernel: its last state is in the saved file, whatever ended the run."""

from __future__ import annotations

import os
from typing import Any

import nbformat as untyped_nbformat
import pytest
from nbclient import NotebookClient

SETUP = """
import asyncio, os, signal, sys, threading, time
from aiocheckpoint import CheckpointFlow, Pause
from aiocheckpoint._display.live import live_card

cp = CheckpointFlow("orders.db", "sqlite", fsync=False)

@cp.add_step()
async def reserve(state):
    await asyncio.sleep(state.get("seconds", 0))

@cp.add_step()
def charge(state):
    end = state.get("end")
    if end == "fail":
        raise ConnectionError("no <b>answer</b>")
    if end == "pause" and "by" not in state:
        raise Pause("who?")
    if end == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
"""
CELLS = {
    "setup": SETUP,
    "quick": "cp.run({}); cp.map({'a': {}}); await cp.amap({'a': {}});",
    "late": "cp.run({'seconds': 1.0});",
    "finished": "cp.run({}, progress='auto');",
    "failed": "cp.run({'end': 'fail'}, run_id='order-1', progress='card')",
    "paused": "cp.run({'end': 'pause'}, run_id='order-2', progress='card');",
    "resumed": "await cp.aresume('order-2', {'by': 'Ann'}, progress='card');",
    "interrupted": "cp.run({'end': 'interrupt'}, run_id='order-3', progress='card')",
    "awaited": "await cp.arun({}, run_id='order-4', progress='card');",
    "two": """await asyncio.gather(
    *(cp.arun({}, run_id=f'order-{one}', progress='card') for one in (5, 6)));""",
    "crowd": "await asyncio.gather("
    "*(cp.arun({'seconds': 1.0}, run_id=f'c-{one}') for one in range(14)));",
    "many": "await cp.amap({f'm-{n}': {'end': 'fail' if n == 3 else ''} for n in range(8)}, "
    "progress='card');",
    "twins": "list(cp.map({f't-{n}': {} for n in range(8)}, progress='card'));",
    "cancelled": """
task = asyncio.create_task(cp.arun({'seconds': 60}, run_id='order-7', progress='card'))
await asyncio.sleep(0.2)
task.cancel()
await asyncio.gather(task, return_exceptions=True);""",
    "broken": """
from unittest import mock
with mock.patch.object(get_ipython().display_pub, 'publish', side_effect=OSError('closed')):
    state = cp.run({}, run_id='order-8', progress='card')
print(state, file=sys.stdout)""",
    "own": """
class Redis:
    def __init__(self, url): self.state = {}
    def read(self): return dict(self.state)
    def write(self, state): self.state = dict(state)

own = CheckpointFlow("redis://me:s3cret@host/0", Redis, name="own", progress="card")
own.add_step()(reserve)
own.run({});""",
    "capture": "%%capture kept\ncp.run({}, progress='card')",
    "captured": "print(len(kept.outputs))",
    "forked": """
child = os.fork()
if child == 0:
    from aiocheckpoint._display.live.displays import notebook_shell
    os._exit(notebook_shell() is not None)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))""",
    "threads": """
print([one.name for one in threading.enumerate() if 'display' in one.name],
      [name for name in sys.modules if name.startswith('ipywidgets')])""",
}
Cell = dict[str, Any]
nbformat: Any = untyped_nbformat


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cell]:
    """Execute the cells in a kernel, save them, and give them by their names as they were read."""
    folder = tmp_path_factory.mktemp("cards")
    notebook = nbformat.v4.new_notebook()
    notebook["cells"] = [
        nbformat.v4.new_code_cell(source, id=name) for name, source in CELLS.items()
    ]
    where = {"metadata": {"path": str(folder)}}
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources=where, allow_errors=True
    )
    home = str(tmp_path_factory.mktemp("ipython"))
    client.execute(env={**os.environ, "IPYTHONDIR": home})
    saved = folder / "saved.ipynb"
    nbformat.write(notebook, saved)
    read = nbformat.read(saved, as_version=4)
    return {cell["id"]: cell for cell in read["cells"]}


def outputs(cell: Cell, kind: str) -> list[Any]:
    """The outputs of a kind."""
    return [one for one in cell["outputs"] if one["output_type"] == kind]


def texts(cell: Cell) -> list[str]:
    """The cards as text. Each has HTML as well, and nothing else."""
    shown = [one["data"] for one in outputs(cell, "display_data")]
    assert all(set(data) == {"text/html", "text/plain"} for data in shown)
    return [data["text/plain"] for data in shown]


def test_no_card_for_short_runs(cells: dict[str, Cell]) -> None:
    """A run of less than half a second has no card that was not asked for."""
    assert outputs(cells["quick"], "display_data") == []


def test_a_card_for_long_runs(cells: dict[str, Cell]) -> None:
    """A longer one has a card, though nobody asked for it."""
    (text,) = texts(cells["late"])
    assert "✓ finished" in text


def test_a_crowd_of_long_runs(cells: dict[str, Cell]) -> None:
    """At most ten cards come at once that nobody asked for."""
    assert outputs(cells["crowd"], "error") == []
    assert 0 < len(texts(cells["crowd"])) <= 10


ENDS = {
    "finished": ["✓ finished", "✓ done"],
    "failed": ["order-1", "✗ failed at 2 of 2, charge", "ConnectionError: no <b>answer</b>"],
    "paused": ["order-2", "‖ paused at 2 of 2, charge", "who?"],
    "resumed": ["order-2", "✓ finished"],
    "interrupted": ["order-3", "⊘ cancelled at 2 of 2, charge", "KeyboardInterrupt"],
    "awaited": ["order-4", "✓ finished"],
    "cancelled": ["order-7", "⊘ cancelled at 1 of 2, reserve", "CancelledError"],
}


@pytest.mark.parametrize("name", ENDS)
def test_last_state(name: str, cells: dict[str, Cell]) -> None:
    """The saved file has one card, which tells how the run ended."""
    (text,) = texts(cells[name])
    assert [part for part in ENDS[name] if part not in text] == []


@pytest.mark.parametrize("name", ["failed", "interrupted"])
def test_above_the_traceback(name: str, cells: dict[str, Cell]) -> None:
    """The card is above the traceback."""
    kinds = [one["output_type"] for one in cells[name]["outputs"]]
    assert kinds == ["display_data", "error"]


def test_nothing_breaks_out(cells: dict[str, Cell]) -> None:
    """The message of an error is escaped."""
    (card,) = outputs(cells["failed"], "display_data")
    assert "no &lt;b&gt;answer&lt;/b&gt;" in card["data"]["text/html"]
    assert "<b>answer" not in card["data"]["text/html"]


def test_no_password(cells: dict[str, Cell]) -> None:
    """The URL of a user's own handler is shown without its password."""
    (card,) = outputs(cells["own"], "display_data")
    assert "redis://" in card["data"]["text/html"]
    assert "s3cret" not in str(cells["own"]["outputs"])


def test_two_at_once(cells: dict[str, Cell]) -> None:
    """Two runs of one cell have a card each."""
    shown = texts(cells["two"])
    assert len(shown) == 2
    assert all("✓ finished" in text for text in shown)
    assert {text.split()[0] for text in shown} == {"order-5", "order-6"}


def test_many(cells: dict[str, Cell]) -> None:
    """Many runs have one card, with the failed ones."""
    (text,) = texts(cells["many"])
    first, *failures, remedy = text.splitlines()
    assert first.startswith("orders: 8/8 runs, 7 finished, 1 failed, ")
    assert failures == ["m-3 failed at 2/2 charge: ConnectionError"]
    assert remedy == "Those go on by: list(cp.resume_all(status='failed'))"
    (html,) = outputs(cells["many"], "display_data")
    assert "<progress" in html["data"]["text/html"]


def test_twins(cells: dict[str, Cell]) -> None:
    """The runs of `map` are in another thread, and their card in the cell."""
    (text,) = texts(cells["twins"])
    assert text.startswith("orders: 8/8 runs, 8 finished, ")


def test_a_display_that_fails(cells: dict[str, Cell]) -> None:
    """An error of the display itself is logged once, and the run goes on."""
    out = "".join(one["text"] for one in outputs(cells["broken"], "stream"))
    assert out.count("The display of progress has failed") == 1
    assert "{}" in out
    assert outputs(cells["broken"], "error") == []


def test_capture(cells: dict[str, Cell]) -> None:
    """A cell of `%%capture` keeps the card."""
    assert cells["capture"]["outputs"] == []
    assert int(outputs(cells["captured"], "stream")[0]["text"]) >= 1


def test_no_card_in_a_child(cells: dict[str, Cell]) -> None:
    """A forked child is no notebook."""
    assert outputs(cells["forked"], "stream")[0]["text"].strip() == "0"


def test_nothing_is_left(cells: dict[str, Cell]) -> None:
    """No thread of a card is left, and no widget was imported."""
    assert outputs(cells["threads"], "stream")[0]["text"].strip() == "[] []"
