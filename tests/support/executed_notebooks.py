"""The notebooks of `examples/`, executed in a real kernel. As a program it saves their outputs.

    python tests/support/executed_notebooks.py [NAME ...]

Saved outputs name no place of this machine: the folder of the kernel is /home/me there, and its
Python /usr.
"""

from __future__ import annotations

import html
import os
import re
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from locations import EXAMPLES, ROOT
from nbclient import NotebookClient

RENEW = "run python tests/support/executed_notebooks.py"
Notebook = Any  # of nbformat, a tree of plain JSON
Cells = dict[str, Any]

# What differs from one execution to the next: times, sizes, digests, and the bars of times.
VARIES = {
    r"\b\d\d:\d\d:\d\d\b": "TIME",
    r"\b\d{4}-\d\d-\d\d\b": "DATE",
    r"\b\d[\d.,]* ?(?:µs|ms|s|min|h)\b": "TIME",
    r"\b\d[\d.,]* (?:bytes|[kMG]?B)\b": "SIZE",
    r"\b\d+\.\d+\.\d+[\w.]*\b": "VERSION",
    r"\b(?=[a-f\d]*\d)[a-f\d]{8,}\b": "DIGEST",
    r"[▏▎▍▌▋▊▉█▇░]+": "BAR",
    r"\b0\.\d+\b": "SCORE",
    r"\bprocess \d+": "process NUMBER",
}
_PRE = re.compile(r"<pre\b.*?</pre>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_COLOUR = re.compile(r"\x1b\[[\d;]*m")


def read_notebook(path: Path) -> Notebook:
    """Read a notebook from its file."""
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


def execute(path: Path, folder: Path, home: Path) -> Notebook:
    """Execute a notebook, and give it with its outputs, which name no place of this machine.

    Args:
        path: The notebook.
        folder: Where its kernel works, and makes its temporary files.
        home: Where IPython keeps its own files.
    """
    notebook = read_notebook(path)
    kept = notebook["metadata"]["language_info"]
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env={**os.environ, "IPYTHONDIR": str(home), "TMPDIR": str(folder)})
    notebook["metadata"]["language_info"] = kept
    return _without_places(notebook, folder)


def _without_places(notebook: Notebook, folder: Path) -> Notebook:
    places = {
        re.escape(str(folder / "tmp")) + r"\w{8}": "/home/me/work",
        re.escape(str(folder)): "/home/me",
        re.escape(str(ROOT / "src")): "/usr/lib/python3/site-packages",
        re.escape(sysconfig.get_path("purelib")): "/usr/lib/python3/site-packages",
        re.escape(sysconfig.get_path("stdlib")): "/usr/lib/python3",
        r"ipykernel_\d+": "ipykernel",
    }
    text = nbformat.writes(notebook)  # type: ignore[no-untyped-call]
    for place, shown in places.items():
        text = re.sub(place, shown, text)
    return nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]


def cells_of(notebook: Notebook) -> Cells:
    """Give the cells of a notebook by their ids."""
    return {cell["id"]: cell for cell in notebook["cells"]}


def telling(cell: Any) -> list[str]:  # noqa: ANN401 (plain JSON)
    """Give what the outputs of a cell say, with a word in place of all that varies.

    Of an HTML output it is the text without tracebacks, beside its plain twin. Of an error it is
    the type and the message, as the frames in its traceback differ between releases of other
    packages. The texts of a stream come first, as a card may appear between any two of them.
    """
    outputs = cell.get("outputs", ())
    printed = {f"{name}: {printed_in(cell, name)}" for name in ("stdout", "stderr")}
    shown = [part for output in outputs for part in _parts(output)]
    return [_masked(part) for part in (*sorted(printed), *shown)]


def printed_in(cell: Any, stream: str = "stdout") -> str:  # noqa: ANN401
    """Join what a cell printed to a stream."""
    return "".join(out["text"] for out in cell.get("outputs", ()) if out.get("name") == stream)


def cards_in(cell: Any) -> list[dict[str, str]]:  # noqa: ANN401
    """Give the HTML outputs of a cell, each by its MIME types."""
    data = [dict(output["data"]) for output in cell.get("outputs", ()) if "data" in output]
    return [each for each in data if "text/html" in each]


def strange_paths(text: str) -> list[str]:
    """Give the absolute paths in a text that are of this machine."""
    return re.findall(r"(?<![\w.])/(?:tmp|work|root|private|Users|home/(?!me\b))[\w/.-]*", text)


def _parts(output: Any) -> list[str]:  # noqa: ANN401
    kind = output["output_type"]
    if kind == "stream":
        return []
    if kind == "error":
        first, *_ = [*str(output["evalue"]).splitlines(), ""]
        return [f"{output['ename']}: {first}"]
    found = [f"{mime}: {text}" for mime, text in output["data"].items() if mime == "text/plain"]
    if "text/html" in output["data"]:
        found.append(f"text/html: {text_of(_PRE.sub('', output['data']['text/html']))}")
    return [*found, *sorted(output["data"])]


def text_of(markup: str) -> str:
    """Give the words of HTML, each once separated."""
    return " ".join(html.unescape(_TAG.sub(" ", markup)).split())


def _masked(text: str) -> str:
    text = _COLOUR.sub("", text)
    for pattern, word in VARIES.items():
        text = re.sub(pattern, word, text)
    return " ".join(text.split())


def main() -> None:
    """Execute the notebooks that are named, or all, and save their outputs."""
    for path in sorted(EXAMPLES.glob("*.ipynb")):
        if path.stem not in (sys.argv[1:] or [path.stem]):
            continue
        with tempfile.TemporaryDirectory() as made:
            folder, home = Path(made, "work"), Path(made, "ipython")
            folder.mkdir()
            notebook = execute(path, folder, home)
        nbformat.write(notebook, path)  # type: ignore[no-untyped-call]
        print(f"{path.name} is saved with its outputs")  # noqa: T201 (a program)


if __name__ == "__main__":
    main()
