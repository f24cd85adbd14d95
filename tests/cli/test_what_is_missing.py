"""What is said where a run, a store or all runs of a filter are not there, with a remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cli import invoke
from order_store import open_orders, store_orders

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from pathlib import Path

    from support import State

MISSING = {
    "show orders.db": "name a run: orders.db has no run without an id. The command runs",
    "diff orders.db reserve..charge": "name a run: orders.db",
    "approve service:cp": "name a run: orders.db has no run without an id",
    "show orders.db ordr-57": "no run 'ordr-57' in orders.db. Did you mean 'order-57'? The command",
    "retry service:cp order57 --from charge": "Did you mean 'order-57'?",
    "show orders.db xyzzy": "there is no run 'xyzzy' in orders.db. The command runs lists",
    "show order-57 orders.db": "comes before the run: aiocheckpoint show orders.db order-57.",
    "show order.db order-57": "there is no store order.db. Did you mean 'orders.db'?",
    "show nowhere/x.db order-57": "there is no store nowhere/x.db. Is the path right?",
    "show service.cp order-57": "no store service.cp. A flow in a module is named service:cp.",
    "show ./service.py:cp order-57": "A flow in a module is named service:cp.",
    "show service: order-57": "A flow in a module is named package.module:attribute.",
}


@pytest.mark.parametrize("words", MISSING)
def test_missing_run_or_store(words: str, tmp_path: Path) -> None:
    """The message has what was probably meant, and no word of Python."""
    done = invoke(*words.split(), cwd=store_orders(tmp_path))
    assert (done.code, done.out) == (3, "")
    assert MISSING[words] in done.err
    assert "()" not in done.err


def test_missing_run_of_several_flows(tmp_path: Path) -> None:
    """Ids of all flows of a store are compared with a typo."""
    store_orders(tmp_path)
    cp = open_orders(tmp_path, "bills")
    cp.run({}, run_id="bill-7")
    cp.handler.close()
    done = invoke("show", "orders.db", "bil-7", cwd=tmp_path)
    assert (done.code, "Did you mean 'bill-7'?" in done.err) == (3, True)


SOURCES = {
    "runs service": "service.py is Python source, and no store. A flow in a module is named ",
    "doctor service.py": "named service:attribute.",
    "delete service py --dry-run": "is Python source",
    "runs {}/service.py": "named service:attribute, with --app-dir {}.",
    "run service.cp order-57": "is a bare store. A flow in a module is named service:cp.",
}


@pytest.mark.parametrize("words", SOURCES)
def test_source_is_no_store(words: str, tmp_path: Path) -> None:
    """A path to Python source, or a word for it, leads to how a flow is named."""
    done = invoke(*words.format(tmp_path).split(), cwd=store_orders(tmp_path))
    assert (done.code, done.out) == (2, "")
    assert SOURCES[words].format(tmp_path) in done.err


def test_runs_beside_a_module(tmp_path: Path) -> None:
    """A path with a slash is no word for a module, so that its runs can be listed."""
    cp = CheckpointFlow(tmp_path / "train", fsync=False)
    cp.add_step(name="fit")(_nothing)
    cp.run({}, run_id="r")
    (tmp_path / "train.py").touch()
    assert invoke("show", "./train", "r", cwd=tmp_path).code == 0


UNFIT = {
    "--status cancelled": "None of the 6 runs in orders.db fits the filters.",
    "--error ConectTimeout": "Did you mean 'ConnectTimeout'?",
    "--error httpx.ConectTimeout": "Did you mean 'httpx.ConnectTimeout'?",
    "--step chrage": "Did you mean 'charge'?",
    "--step invoce": "Did you mean 'invoice'?",
}


@pytest.mark.parametrize("words", UNFIT)
def test_count_of_none(words: str, tmp_path: Path) -> None:
    """A count of no runs says so on stderr, with what was probably meant."""
    done = invoke("count", "orders.db", *words.split(), cwd=store_orders(tmp_path))
    assert (done.code, done.out) == (0, "")
    assert UNFIT[words] in done.err


@pytest.mark.parametrize("command", ["runs", "count", "flows", "verify", "doctor"])
def test_directory_without_runs(command: str, tmp_path: Path) -> None:
    """A directory without a run is told apart from one whose runs are all in order."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("a list", encoding="utf-8")
    done = invoke(command, "empty", cwd=tmp_path)
    assert done.code == 0
    assert "empty has no runs. Is it the directory that the flow was given?" in done.err
    assert "nothing is wrong" not in done.err


def test_directory_of_other_stores(tmp_path: Path) -> None:
    """Files with another ending are each a store of its own, which is named."""
    store_orders(tmp_path)
    for name in ("a.ckpt", "b.ckpt"):
        cp = CheckpointFlow(tmp_path / name, fsync=False)
        cp.add_step(name="fit")(_nothing)
        cp.run({})
    done = invoke("count", ".", cwd=tmp_path)
    assert (done.code, done.out) == (0, "")
    assert "In it 3 files are stores of their own. Give ./a.ckpt as the target." in done.err


def _nothing(state: State) -> None: ...
