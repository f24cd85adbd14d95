"""`aiocheckpoint show`: one run on a card."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from cli import invoke
from order_store import TRACE, store_orders

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from pathlib import Path

    from support import State

FAILED = """\
order-42 of orders: failed at step 3 of 4, 'charge', 1 min ago (due now)
began 2026-11-30 10:41:07, snapshot 14 of run 1, N bytes
  ✓ reserve  0.031 s
  ✓ approve  0.001 s
  ✗ charge            5 tries  httpx.ConnectTimeout in its part 'step'
  · invoice
"""
TRACEBACK = TRACE.format(kind="httpx.ConnectTimeout", message="no answer in 10 s")
FIRST_LINES = {
    "order-58": "order-58 of orders: finished, 50 s ago",
    "order-59": "order-59 of orders: paused at step 2 of 4, 'approve', 40 s ago (over the limit)",
    "order-60": "order-60 of orders: queued at step 1 of 4, 'reserve', 30 s ago (due in 10 min)",
}


@pytest.fixture
def orders(tmp_path: Path, at_quarter_to: None) -> Path:
    """A folder with the database of orders."""
    return store_orders(tmp_path)


def card(*words: object, cwd: Path) -> str:
    """The card of a run, without the number of its bytes and without its state."""
    done = invoke("show", "orders.db", *words, cwd=cwd)
    assert done.code == 0
    lines = [line for line in done.out.splitlines() if not line.startswith("state: ")]
    return re.sub(r"[\d,]+ bytes", "N bytes", "".join(f"{line}\n" for line in lines))


def test_failed_run(orders: Path) -> None:
    """The card says where it stands, which steps are done, and what it broke on."""
    assert card("order-42", cwd=orders) == FAILED + TRACEBACK


def test_traceback(orders: Path) -> None:
    """The traceback is left out, or its last line alone is shown."""
    last = "httpx.ConnectTimeout: no answer in 10 s\n"
    assert card("order-42", "--traceback", "last", cwd=orders) == FAILED + last
    assert card("order-42", "--traceback", "none", cwd=orders) == FAILED


@pytest.mark.parametrize("run_id", FIRST_LINES)
def test_first_line(run_id: str, orders: Path) -> None:
    """The first line says why a run waits."""
    assert card(run_id, cwd=orders).splitlines()[0] == FIRST_LINES[run_id]


def test_what_comes_next(orders: Path) -> None:
    """Words on stderr say where it goes on, and the command that says more."""
    assert invoke("show", "orders.db", "order-42", cwd=orders).err == (
        "It goes on at 'charge', with the stored state.\n"
    )
    assert invoke("show", "service:cp", "order-42", cwd=orders).err.splitlines()[1:] == [
        "It goes on at 'charge', with the stored state.",
        "Where and why in full: aiocheckpoint plan service:cp order-42",
    ]
    assert invoke("show", "orders.db", "order-58", cwd=orders).err == ""


def test_pause_names_the_command_that_answers(orders: Path) -> None:
    """A paused run waits, and goes on by approve alone, for which a flow is needed."""
    assert invoke("show", "orders.db", "order-59", cwd=orders).err == (
        "It waits at 'approve'. The command approve of its flow, package.module:flow, answers it.\n"
    )
    assert invoke("show", "service:cp", "order-59", cwd=orders).err.splitlines()[1:] == [
        "It waits at 'approve'. The command approve answers it.",
        "What answers the pause: aiocheckpoint approve service:cp order-59 --set KEY=VALUE",
    ]


def test_json(orders: Path) -> None:
    """The document has the whole record, and the times in UTC."""
    done = invoke("show", "orders.db", "order-42", "--output", "json", cwd=orders)
    document = json.loads(done.out)
    assert (done.code, done.err, document["version"]) == (0, "", 1)
    assert document["run"]["failure"]["traceback"] == TRACEBACK
    line = invoke("show", "orders.db", "order-42", "--output", "jsonl", cwd=orders).out
    assert json.loads(line) == document["run"]


def test_no_such_run(orders: Path) -> None:
    """A run that is not stored has its own exit code."""
    done = invoke("show", "orders.db", "order-1", cwd=orders)
    assert (done.code, done.out) == (3, "")
    assert "order-1" in done.err
    assert done.err.endswith("The command runs lists the stored runs.\n")


def test_run_without_an_id(tmp_path: Path) -> None:
    """A file with one run needs no id."""
    cp = CheckpointFlow(tmp_path / "train.pkl", fsync=False)

    @cp.add_step()
    def fit(state: State) -> None: ...

    cp.run({"rate": 0.1})
    done = invoke("show", "train.pkl", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("the run without an id of train: finished, ")


SECRET = "a secret of more than thirty-two bytes"  # noqa: S105 - of a test


def test_signature(tmp_path: Path) -> None:
    """A signature is said to be verified where a secret was given, and the right one."""
    store_orders(tmp_path, secret=SECRET)
    place, words = tmp_path, ("show", "orders.db", "order-42", "--traceback", "none")
    (place / "right").write_text(f"{SECRET}\n", encoding="utf-8")
    (place / "wrong").write_text(SECRET[::-1], encoding="utf-8")
    plain = invoke(*words, cwd=place)
    by_file = invoke(*words, "--secret-file", "right", cwd=place)
    by_name = invoke(*words, "--secret-env", "KEY", env={"KEY": SECRET}, cwd=place)
    wrong = invoke(*words, "--secret-file", "wrong", cwd=place)
    assert re.search(r"signed by [0-9a-f]{8} \(not verified: no secret given\)", plain.out)
    assert "(verified)" in by_file.out
    assert by_file.out == by_name.out
    assert (wrong.code, "(verified)" in wrong.out) == (5, False)
    assert wrong.out.splitlines()[0].startswith("order-42 of orders: damaged")
    assert SECRET not in "".join((*plain[1:], *by_file[1:], *wrong[1:]))


@pytest.mark.parametrize("words", [("--secret-env", "NOWHERE"), ("--secret-file", "nowhere")])
def test_no_secret(words: tuple[str, str], orders: Path) -> None:
    """A secret that is not where it was said to be is a matter of usage."""
    done = invoke("show", "orders.db", "order-42", *words, cwd=orders)
    assert (done.code, done.out) == (2, "")
    assert words[1] in done.err


def test_damaged_run(tmp_path: Path) -> None:
    """A damaged run is shown as that, with exit code 5."""
    cp = CheckpointFlow(f"{tmp_path}/runs/", fsync=False)

    @cp.add_step()
    def fit(state: State) -> None: ...

    cp.run({"rate": 0.1}, run_id="a")
    (file,) = (tmp_path / "runs").glob("*a*")
    content = bytearray(file.read_bytes())
    content[5] ^= 1
    file.write_bytes(content)
    done = invoke("show", "runs/", "a", cwd=tmp_path)
    assert done.code == 5
    assert done.out.splitlines()[0].startswith("a of runs: damaged")


class Place:
    """Something that is no plain data."""


@pytest.fixture
def kept(tmp_path: Path, at_quarter_to: None) -> Path:
    """A folder with a run of three steps that keeps its snapshots."""
    cp = CheckpointFlow(f"{tmp_path}/runs/", keep=9, fsync=False)

    @cp.add_step()
    def gather(state: State) -> None:
        state["note"] = "gift"

    @cp.add_step()
    def wrap(state: State) -> None:
        state["place"] = Place()

    cp.run({"quantity": 3}, run_id="a")
    return tmp_path


def test_values(kept: Path) -> None:
    """Plain values are shown, and of others the type alone."""
    done = invoke("show", "runs/", "a", "--values", cwd=kept)
    lines = [line.split() for line in done.out.splitlines()]
    assert ["KEY", "TYPE", "BYTES", "VALUE"] in lines
    shown = {
        line[0]: (line[1], line[3]) for line in lines if line[0] in {"quantity", "note", "place"}
    }
    kind = f"{Place.__module__}.Place"
    assert shown == {
        "quantity": ("int", "3"),
        "note": ("str", "'gift'"),
        "place": (kind, f"<{kind}>"),
    }
    assert "state: " not in done.out


def test_values_as_json(kept: Path) -> None:
    """Values stand in a document where they were asked for, and not otherwise."""

    def keys(*words: str) -> dict[str, object] | None:
        done = invoke("show", "runs/", "a", *words, "--output", "jsonl", cwd=kept)
        found = json.loads(done.out)["keys"]
        return None if found is None else {one["key"]: one["value"] for one in found}

    assert keys() is None
    shown = keys("--values")
    assert shown is not None
    assert (shown["quantity"], shown["note"]) == (3, "gift")
    assert shown["place"] == {"$type": f"{Place.__module__}.Place"}


def test_history(kept: Path) -> None:
    """The kept snapshots are listed, the newest first."""
    done = invoke("show", "runs/", "a", "--history", cwd=kept)
    lines = [line.split() for line in done.out.splitlines()]
    begin = next(i for i, line in enumerate(lines) if line and line[0] == "SNAPSHOT")
    assert [line[0] for line in lines[begin + 1 :]] == ["3", "2", "1"]
    assert lines[begin + 2][1:4] == ["▶", "running", "wrap"]
    document = json.loads(
        invoke("show", "runs/", "a", "--history", "--output", "json", cwd=kept).out
    )
    assert [one["sequence"] for one in document["history"]] == [3, 2, 1]


def test_large_flow(tmp_path: Path) -> None:
    """Of a flow with more steps than a header names, the card has the newest."""
    cp = CheckpointFlow(f"{tmp_path}/runs/", fsync=False)
    for number in range(130):
        cp.add_step(name=f"step {number}")(_nothing)
    cp.run({}, run_id="a", until="step 126")
    lines = invoke("show", "runs/", "a", cwd=tmp_path).out.splitlines()
    assert lines[0].startswith("a of runs: stopped at step 128 of 130, 'step 127', ")
    assert re.fullmatch(r"  \(\d+ earlier steps are not recorded\)", lines[2])
    assert any(line.startswith("  ✓ step 126 ") for line in lines)


def _nothing(state: State) -> None: ...
