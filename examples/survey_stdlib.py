"""Survey the source of Python's own standard library, in steps that outlive a crash.

The steps find the files, read them, parse them, add up each package, and write a report. Reading
runs on the event loop, many files at a time. Parsing is CPU-bound, so it is a plain function, which
gets a thread. The first parser trusts every file. It breaks on files that do not decode or parse:
Python's own tests bring some. Then a mended parser takes its place, and the run resumes at that
step, so that no file is searched for or read twice. After a kill, the next start resumes too.

Run it with: python examples/survey_stdlib.py [--output DIR] [--limit N]
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import io
import json
import os
import platform
import sysconfig
import tokenize
import warnings
import zipfile
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiofiles

from aiocheckpoint import CheckpointFlow, events, replacing

if TYPE_CHECKING:
    from collections.abc import Iterator

State = dict[str, Any]  # small variables, written to the checkpoint after every step
Data = dict[str, Any]  # large values, moved by loaders and savers alone

NOT_THE_LIBRARY = frozenset({"site-packages", "dist-packages", "__pycache__"})
FILES_OPEN_AT_ONCE = 32
COLUMNS = ("files", "lines", "bytes", "classes", "functions", "documented")
Definition = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Store:
    """Files of the large values, beside the checkpoint."""

    folder: Path

    def save_sources(self, _state: State, data: Data) -> None:
        """Write every source file, byte for byte, to one archive."""
        with (
            replacing(self.folder / "sources.zip") as temporary,
            zipfile.ZipFile(temporary, "w") as archive,
        ):
            for name, source in data["sources"].items():
                archive.writestr(name, source)

    def load_sources(self, _state: State) -> Data:
        """Return ``sources``: file name -> bytes."""
        with zipfile.ZipFile(self.folder / "sources.zip") as archive:
            return {"sources": {name: archive.read(name) for name in archive.namelist()}}

    async def save_facts(self, _state: State, data: Data) -> None:
        """Write the facts of each file."""
        async with (
            replacing(self.folder / "facts.json") as temporary,
            aiofiles.open(temporary, "w", encoding="utf-8") as file,
        ):
            await file.write(json.dumps(data["facts"]))

    async def load_facts(self, _state: State) -> Data:
        """Return ``facts``: file name -> counts, made by ``describe``."""
        async with aiofiles.open(self.folder / "facts.json", encoding="utf-8") as file:
            return {"facts": json.loads(await file.read())}

    async def write_report(self, state: State) -> None:
        """Write the results, for machines and for people."""
        report = {key: state[key] for key in ("python", "found", "bytes", "packages", "refused")}
        for name, text in {"json": json.dumps(report, indent=2), "txt": as_table(state)}.items():
            async with aiofiles.open(self.folder / f"report.{name}", "w", encoding="utf-8") as file:
                await file.write(text + "\n")


def find_files(state: State) -> None:
    """List the library's source files, as paths relative to its root."""
    root = Path(sysconfig.get_path("stdlib"))
    found = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in NOT_THE_LIBRARY]
        found += [Path(folder, name) for name in names if name.endswith(".py")]
    files = sorted(path.relative_to(root).as_posix() for path in found if path.is_file())
    if not files:
        raise FileNotFoundError(f"there is no source code in {root}")
    state["root"], state["files"] = str(root), files[: state["limit"]]
    state["python"], state["found"] = platform.python_version(), len(state["files"])


async def read_sources(state: State, data: Data) -> None:
    """Read all files concurrently, as bytes: each file declares its own encoding."""
    root, gate = Path(state["root"]), asyncio.Semaphore(FILES_OPEN_AT_ONCE)

    async def read(name: str) -> bytes:
        async with gate, aiofiles.open(root / name, "rb") as file:
            return await file.read()

    async with asyncio.TaskGroup() as group:
        tasks = {name: group.create_task(read(name)) for name in state["files"]}
    data["sources"] = {name: task.result() for name, task in tasks.items()}
    state["bytes"] = sum(map(len, data["sources"].values()))


def parse_trustingly(state: State, data: Data) -> None:
    """Parse every source. The first that is not valid Python breaks the step."""
    data["facts"] = {name: describe(name, source) for name, source in smallest_first(data)}
    state["refused"] = {}


def parse_patiently(state: State, data: Data) -> None:
    """Parse every valid source, and list the others with the reason."""
    facts, refused = {}, {}
    for name, source in smallest_first(data):
        try:
            facts[name] = describe(name, source)
        except SyntaxError as error:
            kind = "does not parse" if can_decode(source) else "does not decode"
            refused[name] = f"{kind}: {error.msg}"
    data["facts"], state["refused"] = facts, dict(sorted(refused.items()))


def measure_packages(state: State, data: Data) -> None:
    """Add up the facts of each package. Single modules count as one package."""
    packages: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for name, fact in data["facts"].items():
        package, slash, _ = name.partition("/")
        packages[package if slash else "(single modules)"].update(fact, files=1)
    state["packages"] = {name: dict(packages[name]) for name in sorted(packages)}


def smallest_first(data: Data) -> list[tuple[str, bytes]]:
    """Order the sources by size, so that an invalid one breaks the step early."""
    return sorted(data["sources"].items(), key=lambda item: (len(item[1]), item[0]))


def describe(name: str, source: bytes) -> dict[str, int]:
    """Count the contents of a source file, or raise ``SyntaxError`` if it is not Python."""
    found = list(definitions_in(ast.parse(source, filename=name)))
    classes = sum(isinstance(node, ast.ClassDef) for node in found)
    return {
        "lines": len(source.splitlines()),
        "bytes": len(source),
        "classes": classes,
        "functions": len(found) - classes - 1,
        "documented": sum(ast.get_docstring(node, clean=False) is not None for node in found),
    }


def definitions_in(node: ast.AST) -> Iterator[Definition]:
    """Yield the module and every class and function in it, however deep."""
    if isinstance(node, Definition):
        yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.expr):  # no expression holds a statement
            yield from definitions_in(child)


def can_decode(source: bytes) -> bool:
    """Whether the bytes are text in their declared encoding."""
    try:
        source.decode(tokenize.detect_encoding(io.BytesIO(source).readline)[0])
    except (SyntaxError, UnicodeDecodeError):
        return False
    return True


def as_table(state: State) -> str:
    """Lay out the packages, largest first, with a total and the files left out."""
    total: Counter[str] = Counter()
    for counts in state["packages"].values():
        total.update(counts)
    largest_first = sorted(state["packages"].items(), key=lambda item: (-item[1]["lines"], item[0]))
    rows = [as_row(name, counts) for name, counts in [*largest_first, ("total", total)]]
    heading = f"{'package':<32}" + "".join(f"{column:>12}" for column in COLUMNS)
    refused = [f"left out: {name}: {why}" for name, why in state["refused"].items()]
    return "\n".join([heading, *rows, *refused])


def as_row(name: str, counts: dict[str, int]) -> str:
    """Lay out one package. The last column is the share of definitions with a docstring."""
    could_be = counts["files"] + counts["classes"] + counts["functions"]
    numbers = "".join(f"{counts[column]:>12,}" for column in COLUMNS[:-1])
    return f"{name:<32}{numbers}{counts['documented'] / could_be:>12.0%}"


def show(event: events.Event) -> None:
    """Print progress. The flow calls this hook with every event."""
    match event:
        case events.RunStarted(plan=plan):
            print(plan, flush=True)
        case events.StepLoaded(step=step):
            print(f"        {step}: input loaded from disk", flush=True)
        case events.StepFinished(step=step, seconds=seconds):
            print(f"        {step}: done in {sum(seconds.values()):.1f} s", flush=True)
        case events.StepFailed(step=step, part=part):
            print(f"        {step}: broke in its part {part!r}", flush=True)
        case events.StepStarted(step=step, index=index, of=of):
            print(f"  [{index + 1}/{of}] {step}", flush=True)
        case _:
            pass


def build_flow(store: Store) -> CheckpointFlow:
    """Make the flow. A step that needs a large value can load it, for runs that start there."""
    cp = CheckpointFlow(store.folder / "checkpoint.pkl", hooks=[show])
    cp.add_step(name="find")(find_files)
    cp.add_step(name="read", save=store.save_sources)(read_sources)
    cp.add_step(name="parse", load=store.load_sources, needs=("sources",), save=store.save_facts)(
        parse_trustingly
    )
    cp.add_step(name="measure", load=store.load_facts, needs=("facts",))(measure_packages)
    cp.add_step(name="report")(store.write_report)
    return cp


async def survey(store: Store, limit: int | None) -> State:
    """Run the flow. If the trusting parser breaks, mend it and resume there."""
    cp = build_flow(store)
    try:
        state = await cp.arun({"limit": limit})
    except SyntaxError as error:
        print(f"\nThe parser broke on {error.filename}: {error.msg}", *error.__notes__, sep="\n")
        mend = cp.add_step(
            store.load_sources, store.save_facts, needs=("sources",), name="parse", replace=True
        )
        mend(parse_patiently)
        print("\nThe step is mended.")
        return await cp.arun()
    if not state["refused"]:  # not empty if an earlier process mended the step
        print("\nNothing broke: every file surveyed here decodes and parses.")
    return state


def main() -> None:
    """Read the command line, run the survey, and print its table."""
    parser = argparse.ArgumentParser(description="Survey the source of the standard library.")
    parser.add_argument("--output", type=Path, default=Path("survey"), help="where results go")
    parser.add_argument("--limit", type=int, metavar="N", help="look at the first N files only")
    arguments = parser.parse_args()
    if arguments.limit is not None and arguments.limit < 1:
        parser.error("--limit must be at least 1")
    warnings.simplefilter("ignore")  # the surveyed code has its own old habits
    state = asyncio.run(survey(Store(arguments.output), arguments.limit))
    print(f"\n{as_table(state)}")


if __name__ == "__main__":
    main()
