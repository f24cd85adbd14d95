"""`cp.diagram()` and `cp.adiagram()`: one object with all formats, in notebooks and in files."""

from __future__ import annotations

import pickle
from contextlib import suppress
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from aiocheckpoint import CheckpointFlow, Diagram, Pause, Retry
from aiocheckpoint.errors import (
    InvalidTypeError,
    InvalidValueError,
    RunNotFoundError,
    StorageError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from support import State

TEXT = """\
orders: 3 steps
  ↓ read_items
┌────────────┐
│ 1  reserve │
└────────────┘
  ↓ keep_items
══════════════
┌────────────┐
│ 2  approve │
└────────────┘
══════════════
┌────────────┐
│ 3  charge  │  up to 5 tries
└────────────┘
══════════════"""


def read_items(state: State) -> State:
    """A loader."""
    return {}


def keep_items(state: State, data: State) -> None:
    """A saver."""


def shop(place: str) -> CheckpointFlow[State]:
    """A flow that pauses at its second step."""
    cp = CheckpointFlow(place, name="orders", fsync=False)

    @cp.add_step(load=read_items, save=keep_items)
    def reserve(state: State, data: State) -> None:
        pass

    @cp.add_step()
    def approve(state: State) -> None:
        if "by" not in state:
            raise Pause("waiting for approval")

    cp.add_step(retry=Retry(attempts=5), name="charge")(lambda state: None)
    return cp


def test_a_flow_needs_no_store(tmp_path: Path) -> None:
    """A flow is drawn without a look at its store, and nothing is made."""
    place = tmp_path / "missing" / "orders.pkl"
    diagram = shop(str(place)).diagram()
    assert diagram.text == str(diagram) == TEXT
    assert diagram.title == "orders: 3 steps"
    assert repr(diagram) == "Diagram('orders: 3 steps', format='svg')"
    assert [step.name for step in diagram.steps] == ["reserve", "approve", "charge"]
    assert not place.parent.exists()


@pytest.mark.parametrize("place", ["runs/", "sqlite:///orders.db"])
async def test_a_run(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an id a stored run is drawn, with loaders, savers and limits of the flow."""
    monkeypatch.chdir(tmp_path)
    cp = shop(place)
    await cp.arun({}, run_id="order-42")
    diagram = await cp.adiagram(run_id="order-42")
    assert diagram.text == cp.diagram("text", "order-42").text
    lines = diagram.text.splitlines()
    assert lines[:2] == ["order-42 of orders: paused", "  ↓ read_items"]
    assert "│ ‖ 2  approve │  paused, waiting for approval" in lines
    assert "│ · 3  charge  │  up to 5 tries" in lines
    assert (await cp.adiagram()).text == TEXT


def test_no_steps(tmp_path: Path) -> None:
    """The diagram of an empty flow says how it gets steps."""
    diagram = CheckpointFlow(tmp_path / "x.pkl", name="orders").diagram()
    assert diagram.text == "orders: 0 steps. Register them with @cp.add_step()"


@pytest.mark.parametrize("place", ["runs/", "sqlite:///orders.db"])
async def test_a_run_that_is_not_stored(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of which nothing is stored is named, also where there is no store yet."""
    monkeypatch.chdir(tmp_path)
    cp = shop(place)
    for _ in range(2):
        with pytest.raises(RunNotFoundError, match=r"order-43.* no run to draw"):
            cp.diagram(run_id="order-43")
        with pytest.raises(RunNotFoundError, match="order-43"):
            await cp.adiagram(run_id="order-43")
        cp.run({}, run_id="order-42")


def test_a_damaged_run(tmp_path: Path) -> None:
    """Of a damaged run the flow is drawn, and the title says so."""
    cp = shop(f"{tmp_path}/runs/")
    cp.run({}, run_id="order-42")
    file = tmp_path / "runs" / "order-42.pkl"
    file.write_bytes(file.read_bytes()[:20])
    diagram = cp.diagram(run_id="order-42")
    assert diagram.title == "order-42 of orders: damaged"
    assert [step.status for step in diagram.steps] == [None, None, None]


def test_large_flows_are_folded(tmp_path: Path) -> None:
    """Of more than 100 steps the ends are drawn, and the steps around that of a run."""
    cp = CheckpointFlow(f"{tmp_path}/runs/", name="large", fsync=False)
    for number in range(150):
        cp.add_step(name=f"step {number}")(lambda state: None)
    cp.run({}, run_id="one", until="step 120")
    assert len(cp.diagram().steps) == 16
    run = cp.diagram(run_id="one")
    assert "│ ✓ 120  step 119 │" in run.text
    for drawn in (run.text, run.mermaid, run.svg):
        assert "step 120" in drawn
    assert len(cp.diagram().svg) < 40_000


def test_formats(tmp_path: Path) -> None:
    """The format decides what notebooks and `print` show. Each has all three."""
    cp = shop(f"{tmp_path}/orders.pkl")
    svg, mermaid, text = (cp.diagram(one) for one in ("svg", "mermaid", "text"))
    for one in (svg, mermaid, text):
        assert (one.text, one.svg, one.mermaid) == (svg.text, svg.svg, svg.mermaid)
    assert (str(svg), str(mermaid), str(text)) == (TEXT, mermaid.mermaid, TEXT)
    assert svg.ascii.isascii()


def shown(diagram: Diagram) -> dict[str, str | None]:
    """What IPython asks an object for."""
    kinds = ("html", "svg", "markdown")
    return {kind: getattr(diagram, f"_repr_{kind}_")() for kind in kinds}


def test_notebooks(tmp_path: Path) -> None:
    """A notebook shows the picture, with the text beside it."""
    cp = shop(f"{tmp_path}/orders.pkl")
    svg = shown(cp.diagram())
    assert svg["html"] is not None
    assert "<style" not in svg["html"]
    assert ET.fromstring(svg["html"]).attrib["role"] == "img"  # noqa: S314 - ours
    assert svg["svg"] == cp.diagram().svg
    assert svg["markdown"] is None
    text = shown(cp.diagram("text"))
    assert (text["svg"], text["markdown"]) == (None, None)
    assert "│ 1  reserve │" in str(text["html"])
    mermaid = shown(cp.diagram("mermaid"))
    assert (mermaid["html"], mermaid["svg"]) == (None, None)
    assert mermaid["markdown"] == f"```mermaid\n{cp.diagram().mermaid}\n```"


def test_ipython_stores_the_text(tmp_path: Path) -> None:
    """The text stands beside the picture, for readers without one."""
    formatters = pytest.importorskip("IPython.core.formatters")
    cp = shop(f"{tmp_path}/orders.pkl")
    kinds, _ = formatters.DisplayFormatter().format(cp.diagram())
    assert kinds["text/plain"] == TEXT
    assert {"text/html", "image/svg+xml"} <= kinds.keys()


@pytest.mark.parametrize(
    ("name", "format"),
    [("a.svg", "svg"), ("a.SVG", "svg"), ("a.mmd", "mermaid"), ("a.mermaid", "mermaid"),
     ("a.txt", "text")],
)  # fmt: skip
def test_files(name: str, format: str, tmp_path: Path) -> None:  # noqa: A002
    """The ending says the format. An old file is replaced as a whole, and nothing is left over."""
    diagram = shop(f"{tmp_path}/orders.pkl").diagram()
    file = tmp_path / name
    file.write_text("old")
    diagram.save(file)
    assert file.read_bytes() == f"{getattr(diagram, format)}\n".encode()
    diagram.save(str(tmp_path / "other"), "mermaid")
    assert (tmp_path / "other").read_text("utf-8") == f"{diagram.mermaid}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "other"])


def test_bad_arguments(tmp_path: Path) -> None:
    """Each wrong argument is refused with the remedy, and nothing is written."""
    cp = shop(f"{tmp_path}/runs/")
    with pytest.raises(InvalidValueError, match="format='png': it is 'text', 'mermaid' or 'svg'"):
        cp.diagram("png")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidTypeError, match="format= is a text, not a int"):
        cp.diagram(1)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidTypeError):
        cp.diagram(run_id=1)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    diagram = cp.diagram()
    for name in ("README.md", "flow", "flow.png"):
        with pytest.raises(InvalidValueError, match="says no format"):
            diagram.save(tmp_path / name)
    with pytest.raises(InvalidTypeError, match="not a int"):
        diagram.save(1)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidValueError, match="format='png'"):
        diagram.save(tmp_path / "a.svg", "png")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with pytest.raises(StorageError):
        diagram.save(tmp_path / "missing" / "a.svg")
    assert list(tmp_path.iterdir()) == []


class Shelf:
    """A handler of one dict."""

    def __init__(self) -> None:
        self.kept: State = {}

    def read(self) -> State:
        """Give the dict."""
        return self.kept

    def write(self, state: State) -> None:
        """Keep a dict."""
        self.kept = state


def test_a_handler_of_dicts() -> None:
    """The flow is drawn, and no run of it."""
    cp = CheckpointFlow("anywhere", Shelf())
    cp.add_step(name="only")(lambda state: None)
    assert "1  only" in cp.diagram().text
    with pytest.raises(InvalidValueError, match="keeps one state"):
        cp.diagram(run_id="one")


def test_what_steps_add_later_is_not_drawn(tmp_path: Path) -> None:
    """A diagram stays as it was made, and can be pickled."""
    cp = shop(f"{tmp_path}/orders.pkl")
    diagram = cp.diagram()
    cp.add_step(name="later")(lambda state: None)
    assert diagram.text == pickle.loads(pickle.dumps(diagram)).text == TEXT
    assert "later" in cp.diagram().text


def test_a_failed_run_names_the_error(tmp_path: Path) -> None:
    """The step that broke has the type of its exception, and no message, which may hold values."""
    cp = CheckpointFlow(f"{tmp_path}/runs/", fsync=False)

    @cp.add_step()
    def charge(state: State) -> None:
        raise ConnectionError("card 4711")

    with suppress(ConnectionError):
        cp.run({"secret": "hush"}, run_id="one")
    diagram = cp.diagram(run_id="one")
    assert "ConnectionError in its part 'step'" in diagram.text
    for drawn in (diagram.text, diagram.mermaid, diagram.svg):
        assert "ConnectionError" in drawn
        assert "4711" not in drawn
        assert "hush" not in drawn
