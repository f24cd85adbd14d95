"""`aiocheckpoint diff`: what the steps of a stored run changed, executing nothing of it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from cli import invoke

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from pathlib import Path

    from support import State

SECRET = "s" * 32
PLACES = {
    "orders.db": "sqlite:///{}/orders.db",
    "orders": "{}/orders/",
    "orders.pkl": "{}/orders.pkl",
}


class Place:
    """A class of the user's."""


class Canary:
    """Makes a directory when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.path,)


def make_flow(place: str, **options: Any) -> CheckpointFlow:  # noqa: ANN401
    """A flow whose steps add, change and remove keys."""
    cp = CheckpointFlow(place, name="orders", keep="all", fsync=False, **options)

    @cp.add_step()
    def reserve(state: State) -> None:
        state["reserved"] = {"key": "5f1c", "warehouse": Place()}
        del state["draft"]

    @cp.add_step()
    def charge(state: State) -> None:
        state["note"] = "gift, wrapped"
        state["cents"] = 13995

    return cp


@pytest.fixture(params=PLACES)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of one run, which has finished."""
    cp = make_flow(PLACES[request.param].format(tmp_path))
    state = {"item": "book", "note": "gift", "draft": [1, 2], "canary": None}
    cp.run(state, run_id="order-42")
    cp.handler.close()
    return str(request.param)


def test_between_two_steps(target: str, tmp_path: Path) -> None:
    """Keys that were added, changed and removed are told, with values where they are asked for."""
    words = ("diff", target, "order-42", "reserve..finished")
    done = invoke(*words, "--values", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "on entry to 'reserve' (snapshot 1) -> at the end (snapshot 3)",
        "+ cents     13995",
        "- draft     [1, 2]",
        "~ note      'gift' -> 'gift, wrapped'",
        f"+ reserved  {{'key': '5f1c', 'warehouse': <{__name__}.Place>}}",
        "= canary, item",
    ]
    without = invoke(*words, cwd=tmp_path)
    assert without.out.splitlines()[1:] == [
        "+ cents     int",
        "- draft     list",
        "~ note      str",
        "+ reserved  dict",
        "= canary, item",
    ]
    assert "13995" not in without.out


@pytest.mark.parametrize(
    ("words", "head"),
    [
        ([], "on entry to 'charge' (snapshot 2) -> at the end (snapshot 3)"),
        (["1..2"], "on entry to 'reserve' (snapshot 1) -> on entry to 'charge' (snapshot 2)"),
        (["..charge"], "on entry to 'reserve' (snapshot 1) -> on entry to 'charge' (snapshot 2)"),
        (["reserve.."], "on entry to 'reserve' (snapshot 1) -> at the end (snapshot 3)"),
        ([".."], "on entry to 'charge' (snapshot 2) -> at the end (snapshot 3)"),
    ],
)
def test_which_snapshots(words: list[str], head: str, tmp_path: Path) -> None:
    """Snapshots are named by step or number, and are the two newest by default."""
    make_flow(f"{tmp_path}/orders/").run({"draft": 1}, run_id="order-42")
    done = invoke("diff", "orders", "order-42", *words, cwd=tmp_path)
    assert (done.code, done.out.splitlines()[0]) == (0, head)


def test_the_run_without_an_id(tmp_path: Path) -> None:
    """One word with two dots names snapshots of the run without an id."""
    make_flow(f"{tmp_path}/orders.pkl").run({"draft": 1})
    done = invoke("diff", "orders.pkl", "reserve..charge", cwd=tmp_path)
    assert (done.code, done.out.splitlines()[1]) == (0, "- draft     int")
    assert invoke("diff", "orders.pkl", cwd=tmp_path).code == 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["order-42", "reserve"], 2),
        (["order-42", "pay..charge"], 2),
        (["order-42", "8..9"], 2),
        (["order-43"], 3),
        (["order-42", "1..2", "more"], 2),
    ],
)
def test_wrong_words(words: list[str], code: int, tmp_path: Path) -> None:
    """What is not there is told, and nothing stands on stdout."""
    make_flow(f"{tmp_path}/orders/").run({"draft": 1}, run_id="order-42")
    done = invoke("diff", "orders", *words, cwd=tmp_path)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("aiocheckpoint: ")


def test_a_run_that_keeps_one_snapshot(tmp_path: Path) -> None:
    """Where no older snapshot is kept, the remedy is named."""
    cp = CheckpointFlow(f"{tmp_path}/orders/", fsync=False)
    cp.add_step(name="send")(lambda state: None)
    cp.run({}, run_id="one")
    done = invoke("diff", "orders", "one", cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert "keep=" in done.err


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_json(form: str, tmp_path: Path) -> None:
    """The difference is a record, without values unless they are asked for."""
    make_flow(f"{tmp_path}/orders/").run({"draft": 1}, run_id="order-42")
    words = ("diff", "orders", "order-42", "1..3", "--output", form)
    documents = [json.loads(invoke(*words, *more, cwd=tmp_path).out) for more in ([], ["--values"])]
    plain, shown = (one["diff"] if form == "json" else one for one in documents)
    assert [change["path"] for change in plain["changes"]] == ["cents", "draft", "note", "reserved"]
    assert {change["new"] for change in plain["changes"]} == {None}
    reserved = shown["changes"][-1]
    assert reserved["new"]["warehouse"] == {"$type": f"{__name__}.Place"}
    assert (plain["old"]["sequence"], plain["new"]["sequence"]) == (1, 3)


def test_nothing_is_executed(tmp_path: Path) -> None:
    """Values that would act when unpickled are shown, and do nothing."""
    mark = tmp_path / "mark"
    cp = CheckpointFlow(f"{tmp_path}/orders/", keep="all", fsync=False)

    @cp.add_step()
    def lay(state: State) -> None:
        state["canary"] = Canary(mark)
        state["a\x1b[2J"] = "\x1b]0;owned\x07"

    cp.run({}, run_id="one")
    mark.rmdir()  # A value of a new type is loaded back once when it is stored.
    for form in ("text", "json", "jsonl"):
        done = invoke("diff", "orders", "one", "--values", "--output", form, cwd=tmp_path)
        assert (done.code, done.err) == (0, "")
        assert "mkdir" in done.out
        assert "\x1b" not in done.out
    assert not mark.exists()


def test_a_damaged_snapshot(tmp_path: Path) -> None:
    """A snapshot that cannot be read is an error with an exit code of its own."""
    cp = make_flow(f"{tmp_path}/orders/")
    cp.run({"draft": 1}, run_id="order-42")
    kept = tmp_path / "orders" / ".order-42.pkl.kept" / "1-1"
    content = kept.read_bytes()
    kept.write_bytes(content.replace(b"draft", b"craft"))
    done = invoke("diff", "orders", "order-42", "1..3", cwd=tmp_path)
    assert (done.code, done.out) == (5, "")


def test_a_signed_store(tmp_path: Path) -> None:
    """A wrong secret is refused, and a missing one checks nothing."""
    make_flow(f"{tmp_path}/orders/", secret=SECRET).run({"draft": 1}, run_id="order-42")
    words = ("diff", "orders", "order-42")
    unverified = invoke(*words, cwd=tmp_path)
    assert unverified.code == 0
    assert unverified.err.startswith("order-42 is signed by ")
    assert "(not verified: no secret given)" in unverified.err
    for secret, code in ((SECRET, 0), ("x" * 32, 5)):
        done = invoke(*words, "--secret-env", "KEY", cwd=tmp_path, env={"KEY": secret})
        assert done.code == code
        assert "not verified" not in done.err
