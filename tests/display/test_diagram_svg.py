"""Diagrams as SVG: well-formed whatever names are like, the same each time, and for everybody."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

from aiocheckpoint import Diagram
from aiocheckpoint._display.diagrams.diagram_steps import DiagramStep, folded
from aiocheckpoint._display.diagrams.diagram_svg import svg_of
from aiocheckpoint._display.signs import SIGNS, sign_of
from aiocheckpoint._texts import harmless

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "a\"b'c]d#e;f",
    "</text></svg><script>alert(1)</script>",
    "<![CDATA[ x ]]> <!-- y --> &amp; &#60; &bad;",
    "line\nbreak\r\n\ttab",
    "".join(map(chr, range(32))) + "\x7f\x85\u2028",
    "lone \ud800 surrogate \udfff",
    "\ufffe\uffff\U0010ffff",
    "left \u202eright\u2066 \u200b\ufeff",
    "שלום עולם",
    "e" + "\u0301" * 900,
    "🚀 字 " * 100,
    "x" * 1000,
    " ",
    "end",
]
FLOW = (
    DiagramStep(index=0, name="reserve", loader="read_items", saver="keep_items"),
    DiagramStep(index=1, name="approve"),
    DiagramStep(index=2, name="charge", badges=("up to 5 tries", "at most 30 s")),
)
RUN = (
    DiagramStep(index=0, name="reserve", status="done", notes=("0.031 s",)),
    DiagramStep(index=1, name="approve", status="paused", notes=("paused", "waiting")),
    DiagramStep(index=2, name="charge", status="waiting"),
)


def texts(svg: str) -> list[str]:
    """The texts that are drawn."""
    return [one.text or "" for one in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314 - ours


def steps_of(count: int, name: str = "step") -> tuple[DiagramStep, ...]:
    """Steps of one name, with everything that a step may have."""
    return tuple(
        DiagramStep(
            index=index, name=name, loader=name, saver=name, badges=(name,) * 3, notes=(name,) * 9
        )
        for index in range(count)
    )


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_names_stay_texts(name: str) -> None:
    """Any name of anything is text of a well-formed picture, which has what it had before."""
    kept = {"status": "failed", "index": 0}
    plain = DiagramStep(name="a", loader="a", saver="a", badges=("a",), notes=("a",), **kept)  # type: ignore[arg-type]
    step = DiagramStep(
        name=name,
        loader=name,
        saver=name,
        badges=(name,),
        notes=(name,),
        **kept,  # type: ignore[arg-type]
    )
    svg = svg_of((step,), title=name)
    shapes = [one.tag for one in ET.fromstring(svg).iter()]  # noqa: S314 - ours
    expected = [one.tag for one in ET.fromstring(svg_of((plain,), title="a")).iter()]  # noqa: S314
    assert [tag for tag in shapes if "text" not in tag] == [
        tag for tag in expected if "text" not in tag
    ]
    assert svg.isascii()
    if len(name) < 28 and "\ud800" not in name:
        assert harmless(name) in texts(svg)


def test_the_same_bytes_each_time() -> None:
    """Another process, with other hashes of texts, draws the same."""
    code = (
        "import sys\n"
        "from aiocheckpoint import Diagram\n"
        "from aiocheckpoint._display.diagrams.diagram_steps import DiagramStep\n"
        f"drawn = Diagram('t', {RUN!r})\n"
        "sys.stdout.buffer.write((drawn.svg + drawn.mermaid + drawn.text).encode())"
    )
    drawn = Diagram("t", RUN)
    expected = f"{drawn.svg}{drawn.mermaid}{drawn.text}".encode()
    assert svg_of(RUN, title="t", alone=True) == drawn.svg
    environ = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, check=True
    )
    assert done.stdout == expected


@pytest.mark.parametrize("alone", [True, False])
def test_nothing_but_shapes(alone: bool) -> None:  # noqa: FBT001
    """There are no ids, scripts, handlers and references, and a style in a file alone."""
    root = ET.fromstring(svg_of(RUN, title="t", alone=alone))  # noqa: S314 - ours
    tags = {one.tag.removeprefix(SVG) for one in root.iter()}
    names = {name for one in root.iter() for name in one.attrib}
    assert tags - {"svg", "title", "desc", "path", "rect", "text"} == (
        {"style"} if alone else set()
    )
    assert {name for name in names if name in {"id", "class"} or name.startswith("on")} == set()
    assert [name for name in names if "href" in name or ":" in name] == []
    assert "url(" not in svg_of(RUN, title="t", alone=alone)


def test_people_who_do_not_see_it() -> None:
    """The picture has a role, a title, and a sentence for each step."""
    root = ET.fromstring(svg_of(RUN, title="order-42 of orders: paused"))  # noqa: S314 - ours
    assert root.attrib["role"] == "img"
    assert [root[0].tag, root[1].tag] == [f"{SVG}title", f"{SVG}desc"]
    assert root[0].text == "order-42 of orders: paused"
    said = "1 reserve, done, 0.031 s. 2 approve, paused, waiting. 3 charge, waiting."
    assert root[1].text == said
    assert "1 reserve, loader read_items, saver keep_items." in svg_of(FLOW, title="")


def test_colours_are_those_of_signs() -> None:
    """Colours are that of the page's text, and those of statuses beside their signs."""
    for status, sign in SIGNS.items():
        step = DiagramStep(index=0, name="a", status=status, notes=(status,))
        svg = svg_of((step,), title="t")
        assert {sign.sign, status} <= set(texts(svg))
        used = set(re.findall(r'(?:fill|stroke)="([^"]*)"', svg))
        assert used <= {"currentColor", "none", sign.colour}
    assert "#" not in re.sub(r"&#\d+;", "", svg_of(FLOW, title="t"))


def test_a_pause_is_a_gate() -> None:
    """A gate stands before the step of a paused run, and nowhere else."""
    colour = sign_of("paused").colour
    gate = re.compile(rf'<rect [^>]*width="3" height="38" [^>]*fill="{colour}"/>')
    assert len(gate.findall(svg_of(RUN, title="t"))) == 2
    assert gate.findall(svg_of(FLOW, title="t")) == []


def test_snapshots_that_are_not_there_are_faint() -> None:
    """The double line behind a step is clear where its snapshot is stored, or for a flow."""
    faint = 'stroke-opacity="0.3"'
    assert svg_of(RUN, title="t").count(faint) == 2 * 3
    assert faint not in svg_of(FLOW, title="t")


def boxes(svg: str) -> list[tuple[float, float, float, float]]:
    """The corners of all boxes of steps."""
    found = ET.fromstring(svg).iter(f"{SVG}rect")  # noqa: S314 - ours
    sizes = [[float(one.attrib[key]) for key in ("x", "y", "width", "height")] for one in found]
    return [(x, y, x + width, y + height) for x, y, width, height in sizes]


@pytest.mark.parametrize("count", [1, 2, 5, 12, 100])
def test_boxes_do_not_overlap(count: int) -> None:
    """Every box is inside the picture, and apart from the others."""
    svg = svg_of(steps_of(count, "prepare_data"), title="t")
    root = ET.fromstring(svg)  # noqa: S314 - ours
    width, height = (float(root.attrib[side]) for side in ("width", "height"))
    assert root.attrib["viewBox"] == f"0 0 {width:g} {height:g}"
    assert width < 920
    placed = boxes(svg)
    assert len(placed) == 3 * count
    for place, (left, top, right, bottom) in enumerate(placed):
        assert 0 < left < right < width
        assert 0 < top < bottom < height
        for x, y, to_x, to_y in placed[:place]:
            assert x >= right or to_x <= left or y >= bottom or to_y <= top


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_size_is_bounded(name: str) -> None:
    """No name makes a step larger than 10 KB, and most of 100 steps make no 100 KB."""
    assert len(svg_of(steps_of(1, name), title=name)) < 12_000
    assert len(svg_of(steps_of(3, name), title=name)) < 32_000


def test_size_of_many_steps() -> None:
    """Pictures of up to 100 steps have less than 200 KB, and more steps make none larger."""
    assert len(svg_of(steps_of(100), title="t")) < 200_000
    assert len(svg_of(folded(steps_of(10_000), 5_000), 10_000, title="t")) < 50_000


def test_steps_that_are_left_out_are_counted() -> None:
    """A box says how many there are, also behind the last."""
    drawn = texts(svg_of(folded(steps_of(500)), 600, title="t", heading=False))
    assert [text for text in drawn if "more" in text] == ["… 484 more", "… 100 more"]


def test_headings() -> None:
    """The title stands above the steps unless it is not to."""
    assert "a & b" in texts(svg_of(FLOW, title="a & b"))
    assert "a & b" not in texts(svg_of(FLOW, title="a & b", heading=False))
    assert ET.fromstring(svg_of((), title="")).attrib["role"] == "img"  # noqa: S314 - ours
