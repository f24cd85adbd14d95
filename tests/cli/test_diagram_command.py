"""`aiocheckpoint diagram`: flows and runs drawn as text, of modules and of bare stores."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from cli import in_pty, invoke

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from pathlib import Path

    from support import State

MODULE = """
from aiocheckpoint import CheckpointFlow
cp = CheckpointFlow("runs/", name="orders")
def read_items(state): return {}
def keep_items(state, data): pass
@cp.add_step(load=read_items, save=keep_items)
def reserve(state, data): pass
@cp.add_step(retry=3)
def charge(state): pass
"""
OF_MODULE = """\
orders: 2 steps
  ↓ read_items
┌────────────┐
│ 1  reserve │
└────────────┘
  ↓ keep_items
══════════════
┌────────────┐
│ 2  charge  │  up to 3 tries
└────────────┘
══════════════
"""
OF_STORE = """\
orders: 2 steps
┌────────────┐
│ 1  reserve │
└────────────┘
══════════════
┌────────────┐
│ 2  charge  │
└────────────┘
══════════════
"""
OF_RUN = """\
order-42 of orders: failed
┌──────────────┐
│ ✓ 1  reserve │  TIME s
└──────────────┘
════════════════
┌──────────────┐
│ ✗ 2  charge  │  failed, ValueError
└──────────────┘
════════════════
"""
OF_BOTH = """\
order-42 of orders: failed
  ↓ read_items
┌──────────────┐
│ ✓ 1  reserve │  TIME s
└──────────────┘
  ↓ keep_items
════════════════
┌──────────────┐
│ ✗ 2  charge  │  up to 3 tries, failed, ValueError
└──────────────┘
════════════════
"""


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A directory with a run that failed at its second step."""
    cp = CheckpointFlow(f"{tmp_path}/runs/", name="orders", fsync=False)

    @cp.add_step()
    def reserve(state: State) -> None:
        state["reserved"] = True

    @cp.add_step()
    def charge(state: State) -> None:
        raise ValueError(state)

    with pytest.raises(ValueError, match="reserved"):
        cp.run({}, run_id="order-42")
    return tmp_path


def without_times(text: str) -> str:
    """The text with each time replaced."""
    return re.sub(r"\d+\.\d{3} s", "TIME s", text)


def test_a_flow_of_a_module(tmp_path: Path) -> None:
    """A module target shows loaders, savers and limits, and needs no store."""
    (tmp_path / "diagram_shop.py").write_text(MODULE)
    done = invoke("diagram", "diagram_shop:cp", cwd=tmp_path)
    assert (done.code, done.out, done.err) == (0, OF_MODULE, "")


def test_a_bare_store(runs: Path) -> None:
    """A bare store shows the names of the steps, and those of a run with its states."""
    assert invoke("diagram", "runs", cwd=runs).out == OF_STORE
    of_run = invoke("diagram", "runs", "order-42", cwd=runs)
    assert (of_run.code, without_times(of_run.out), of_run.err) == (0, OF_RUN, "")
    assert invoke("diagram", "runs", "order-43", cwd=runs).code == 3


def test_a_run_of_a_module(runs: Path) -> None:
    """A run of a module target shows both."""
    (runs / "diagram_shop_too.py").write_text(MODULE)
    done = invoke("diagram", "diagram_shop_too:cp", "order-42", cwd=runs)
    assert (done.code, without_times(done.out)) == (0, OF_BOTH)


def test_the_run_without_an_id(tmp_path: Path) -> None:
    """A file with a run without an id shows that run."""
    cp = CheckpointFlow(tmp_path / "mails.pkl", fsync=False)
    cp.add_step(name="send")(lambda state: None)
    cp.run({})
    done = invoke("diagram", "mails.pkl", cwd=tmp_path)
    assert done.out.startswith("(no id) of mails: finished\n")


def test_a_damaged_run(runs: Path) -> None:
    """The steps of a damaged run are unknown, which has an exit code of its own."""
    file = runs / "runs" / "order-42.pkl"
    file.write_bytes(file.read_bytes()[:20])
    done = invoke("diagram", "runs", "order-42", cwd=runs)
    assert (done.code, done.out) == (5, "")
    assert "order-42 is damaged" in done.err


def test_ascii(runs: Path) -> None:
    """Where the encoding is not UTF-8, boxes and signs are ASCII."""
    done = in_pty("diagram", "runs", "order-42", encoding="ascii", cwd=runs)
    assert done.code == 0
    assert "+--------------+\n" in done.out
    assert "| x 2  charge  |  failed, ValueError\n" in done.out


def test_json(runs: Path) -> None:
    """The steps are records."""
    done = invoke("diagram", "runs", "order-42", "--output", "json", cwd=runs)
    diagram = json.loads(done.out)["diagram"]
    assert (diagram["flow"], diagram["run"], diagram["status"]) == ("orders", "order-42", "failed")
    assert [step["status"] for step in diagram["steps"]] == ["done", "failed"]
    lines = invoke("diagram", "runs", "--output", "jsonl", cwd=runs).out.splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["reserve", "charge"]


def test_a_large_flow(tmp_path: Path) -> None:
    """Of a flow of more than 100 steps the recorded ones are shown, and the others counted."""
    cp = CheckpointFlow(f"{tmp_path}/runs/", name="orders", fsync=False)
    for number in range(150):
        cp.add_step(name=f"step {number}")(lambda state: None)
    cp.run({}, run_id="order-1", until="step 120")
    of_flow = invoke("diagram", "runs", cwd=tmp_path).out
    of_run = invoke("diagram", "runs", "order-1", cwd=tmp_path).out
    assert of_flow.startswith("orders: 150 steps\n")
    for drawn in (of_flow, of_run):
        left = sum(int(number) for number in re.findall(r"^  … (\d+) more$", drawn, re.MULTILINE))
        assert left + drawn.count("┌") == 150
        assert re.search(r" 121  step 120 ", drawn)


def test_several_flows(tmp_path: Path) -> None:
    """A store of several flows needs the name of one."""
    for name in ("mails", "orders"):
        cp = CheckpointFlow(f"sqlite:///{tmp_path}/o.db", name=name, fsync=False)
        cp.add_step(name=f"do {name}")(lambda state: None)
        cp.run({}, run_id="one")
    assert invoke("diagram", "o.db", cwd=tmp_path).code == 2
    done = invoke("diagram", "o.db", "--flow", "mails", cwd=tmp_path)
    assert (done.code, done.out.splitlines()[0]) == (0, "mails: 1 step")
    assert invoke("diagram", "o.db", "--flow", "none", cwd=tmp_path).code == 3
