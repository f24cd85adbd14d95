"""Diagrams as text of Mermaid: no name means anything in it.

The texts here were drawn by Mermaid 11.17.2 and 10.9.3 in a browser: each label had the name, no
other element came into being, and nothing was executed.
"""

from __future__ import annotations

import re

import pytest

from aiocheckpoint._display.diagrams.diagram_mermaid import mermaid_of
from aiocheckpoint._display.diagrams.diagram_steps import DiagramStep
from aiocheckpoint._display.signs import SIGNS

ESCAPED = {
    "read_items": "read_items",
    "a.b, (c)/d": "a.b, (c)/d",
    'a"b': "a#34;b",
    "a]b[": "a#93;b#91;",
    "a#b": "a#35;b",
    "#35;": "#35;35#59;",
    "#quot;": "#35;quot#59;",
    "a;b": "a#59;b",
    "line\nbreak": "line#bsol;nbreak",
    "a\\nb": "a#bsol;nb",
    "end": "end",
    "style x:y #1;": "style x#colon;y #35;1#59;",
    "<script>alert(1)</script>": "#60;script#62;alert(1)#60;/script#62;",
    "<br/>": "#60;br/#62;",
    "&lt;b&gt;": "#38;lt#59;b#38;gt#59;",
    "`code` **bold** _it_": "#96;code#96; #42;#42;bold#42;#42; _it_",
    "- item": "#45; item",
    "%%{init: {}}%%": "#37;#37;#123;init#colon; #123;#125;#125;#37;#37;",
    "$$x^2$$": "#dollar;#dollar;x#94;2#dollar;#dollar;",
    "fa:fa-car": "fa#colon;fa#45;car",
    "a|b --> c": "a#124;b #45;#45;#62; c",
    "@{shape: x}": "#64;#123;shape#colon; x#125;",
    "\ufb02\xb0\xb035\xb6\xdf": "#bsol;ufb02\xb0\xb035#bsol;xb6\xdf",
    "שלום 🚀 日本": "שלום 🚀 日本",
    "a\u202eb\x1b\ud800": "a#bsol;u202eb#bsol;x1b#bsol;ud800",
}
SHOP = (
    DiagramStep(index=0, name="reserve", loader="read_items", saver="keep_items"),
    DiagramStep(index=1, name="charge", badges=("up to 5 tries", "at most 30 s")),
    DiagramStep(index=2, name="end"),
)
DRAWN = """\
flowchart TB
accTitle: orders#colon; 3 steps
load1(["read_items"]) --> step1
step1["1 reserve"]
step1 --> save1(["keep_items"])
step2["2 charge
up to 5 tries, at most 30 s"]
step1 ==> step2
step3["3 end"]
step2 ==> step3"""
PAUSED = """\
flowchart TB
accTitle: order#45;42
step1["✓ 1 reserve"]
step2["‖ 2 approve
paused"]
gate2{{"‖"}} ==> step2
step1 ==> gate2
classDef status0 stroke:#3f9142,stroke-width:2px
class step1 status0
classDef status1 stroke:#b7791f,stroke-width:2px
class step2 status1"""
STATEMENT = re.compile(
    r'(?:\w+(?:\(\["[^"\[\]{}<>`%\\]*"\]\)|\["[^"\[\]{}<>`%\\]*"\]|\{\{"‖"\}\})?'
    r"|accTitle: .*|flowchart TB|classDef status\d stroke:#\w{6},stroke-width:2px"
    r"|class [\w,]+ status\d)"
)


def steps_of(count: int, name: str = "step") -> tuple[DiagramStep, ...]:
    """Steps of one name, with loaders and savers."""
    return tuple(
        DiagramStep(index=index, name=name, loader=name, saver=name, notes=(name,), status="done")
        for index in range(count)
    )


@pytest.mark.parametrize("name", ESCAPED, ids=range(len(ESCAPED)))
def test_names_are_escaped(name: str) -> None:
    """A name of a step, a function, a note or a flow is written so that it stays a text."""
    step = DiagramStep(index=0, name=name, loader=name, saver=name, notes=(name,))
    escaped = ESCAPED[name]
    assert mermaid_of((step,), title=name).split("\n") == [
        "flowchart TB",
        f"accTitle: {escaped}",
        f'load1(["{escaped}"]) --> step1',
        f'step1["1 {escaped}',
        f'{escaped}"]',
        f'step1 --> save1(["{escaped}"])',
    ]


def test_a_flow() -> None:
    """A loader is above its step, a saver below it, and limits are in the box."""
    assert mermaid_of(SHOP, title="orders: 3 steps") == DRAWN


def test_a_paused_run() -> None:
    """Steps have signs and colours, and a gate stands before a pause."""
    steps = (
        DiagramStep(index=0, name="reserve", status="done"),
        DiagramStep(index=1, name="approve", status="paused", notes=("paused",)),
    )
    assert mermaid_of(steps, title="order-42") == PAUSED


@pytest.mark.parametrize("count", [0, 1, 2, 99, 100, 101, 1_000, 10_000])
@pytest.mark.parametrize("name", ["step", '"#;' * 100])
def test_bounds_of_mermaid(count: int, name: str) -> None:
    """No text is longer than Mermaid reads, and none has more arrows than it draws."""
    drawn = mermaid_of(steps_of(count, name), title=name, at=count // 2)
    assert len(drawn) < 50_000
    assert drawn.count("-->") + drawn.count("==>") < 500
    left_out = sum(map(int, re.findall(r'"… (\d+) more"', drawn)))
    assert len(re.findall(r"^step\d+\[", drawn, re.MULTILINE)) + left_out == count
    if count > 10:
        assert f"step{count // 2 + 1}[" in drawn


@pytest.mark.parametrize("status", [*SIGNS, "strange"])
def test_every_status(status: str) -> None:
    """Each statement has the form that Mermaid took."""
    steps = tuple(DiagramStep(index=place, name="a", status=status) for place in (0, 4))
    for line in mermaid_of(steps, 9, title="t").split("\n"):
        for part in re.split(" ==> | --> ", line):
            assert STATEMENT.fullmatch(part), line


def test_a_title_of_spaces() -> None:
    """Mermaid would take the next line for the title."""
    assert mermaid_of((), title=" ") == "flowchart TB"
