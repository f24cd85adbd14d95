"""The lines of a difference, compared with golden text."""

from __future__ import annotations

import io
from typing import Any

from aiocheckpoint._cli.output import Output
from aiocheckpoint._cli.rendering.diffs import print_diff
from aiocheckpoint._cli.terminal import Terminal
from aiocheckpoint.look import ChangeView, DiffView, SnapshotView

ANEW = "(pickled in another way, so that it may be the same)"
CHANGES: dict[str, ChangeView] = {
    "added": ChangeView(path="cents", kind="added", new=13995, new_type="int"),
    "object": ChangeView(
        path="reserved",
        kind="added",
        new={"key": "5f1c", "warehouse": {"$type": "shop.Place"}},
        new_type="dict",
    ),
    "changed": ChangeView(
        path="note",
        kind="changed",
        old="gift",
        new="gift, \x1b[2Jwrapped",
        old_type="str",
        new_type="str",
    ),
    "type": ChangeView(
        path="rows[3].price", kind="changed", old=None, new=1.5, old_type="None", new_type="float"
    ),
    "removed": ChangeView(path="draft", kind="removed", old=[1], old_type="list"),
    "rewritten": ChangeView(
        path="model",
        kind="rewritten",
        old={"$type": "shop.Model"},
        new={"$type": "shop.Model"},
        old_type="shop.Model",
        new_type="shop.Model",
    ),
}


def snapshot(sequence: int, step: str | None, number: int = 1) -> SnapshotView:
    """A snapshot on entry to a step."""
    return SnapshotView(
        number=number,
        sequence=sequence,
        position=0,
        step=step,
        status="running",
        written_at=1.0,
        size=1,
        newest=False,
    )


def lines_of(width: int | None = None, **facts: Any) -> list[str]:  # noqa: ANN401 - of a record
    """Print a difference."""
    given: dict[str, Any] = {
        "old": snapshot(1, "reserve"),
        "new": snapshot(3, "charge"),
        "changes": tuple(CHANGES.values()),
        "same": ("item", "quan\x1btity", "id"),
        "shown": True,
        **facts,
    }
    diff = DiffView(flow="orders", run_id="order-42", **given)
    out = io.StringIO()
    terminal = Terminal(width, None, colour=False, unicode=True)
    print_diff(diff, Output(out, out, terminal))
    return out.getvalue().splitlines()


def test_with_values() -> None:
    """Values stand beside their paths, and nothing stored steers the terminal."""
    assert lines_of() == [
        "on entry to 'reserve' (snapshot 1) -> on entry to 'charge' (snapshot 3)",
        "+ cents          13995",
        "+ reserved       {'key': '5f1c', 'warehouse': <shop.Place>}",
        "~ note           'gift' -> 'gift, \\x1b[2Jwrapped'",
        "~ rows[3].price  None -> 1.5",
        "- draft          [1]",
        f"? model          <shop.Model> -> <shop.Model> {ANEW}",
        "= item, quan\\x1btity, id",
    ]


def test_without_values() -> None:
    """Without `--values` only types are shown."""
    assert lines_of(shown=False) == [
        "on entry to 'reserve' (snapshot 1) -> on entry to 'charge' (snapshot 3)",
        "+ cents          int",
        "+ reserved       dict",
        "~ note           str",
        "~ rows[3].price  None -> float",
        "- draft          list",
        f"? model          shop.Model {ANEW}",
        "= item, quan\\x1btity, id",
    ]


def test_on_a_narrow_terminal() -> None:
    """Long values are cut in their middle."""
    changes = (ChangeView(path="text", kind="added", new="a" * 500, new_type="str"),)
    _, line, _ = lines_of(width=40, changes=changes)
    assert line.startswith("+ text  'aaaaaaaaa")
    assert line.endswith("a'")
    assert len(line) == 40


def test_equal_and_incomplete() -> None:
    """Equal states are told, and so are states that were not compared as a whole."""
    new = snapshot(1, None, number=2)
    assert lines_of(changes=(), same=(), complete=False, new=new) == [
        "on entry to 'reserve' (snapshot 1 of run 1) -> at the end (snapshot 1 of run 2)",
        "Nothing differs.",
        "The states are too large to be compared as a whole: there may be more.",
    ]
