"""The page on looking into stores names each key of each record, and no other."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import Failure, look
from aiocheckpoint._display.diagrams.diagram_steps import DiagramStep
from aiocheckpoint._snapshot.pickling import inert_json
from aiocheckpoint.look import JSON_VERSION, RunView

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint.look._records import Record

ROOT = next(path for path in Path(__file__).parents if (path / "pyproject.toml").exists())
PAGE = (ROOT / "docs" / "looking.md").read_text("utf-8")
NAMES = ("FlowView", "RunView", "StepView", "SnapshotView", "KeyView", "DiffView", "ChangeView")
MORE = ("ProgressView", "CountView", "FindingView")
RECORDS = {name: getattr(look, name) for name in (*NAMES, *MORE)}
TIME = 1_796_030_650.125


def documented(name: str) -> list[str]:
    """The keys in the table below a heading."""
    section = PAGE.partition(f"### {name}\n")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| (`.*?) \| .+ \|$", section, re.MULTILINE)
    return [key for row in rows for key in re.findall(r"`(\w+)`", row)]


def made(kind: type[Record]) -> Record:
    """A record with a value for each attribute: a time for a time, and nothing for the others."""
    times = vars(kind).get("_TIMES", ())
    values: dict[str, Any] = {
        one.name: TIME if one.name in times else None
        for one in fields(kind)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    }
    return kind(**values)


@pytest.mark.parametrize("name", RECORDS)
def test_every_key_is_described(name: str) -> None:
    """The table of a record has the keys of its JSON, each once."""
    shown = made(RECORDS[name]).to_json()
    assert documented(name) == list(shown)
    assert {shown[key] for key in shown if key.endswith("_utc")} <= {"2026-11-30T09:24:10.125Z"}


def test_a_failure_is_described() -> None:
    """So has that of the exception that a run broke on."""
    failure = Failure(
        step="a", part="step", type="T", message="m", traceback="t", at=TIME, seconds=1.0
    )
    run = RunView(flow="f", run_id=None, location="here", status="failed", failure=failure)
    assert sorted(documented("failure")) == sorted(run.to_json()["failure"])


def test_a_drawn_step_is_described() -> None:
    """So has a step of a diagram."""
    shown = made(DiagramStep).to_json()
    assert documented("Records of single commands") == list(shown)


def test_every_mark_is_described() -> None:
    """The marks of values that JSON lacks are those of the module that makes them."""
    module = " ".join((inert_json.__doc__ or "").split())
    section = PAGE.partition("### Values\n")[2].partition("\n### ")[0]
    assert set(re.findall(r"\$\w+", section)) == set(re.findall(r"\$\w+", module))


def test_version_and_names() -> None:
    """The version of the JSON stands on the page, and every method of a store does."""
    assert f"The version of these keys is {JSON_VERSION}." in PAGE
    assert [name for name in public_methods() if f"`{name}(" not in PAGE] == []


def public_methods() -> Iterator[str]:
    """The public methods of a store."""
    yield from (
        name for name, member in vars(look.Store).items() if name[0] != "_" and callable(member)
    )
