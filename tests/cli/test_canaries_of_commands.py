"""No command executes anything of a bare store, in any format, with any of its flags.

The states are canaries, which make a directory when they are unpickled. The commands and their
flags are taken from the parsers, so that later ones are tried as well.
"""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from cli import Invoked, invoke
from forged_snapshots import SECRET, Canary
from order_store import failed
from stored_runs import queue_run

from aiocheckpoint import CheckpointFlow
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.parsers import load_command, make_parser

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from support import State

FORMS = ("text", "json", "jsonl")
KINDS = {"database": "birds.db", "directory": "birds/"}
_OPTIONS: dict[str, dict[str, Any]] = {"plain": {}, "signed": {"secret": SECRET}}
LEFT_ALONE = {"--all", "--dry-run", "--factory", "--help", "--stale"}
"""Flags that choose no other work, or that no run may be named beside."""
FOLLOWS = {"watch"}
"""Commands that end when the run is finished, and not before."""


@pytest.fixture(scope="module")
def aviary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores of canaries, plain and signed: a finished run with its history, and a failed one."""
    folder = tmp_path_factory.mktemp("aviary")
    for signing, options in _OPTIONS.items():
        for name in KINDS.values():
            (folder / signing).mkdir(exist_ok=True)
            place = f"{folder}/{signing}/{name}"
            cp = CheckpointFlow(place, "sqlite" if "." in name else "local", keep=9, **options)
            fill(cp, folder / "hatched")
            cp.handler.close()
    assert not (folder / "hatched").exists()
    return folder


def fill(cp: CheckpointFlow, mark: Path) -> None:
    """Add the steps of a flow, and store its runs, whose states make a directory when loaded."""

    @cp.add_step()
    def lay(state: State) -> None:
        state["seed"] = 1

    @cp.add_step()
    def sing(state: State) -> None:
        state["seed"] = 2

    nest: State = {"bird": Canary(mark), "nest": [Canary(mark)], "plain": "twig"}
    cp.run(nest, run_id="flown")
    broken = {"status": "failed", "failure": failed("lay", "ValueError", "cold")}
    queue_run(cp, "brooding", {"bird": Canary(mark)}, **broken)


def test_the_canary_sings(aviary: Path) -> None:
    """Loading the state of a run makes the directory."""
    cp = CheckpointFlow(f"{aviary}/plain/birds/")
    with suppress(Exception):
        cp.handler.read("flown")
    (aviary / "hatched").rmdir()


def flags_of(name: str) -> tuple[list[str], bool]:
    """The flags of a command, and whether it takes a form of its output."""
    actions = make_parser(load_command(name))._actions  # noqa: SLF001 - argparse lists them so
    flags = [one.option_strings[-1] for one in actions if one.nargs == 0]
    forms = any("--output" in one.option_strings for one in actions)
    return [flag for flag in flags if flag not in LEFT_ALONE], forms


def command_lines(name: str, target: str, forms: Sequence[str]) -> Iterator[list[str]]:
    """The command lines to try: each form, with no flag and with all of them."""
    flags, has_forms = flags_of(name)
    runs = [] if make_parser(load_command(name)).most_runs == 0 else ["flown"]
    for form, chosen in product(forms if has_forms else [""], ([], flags)):
        yield [name, target, *runs, *chosen, *(["--output", form] if form else [])]
    if runs and name not in FOLLOWS:
        yield [name, target, "brooding", *flags]


def target_of(name: str, kind: str, place: Path) -> str:
    """The store, or for a command on files the file of a run."""
    if name != "inspect":
        return KINDS[kind]
    return KINDS[kind] if kind == "database" else f"birds/{_file(place / 'birds')}"


def _file(folder: Path) -> str:
    return next(path.name for path in folder.iterdir() if path.name.startswith("flown"))


def called(words: list[str], store: Path, place: Path) -> Invoked:
    """Call a command line on a copy of the store, a new one for each that may write."""
    if "--write" in words or not place.exists():
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(store, place)
    return invoke(*words, cwd=place)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("signing", ["plain", "signed"])
@pytest.mark.parametrize("name", SUMMARIES)
def test_nothing_is_executed(
    name: str, signing: str, kind: str, aviary: Path, tmp_path: Path
) -> None:
    """No canary hatches, and each command ends with a code that is documented."""
    store, place = aviary / signing, tmp_path / "copy"
    forms = FORMS if signing == "plain" else FORMS[:1]
    for words in command_lines(name, target_of(name, kind, store), forms):
        done = called(words, store, place)
        assert not (aviary / "hatched").exists(), words
        assert done.code in [*ExitCode], words
        assert "Traceback (most recent call last)" not in done.err, words


VERIFYING = {"show": ["flown"], "verify": []}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", sorted(VERIFYING.keys() & SUMMARIES.keys()))
def test_signed_is_not_verified(name: str, kind: str, aviary: Path, tmp_path: Path) -> None:
    """Without the secret a signature is said to be not verified."""
    words = [name, KINDS[kind], *VERIFYING[name]]
    done = called(words, aviary / "signed", tmp_path / "copy")
    assert re.search("not verified|no secret was given to verify", done.out + done.err)
