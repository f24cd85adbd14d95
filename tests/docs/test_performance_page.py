"""docs/performance.md and its plots agree with the committed result files."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
import tomllib
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
from locations import ROOT

if TYPE_CHECKING:
    from pathlib import Path

DOCS, RESULTS = ROOT / "docs", ROOT / "benchmarks" / "results"
PAGE = DOCS / "performance.md"
PLOTS = sorted((DOCS / "performance").glob("*.png"))
PROSE = tomllib.loads((ROOT / "benchmarks" / "report.toml").read_text("utf-8"))
SPREAD = {"median": 2.0, "p25": 1.5, "p75": 2.5}


@pytest.fixture(autouse=True)
def _benchmarks_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def read_results(directory: Path = RESULTS) -> Any:  # noqa: ANN401 - of benchmarks/
    """Read the result files of a directory."""
    return import_module("measure.results").read_all(directory)


def facts_of(png: Path) -> dict[str, str]:
    """Give the texts in a PNG (https://www.w3.org/TR/png-3/#11textinfo)."""
    content, at, found = png.read_bytes(), 8, dict[str, str]()
    while at < len(content):
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        if kind == b"tEXt":
            key, _, text = content[at + 8 : at + 8 + length].decode("latin-1").partition("\0")
            found[key] = text
        at += 12 + length
    return found


def pair(subject: str, base: str, goal: str | None = None) -> dict[str, Any]:
    """Give a pair as a result file has it, of a ratio of 2."""
    spreads = dict.fromkeys(("subject_spread", "base_spread", "ratio_spread"), SPREAD)
    return {"subject": subject, "base": base, "unit": "ms", "goal": goal} | spreads


def result_file(directory: Path, name: str, *pairs: dict[str, Any]) -> None:
    """Write a result file with the pairs and one figure of its own."""
    found = {
        "command": f"python benchmarks/{name}.py",
        "when": "2026-11-25T12:00:00+00:00",
        "machine": {"CPU": "of a test", "cores": "2"},
        "workload": "Nothing",
        "notes": ["It was | nothing."],
        "pairs": pairs,
        "extra": {"a stall": {"unit": "ms", "spread": SPREAD, "goal": "at most 50"}},
    }
    (directory / f"{name}.json").write_text(json.dumps(found), "utf-8")


def test_the_page_is_what_the_results_give() -> None:
    """The page is generated, without edits by hand, from the current result files."""
    made = import_module("report").page(read_results())

    assert PAGE.read_text("utf-8") == made, "run python benchmarks/report.py"


def first_table() -> list[list[str]]:
    """Give the rows of the first table of the page, without its head."""
    table = PAGE.read_text("utf-8").split("\n\n")[2]
    return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]


def ratios_and_singles(name: str) -> dict[tuple[str, ...], tuple[float, str, str | None]]:
    """Give median, unit and goal of each figure of a result file, by its names."""
    found = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    pairs = {
        (one["subject"], one["base"]): (one["ratio_spread"]["median"], "times", one["goal"])
        for one in found["pairs"]
    }
    return pairs | {
        (key,): (one["spread"]["median"], one["unit"].replace("1/s", "a second"), one.get("goal"))
        for key, one in found["extra"].items()
    }


def test_each_row_of_the_first_table_is_a_figure_of_the_results() -> None:
    """Each row that `report.toml` chooses is there, with the value and the goal of its file."""
    rows = first_table()

    assert [row[0] for row in rows] == [one["figure"] for one in PROSE["rows"]]
    for (_, value, goal, *_), one in zip(rows, PROSE["rows"], strict=True):
        median, unit, limit = ratios_and_singles(one["results"])[tuple(one["of"])]
        shown, _, shown_unit = value.partition(" ")
        assert float(shown.replace(",", "")) == pytest.approx(median, rel=1e-3)
        assert (shown_unit, goal) == (unit, limit or "none")


def test_each_row_of_the_first_table_leads_to_its_section() -> None:
    """The link of a row is the anchor of the section with its figure."""
    titles = {one["results"]: one["title"] for one in PROSE["sections"]}
    page = PAGE.read_text("utf-8")

    for row, one in zip(first_table(), PROSE["rows"], strict=True):
        title = titles[one["results"]]
        anchor = title.lower().replace(",", "").replace(" ", "-")
        assert row[-1] == f"[{title}](#{anchor})"
        assert f"\n## {title}\n" in page


def test_the_beginning_of_the_page_has_each_missed_goal() -> None:
    """A missed goal is in the first table or in the list behind it, and the number is right."""
    missed = re.findall(r": \*\*missed\*\* \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    beginning = PAGE.read_text("utf-8").partition("\n## ")[0]
    in_table = [row for row in first_table() if row[3] == "**missed**"]
    listed = re.findall(r"^- .*, goal at (?:least|most) ", beginning, re.MULTILINE)

    assert len(missed) == len(in_table) + len(listed)
    assert f"Missed goals on this page: {len(missed)} of " in beginning


def test_the_page_begins_with_version_and_day() -> None:
    """The measured version and the day of each result file are in the first sentence."""
    sentence = PAGE.read_text("utf-8").split("\n\n")[1]

    paths = [*RESULTS.glob("*.json")]
    assert paths
    for path in paths:
        found = json.loads(path.read_text("utf-8"))
        assert found["machine"]["aiocheckpoint"] in sentence.partition("aiocheckpoint ")[2]
        assert found["when"].partition("T")[0] in sentence


def test_a_first_table_has_only_figures_with_results(tmp_path: Path) -> None:
    """A row without its result is left out, and each outcome is that of the result."""
    subject, base = "import aiocheckpoint", "import dill, aiofiles, anyio"
    result_file(tmp_path, "start_up", pair(subject, base, "at most 1.3"))

    made = import_module("report").page(read_results(tmp_path))

    row = "| 2 times | at most 1.3 | **missed** | [Start-up](#start-up) |"
    assert made.count(row) == 1
    assert made.count("(#start-up) |") == 1
    assert "Missed goals on this page: 1 of 2." in made


def test_the_plots_are_what_the_results_give() -> None:
    """Each plot on the page exists, no other does, and each has the digest of these figures."""
    drawings = import_module("report").drawings(read_results())
    on_page = re.findall(r"]\(performance/(\w+)\.png\)", PAGE.read_text("utf-8"))

    assert sorted(drawings) == sorted(on_page) == [path.stem for path in PLOTS]
    digest = import_module("page.drawings").digest
    for path in PLOTS:
        assert facts_of(path)["Source"] == digest(drawings[path.stem]), path.name


def test_another_figure_is_another_drawing() -> None:
    """The digest of a plot changes with each of its figures."""
    digest, drawings = import_module("page.drawings").digest, import_module("page.drawings")
    three = import_module("measure.results").Quartiles(1.0, 2.0, 3.0)
    one = drawings.Dots("ratio", 1.0, (drawings.Dot("a / b", three),))
    other = replace(one, dots=(drawings.Dot("a / b", three._replace(p75=3.5)),))

    assert digest(one) == digest(replace(one))
    assert digest(one) != digest(other)


def run_report(docs: Path) -> str:
    """Make page and plots, in a process of its own, and return its complaints."""
    docs.mkdir()
    command = [sys.executable, str(ROOT / "benchmarks" / "report.py"), f"--docs={docs}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stderr


def test_the_command_makes_the_page_and_the_plots_again(tmp_path: Path) -> None:
    """The same results give the same files. For plots this needs the same release of matplotlib."""
    complaint = run_report(tmp_path / "docs")

    assert (tmp_path / "docs" / PAGE.name).read_bytes() == PAGE.read_bytes()
    if find_spec("matplotlib") is None:
        assert "matplotlib is missing" in complaint
        return
    made = {path.name: path for path in (tmp_path / "docs" / "performance").iterdir()}
    assert made.keys() == {path.name for path in PLOTS}
    for path in PLOTS:
        if facts_of(path)["Software"] == facts_of(made[path.name])["Software"]:
            assert path.read_bytes() == made[path.name].read_bytes()


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="the extra benchmarks is missing")
def test_the_plots_are_the_same_each_time(tmp_path: Path) -> None:
    """Two processes draw the same bytes."""
    first, second = tmp_path / "first", tmp_path / "second"
    run_report(first)
    run_report(second)

    drawn = list(first.rglob("*.png"))
    assert drawn
    for path in drawn:
        assert path.read_bytes() == (second / path.relative_to(first)).read_bytes()


def test_results_that_nothing_is_said_of_come_last(tmp_path: Path) -> None:
    """A new benchmark is on the page as soon as there are figures of it."""
    result_file(tmp_path, "another", pair("ours", "theirs"))
    result_file(tmp_path, "start_up", pair("import", "imports"))

    made = import_module("report").page(read_results(tmp_path))

    assert re.findall("^## (.*)$", made, re.MULTILINE) == ["Start-up", "another"]


def test_a_section_is_complete(tmp_path: Path) -> None:
    """Figures with quartiles, base, ratio, goal and verdict; the machine, command and notes."""
    pairs = [pair("ours", "floor", "at most 1.3"), pair("b", "c", "at least 2"), pair("d", "e")]
    result_file(tmp_path, "another", *pairs)

    made = import_module("report").page(read_results(tmp_path))

    three = "2 (1.5 to 2.5)"
    assert f"| ours | ms | {three} | floor | {three} | {three} | at most 1.3: **missed** |" in made
    assert f"| b | ms | {three} | c | {three} | {three} | at least 2: met |" in made
    assert f"| d | ms | {three} | e | {three} | {three} |  |" in made
    assert f"| a stall | ms | {three} | at most 50: met |" in made
    assert "```shell\npython benchmarks/another.py\n```" in made
    assert "Measured on 2026-11-25: CPU of a test; cores 2." in made
    assert "- It was | nothing." in made


def test_lines_go_through_the_sizes_in_order(tmp_path: Path) -> None:
    """A line has each size of its series, and beside it the size of its base."""
    names = [("100 MB, run", "bare write of 100 MB"), ("20 MB, run", "bare write of 20 MB")]
    result_file(tmp_path, "large_state", *(pair(*both) for both in [*names, ("3 dicts", "x")]))

    (drawing,) = import_module("report").drawings(read_results(tmp_path)).values()

    assert [(line.label, [size for size, _ in line.points]) for line in drawing.lines] == [
        ("MB, run", [20, 100]),
        ("bare write of as many MB", [20, 100]),
    ]
    assert drawing.y == "ms for a step"
