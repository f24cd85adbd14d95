"""Makes docs/performance.md and its plots from the result files, and from nothing else.

    python benchmarks/report.py [--results DIR] [--docs DIR]

Prose, plots and the rows of the first table are defined in `report.toml` beside this file. Results
that it does not name come last.
The plots need matplotlib, `pip install -e '.[benchmarks]'`. Without it only the text is written.
The page depends on no clock and no machine. The same results give the same page, and the same plots
with the same release of matplotlib.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure.results import read_all
from page.drawings import drawing_of
from page.plots import CAN_DRAW, draw
from page.sections import section
from page.summary import measured, summary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from measure.results import Result
    from page.drawings import Drawing

__all__ = ["drawings", "page", "write"]

HERE = Path(__file__).parent
RESULTS = HERE / "results"
DOCS = HERE.parent / "docs"
PLOTS = "performance"
"""The directory of the plots, beside the page of this name."""


def page(results: dict[str, Result]) -> str:
    """Give the text of the page."""
    prose = _prose()
    sections = dict(_sections(prose, results))
    titles = {name: one["title"] for name, one in sections.items()}
    parts = [f"# {prose['title']}", measured(results)]
    parts += [*summary(prose["rows"], results, titles), prose["text"].strip()]
    for name, one in sections.items():
        images = [
            f"![{plot['title']}]({PLOTS}/{plot['name']}.png)"
            for plot, _ in _drawn(one, results[name])
        ]
        parts += section(one["title"], one["text"], results[name], images)
    return "\n\n".join(parts) + "\n"


def drawings(results: dict[str, Result]) -> dict[str, Drawing]:
    """Give the drawings of all plots, by file name without the ending."""
    return {
        plot["name"]: drawing
        for name, one in _sections(_prose(), results)
        for plot, drawing in _drawn(one, results[name])
    }


def write(results: Path, docs: Path) -> None:
    """Write the page and, with matplotlib, its plots. Plots of earlier pages are removed.

    Args:
        results: The directory of the result files.
        docs: Where the page goes.
    """
    found = read_all(results)
    (docs / f"{PLOTS}.md").write_text(page(found), "utf-8")
    if not CAN_DRAW:
        print("matplotlib is missing: the plots are left as they are", file=sys.stderr)
        return
    place = docs / PLOTS
    place.mkdir(exist_ok=True)
    made = drawings(found)
    for name, drawing in made.items():
        draw(drawing, place / f"{name}.png")
    for path in place.glob("*.png"):
        if path.stem not in made:
            path.unlink()


def _prose() -> dict[str, Any]:
    return tomllib.loads((HERE / "report.toml").read_text("utf-8"))


def _sections(
    prose: dict[str, Any], results: dict[str, Result]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the names of results with their prose, first in the order of `report.toml`."""
    described = {one["results"]: one for one in prose["sections"]}
    others = {name: {"title": name, "text": ""} for name in results if name not in described}
    for name, one in (described | others).items():
        if name in results:
            yield name, one


def _drawn(one: dict[str, Any], result: Result) -> Iterator[tuple[dict[str, Any], Drawing]]:
    for plot in one.get("plots", []):
        drawing = drawing_of(result, plot)
        if drawing is not None:
            yield plot, drawing


def main() -> None:
    """Write the page, from and to where is asked for."""
    made = argparse.ArgumentParser(description="Make the page of all figures.")
    made.add_argument("--results", type=Path, default=RESULTS, help="where the result files are")
    made.add_argument("--docs", type=Path, default=DOCS, help="where the page goes")
    arguments = made.parse_args()
    write(arguments.results, arguments.docs)


if __name__ == "__main__":
    main()
