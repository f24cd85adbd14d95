"""Makes docs/cli.md from the parsers of the command line, `cli.toml` and executed examples.

    python docs/make_cli_page.py [--check]

Each example is executed in a fresh copy of a folder with a module and a filled database. Times,
sizes and versions, which differ each time, are written as always the same ones. With `--check` the
page is compared, and the differences are printed.
"""

from __future__ import annotations

import difflib
import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from argparse import SUPPRESS
from contextlib import chdir, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiocheckpoint import CheckpointFlow
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import MEANINGS
from aiocheckpoint._cli.main import main as execute
from aiocheckpoint._cli.parsers import load_command, make_parser

if TYPE_CHECKING:
    from argparse import Action
    from collections.abc import Iterator

HERE = Path(__file__).parent
PAGE = HERE / "cli.md"
SHOWN_FOLDER = "/srv/shop"
SERVICE = """\
from aiocheckpoint import CheckpointFlow, Pause

cp = CheckpointFlow("sqlite:///orders.db", keep="all", backoff=3600)


@cp.add_step()
def reserve(state):
    if state["quantity"] > 100:
        raise LookupError("out of stock")
    state["reserved"] = {"warehouse": "north"}


@cp.add_step()
def approve(state):
    if state["quantity"] > 10 and "by" not in state:
        raise Pause("waiting for approval")


@cp.add_step()
def charge(state):
    if state["item"] == "glass":
        raise ConnectionError("no answer from the bank")
    state["charged"] = 13995


@cp.add_step()
def invoice(state):
    state["invoice"] = "2026-11"
"""
ORDERS = {
    "order-40": ("lamp", 1),
    "order-42": ("glass", 3),
    "order-57": ("glass", 1),
    "order-60": ("lamp", 20),
    "order-61": ("lamp", 200),
}
"""The items and quantities of the stored runs, by id."""
FOLLOWS = {"watch": "Watching", "work": "order-70  finished"}
"""Commands that a signal ends, and the text that is waited for before."""
IN_ANY_ORDER = {"requeue"}
SHARED = {
    "target": "Options of the target",
    "which runs": "Options that choose runs",
    "secret": "Options of secrets",
    "output": "Options of the output",
}
"""The groups of options that many commands have, with their titles on the page."""
ALWAYS_OTHER = (
    (r"began \d{4}-\d\d-\d\d", "began 2026-11-30"),
    (r"\d\d:\d\d:\d\d", "10:41:07"),
    (r"\d+ (s|min) ago", "1 min ago"),
    (r"\(due (now|in \d+ (s|min))\)", "(due in 40 s)"),
    (r"\d+\.\d{3} s", "0.001 s"),
    (r"\d+\.\d\d s", "0.00 s"),
    (r"\d[\d,]* bytes", "1,271 bytes"),
    (r"(queued +)\d,\d{3}", r"\g<1>6,260"),
    (r"aiocheckpoint \S+, Python \S+, dill \S+", "aiocheckpoint 0.6.0, Python 3.11.7, dill 0.4.1"),
)
"""What differs each time, as patterns with their replacements."""


def fill(folder: Path) -> None:
    """Write the module, and store the runs of its flow, and one run in a file."""
    (folder / "service.py").write_text(SERVICE, "utf-8")
    names: dict[str, Any] = {"__name__": "service"}
    with chdir(folder):
        exec(compile(SERVICE, str(folder / "service.py"), "exec"), names)  # noqa: S102
        cp = names["cp"]
        for run_id, (item, quantity) in ORDERS.items():
            with suppress(LookupError, ConnectionError):
                cp.run({"item": item, "quantity": quantity}, run_id=run_id)
        cp.submit({"item": "vase", "quantity": 1}, run_id="order-70")
        cp.handler.close()
        one = CheckpointFlow("checkpoint.pkl")
        one.add_step(name="measure")(lambda state: state.update(rows=[3, 0, 5]))
        one.run({"who": "me"})


def printed(line: str, filled: Path) -> str:
    """Execute a command line in a copy of a folder, and give what it prints and says."""
    command, *words = shlex.split(line)[1:]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve() / "shop"
        shutil.copytree(filled, folder)
        with chdir(folder):
            text = (_followed if command in FOLLOWS else _executed)([command, *words])
    return _as_always(text, folder)


def _executed(words: list[str]) -> str:
    both = io.TextIOWrapper(io.BytesIO(), "utf-8", newline="\n")  # In the order of a terminal.
    sys.modules.pop("service", None)  # Its flow is that of another copy.
    before = [*sys.path]
    with redirect_stdout(both), redirect_stderr(both):
        execute(words)
    sys.path[:] = before
    both.seek(0)
    lines = both.readlines()
    return "".join(sorted(lines, key=_run_first) if words[0] in IN_ANY_ORDER else lines)


def _run_first(line: str) -> tuple[bool, str]:
    """A key that sorts the lines of runs, and leaves the sum behind them."""
    return not line.startswith(tuple(ORDERS)), line


def _followed(words: list[str]) -> str:
    seen = ""
    with subprocess.Popen(
        [sys.executable, "-m", "aiocheckpoint", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            seen += line
            if FOLLOWS[words[0]] in line:
                process.send_signal(signal.SIGTERM)
    return seen


def _as_always(text: str, folder: Path) -> str:
    for pattern, replacement in ALWAYS_OTHER:
        text = re.sub(pattern, replacement, text)
    return text.replace(str(folder), SHOWN_FOLDER)


def page() -> str:
    """Give the text of the page."""
    prose = tomllib.loads((HERE / "cli.toml").read_text("utf-8"))
    parts = [f"# {prose['title']}", prose["text"].strip(), f"```python\n{SERVICE}```"]
    shared = {title: dict[str, str]() for title in SHARED}
    with tempfile.TemporaryDirectory() as name:
        filled = Path(name).resolve() / "shop"
        filled.mkdir()
        fill(filled)
        for command in SUMMARIES:
            parts += _section(command, prose["commands"].get(command, ""), filled, shared)
    for title, options in shared.items():
        parts += [f"## {SHARED[title]}", _table("option", options)]
    codes = {f"{int(code)}": meaning for code, meaning in MEANINGS.items()}
    return "\n\n".join([*parts, "## Exit codes", _table("code", codes)]) + "\n"


def _section(
    name: str, prose: str, filled: Path, shared: dict[str, dict[str, str]]
) -> Iterator[str]:
    """Give the parts of the section of a command, and note the options that others have too."""
    command = load_command(name)
    parser = make_parser(command)
    own, groups = dict[str, str](), list[str]()
    for group in parser._action_groups:  # noqa: SLF001 - argparse has no other list of them
        options = dict(map(_described, _shown(group._group_actions)))  # noqa: SLF001
        if group.title in SHARED and options:
            shared[group.title] |= options
            groups.append(f"[{SHARED[group.title]}](#{_anchor(SHARED[group.title])})")
        else:
            own |= options
    yield f"## {name}"
    yield f"{command.summary}. {prose}".strip()
    yield f"```console\n$ {command.example}\n{printed(command.example, filled)}```"
    yield f"`{parser.usage}`"
    if own:
        yield _table("option", own)
    if groups:
        yield f"Also: {', '.join(groups)}."


def _shown(actions: list[Action]) -> Iterator[Action]:
    return (one for one in actions if one.help != SUPPRESS and "--help" not in one.option_strings)


def _described(action: Action) -> tuple[str, str]:
    word = action.metavar or ("|".join(action.choices) if action.choices else None)
    names = ", ".join(action.option_strings) or f"{word}"
    shown = f"{names} {word}" if action.option_strings and word and action.nargs != 0 else names
    return f"`{shown}`".replace("|", "\\|"), action.help or ""


def _table(title: str, rows: dict[str, str]) -> str:
    lines = [f"| {name} | {text} |" for name, text in rows.items()]
    return "\n".join([f"| {title} | meaning |", "|---|---|", *lines])


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def main() -> int:
    """Write the page, or compare it. Give the exit code."""
    for name in [name for name in os.environ if name.startswith("AIOCHECKPOINT_")]:
        del os.environ[name]
    made = page()
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(made, "utf-8")
        return 0
    before = PAGE.read_text("utf-8")
    old, new = (text.splitlines(keepends=True) for text in (before, made))
    sys.stdout.writelines(difflib.unified_diff(old, new, "docs/cli.md", "as it is now"))
    return int(before != made)


if __name__ == "__main__":
    sys.exit(main())
