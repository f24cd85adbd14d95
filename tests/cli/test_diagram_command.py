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
│ ✗ 2  charge  │  failed, TIME s, ValueError in its part 'step'
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
│ ✗ 2  charge  │  up to 3 tries, failed, TIME s, ValueError in its part 'step'
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
    return re.sub(r"\d+\.\d\d s", "TIME s", text)


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
    assert "| x 2  charge  |  failed, TIME s, ValueError in" in without_times(done.out)


def test_json(runs: Path) -> None:
    """The steps are records."""
    done = invoke("diagram", "runs", "order-42", "--output", "json", cwd=runs)
    diagram = json.loads(done.out)["diagram"]
    assert (diagram["flow"], diagram["run"], diagram["status"]) == ("orders", "order-42", "failed")
    assert [step["status"] for step in diagram["steps"]] == ["done", "failed"]
    lines = invoke("diagram", "runs", "--output", "jsonl", cwd=runs).out.splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["reserve", "charge"]


def test_formats(runs: Path) -> None:
    """Each format is what `cp.diagram()` has, of a flow and of a run."""
    (runs / "diagram_shop_formats.py").write_text(MODULE)
    target = "diagram_shop_formats:cp"
    cp = CheckpointFlow(f"{runs}/runs/", name="orders")
    cp.add_step(load=read_items, save=keep_items, name="reserve")(lambda state: None)
    cp.add_step(retry=3, name="charge")(lambda state: None)
    for words, diagram in (((), cp.diagram()), (("order-42",), cp.diagram(run_id="order-42"))):
        for form in ("text", "mermaid", "svg"):
            done = invoke("diagram", target, *words, "--format", form, cwd=runs)
            assert (done.code, done.out, done.err) == (0, f"{diagram.drawn(form)}\n", "")
    bare = invoke("diagram", "runs", "order-42", "--format", "svg", cwd=runs)
    assert bare.out.startswith("<svg ")
    assert "read_items" not in bare.out  # Loaders are in the code alone.


def read_items(state: State) -> State:
    """A loader of this name."""
    return {}


def keep_items(state: State, data: State) -> None:
    """A saver of this name."""


def test_pictures_are_no_json(runs: Path) -> None:
    """A format for people and one for programs exclude each other."""
    done = invoke("diagram", "runs", "--format", "svg", "--output", "json", cwd=runs)
    assert (done.code, done.out) == (2, "")
    assert "--format svg is a text of its own, and --output json gives the steps" in done.err
    assert invoke("diagram", "runs", "--format", "text", "--output", "json", cwd=runs).code == 0


@pytest.mark.parametrize("name", ["flow.svg", "flow.mmd", "flow.txt"])
def test_check(name: str, runs: Path) -> None:
    """A file is compared with the diagram of today, and the command that renews it is named."""
    (runs / "diagram_shop_check.py").write_text(MODULE)
    check = ("diagram", "diagram_shop_check:cp", "--check", name)
    missing = invoke(*check, cwd=runs)
    assert (missing.code, missing.out) == (1, "")
    reason, renewing = missing.err.splitlines()
    assert (reason, renewing.rpartition(" ")[2]) == (f"{name} is missing.", name)
    saved = invoke(*renewing.removeprefix("Draw it: aiocheckpoint ").split(), cwd=runs)
    assert (saved.code, saved.out, saved.err) == (0, "", f"{name} was written.\n")
    drawn = (runs / name).read_text("utf-8")
    (runs / name).write_bytes(drawn.replace("\n", "\r\n").encode())
    done = invoke(*check, cwd=runs)
    assert (done.code, done.out, done.err) == (0, "", "")
    for old in (drawn + "\n", drawn[:-9], "", "\udcff"):
        (runs / name).write_bytes(old.encode(errors="surrogateescape"))
        done = invoke(*check, cwd=runs)
        assert (done.code, done.out) == (1, "")
        assert f"{name} is not the diagram of diagram_shop_check:cp as it is today." in done.err


def test_check_of_a_run_of_a_bare_store(runs: Path) -> None:
    """A bare store and a run are checked as well, and nothing has to be writable."""
    words = ("diagram", "runs", "order-42", "--format", "mermaid")
    (runs / "run.txt").write_text(invoke(*words, cwd=runs).out, "utf-8")
    for path in (runs / "run.txt", runs / "runs", runs):
        path.chmod(0o555)
    done = invoke(*words, "--check", "run.txt", cwd=runs)
    renewed = invoke(*words[:2], "--flow", "orders", "--check", "run.txt", cwd=runs)
    for path in (runs, runs / "runs"):
        path.chmod(0o755)
    assert (done.code, done.out, done.err) == (0, "", "")
    assert renewed.code == 1
    renewing = "aiocheckpoint diagram runs --format text --flow orders --save run.txt"
    assert f"Draw it anew: {renewing}\n" in renewed.err


def test_check_for_programs(runs: Path) -> None:
    """In JSON a check says what the exit code says."""
    for form in ("json", "jsonl"):
        done = invoke("diagram", "runs", "--check", "no.svg", "--output", form, cwd=runs)
        assert done.code == 1
        record = json.loads(done.out)
        found = record["diagram"] if form == "json" else record
        assert (found["checked"], found["current"]) == ("no.svg", False)


def test_checks_that_cannot_be_made(runs: Path) -> None:
    """A file without a known ending, or one that cannot be read, is named."""
    done = invoke("diagram", "runs", "--check", "flow.png", cwd=runs)
    assert (done.code, done.out) == (2, "")
    assert "the ending of flow.png says no format" in done.err
    assert "Add --format." in done.err
    done = invoke("diagram", "runs", "--check", "runs", "--format", "svg", cwd=runs)
    assert (done.code, done.out) == (1, "")
    assert "runs cannot be read: " in done.err
    assert invoke("diagram", "runs", "order-43", "--check", "a.svg", cwd=runs).code == 3


@pytest.mark.parametrize("option", ["--check", "--save"])
def test_pages_are_no_diagrams(option: str, runs: Path) -> None:
    """A page with more than a diagram is neither compared nor overwritten."""
    (runs / "README.md").write_text("all of it")
    done = invoke("diagram", "runs", option, "README.md", "--format", "mermaid", cwd=runs)
    assert (done.code, done.out) == (2, "")
    assert "README.md is a page" in done.err
    assert (runs / "README.md").read_text() == "all of it"


def test_save_keeps_the_old_file(runs: Path) -> None:
    """Where the flow cannot be imported, or nothing can be written, the old file stays."""
    (runs / "flow.svg").write_text("the old one")
    (runs / "broken_shop.py").write_text("raise ValueError('no flow')")
    assert invoke("diagram", "broken_shop:cp", "--save", "flow.svg", cwd=runs).code == 2
    assert (runs / "flow.svg").read_text() == "the old one"
    done = invoke("diagram", "runs", "--save", "nowhere/flow.svg", cwd=runs)
    assert (done.code, "nowhere" in done.err) == (1, True)
    done = invoke("diagram", "runs", "--save", "flow.svg", "--output", "json", cwd=runs)
    assert json.loads(done.out)["diagram"] == {"saved": "flow.svg"}
    assert (runs / "flow.svg").read_text().startswith("<svg ")


def test_files_too_many(runs: Path) -> None:
    """A second file is not taken for a missing run, and the two options exclude each other."""
    done = invoke("diagram", "runs", "b.mmd", "--check", "a.svg", cwd=runs)
    assert (done.code, done.out) == (2, "")
    assert "b.mmd is taken for a run" in done.err
    done = invoke("diagram", "runs", "--check", "a.svg", "--save", "b.svg", cwd=runs)
    assert (done.code, "exclude each other" in done.err) == (2, True)


def test_a_package_that_is_missing(tmp_path: Path) -> None:
    """A flow that needs an extra is refused with one line, the remedy."""
    (tmp_path / "diagram_shop_extra.py").write_text(
        "import sys\nsys.modules['stamina'] = None\ntry:\n"
        + MODULE.replace("\n", "\n    ")
        + "\nfinally:\n    del sys.modules['stamina']\n"
    )
    done = invoke("diagram", "diagram_shop_extra:cp", cwd=tmp_path)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "pip install 'aiocheckpoint[retry]'" in done.err


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
