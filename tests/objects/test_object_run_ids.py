"""Run ids and names in a store of objects: any text, however long, and no two are one."""

from __future__ import annotations

from contextlib import closing
from typing import Any
from urllib.parse import quote

import pytest

from aiocheckpoint import CheckpointFlow, open_handler
from aiocheckpoint.handlers import Query

LONG = "\U0001f600" * 300
ODD_IDS = [
    *("a", "A", " a", "a\0b", "a\0", "\ud800", "\udfff\ud800", "é", "e\u0301"),
    *(".", "..", "../a", "a/", "/a", "a//b", "a/./b", "a/b", "a%2Fb", "%", "%41", "@", "~", "_"),
    *("a_b", "a.b", "*", "?", "#", "a?b#c", "a+b", "a b", "a=b&c", '"\\', "\r\n", "{}", "-"),
    *(LONG, LONG[:-1], LONG[:-1] + "x", "x" * 200, "x" * 201, "x" * 1000),
]


@pytest.mark.parametrize("keep", [1, 3])
def test_each_has_its_own_run(keep: int, bucket_url: str) -> None:
    """Each id has a state, a lock and a place in lists of its own."""
    with closing(open_handler(bucket_url, name="odd", keep=keep)) as handler:
        for number, run_id in enumerate(ODD_IDS):
            handler.write({"n": number}, run_id)
        assert [handler.read(run_id)["n"] for run_id in ODD_IDS] == list(range(len(ODD_IDS)))
        assert {header.run_id for header in handler.runs(Query())} == set(ODD_IDS)
        for run_id in ODD_IDS[::4]:
            with handler.locked(run_id), handler.locked("another"):
                handler.read(run_id)
        for run_id in ODD_IDS[::3]:
            handler.remove(run_id)
        left = [handler.read(run_id) != {} for run_id in ODD_IDS]
        assert left == [bool(number % 3) for number in range(len(ODD_IDS))]


async def test_all_at_once(bucket_url: str) -> None:
    """All of them begin, go on and end together, and are queued and taken together."""
    flow = CheckpointFlow[dict[str, Any]](bucket_url, name="odd")

    @flow.add_step(name='st"e\\p {,} NULL')
    async def one(state: dict[str, Any], data: dict[str, Any]) -> None:
        state["seen"] = state["id"]

    pairs = {run_id: {"id": run_id} for run_id in ODD_IDS}
    async for result in flow.amap(pairs):
        assert result.error is None
        assert result.state is not None
        assert result.state["seen"] == result.run_id
    queued = {f"{run_id}q": {"id": run_id} for run_id in ODD_IDS if len(run_id) < 999}
    assert [submitted.error for submitted in await flow.asubmit(queued)] == [None] * len(queued)
    taken = [result async for result in flow.awork(until_empty=True)]
    assert {result.run_id for result in taken} == set(queued)
    assert all(result.error is None for result in taken)


def test_odd_name_of_a_flow(bucket_url: str) -> None:
    """A flow may have any name."""
    for name in ("\ud800", "é" * 500, "%s'\"", "..", "a/b", "runs"):
        with closing(open_handler(bucket_url, name=name)) as handler:
            handler.write({"name": name}, "a")
            assert handler.read("a") == {"name": name}
            assert len(handler.runs(Query())) == 1


@pytest.mark.parametrize("prefix", ["", "a", "a/b", "ü b/%41", "a/b/"])
def test_prefixes(prefix: str, bucket_url: str) -> None:
    """A folder may have any name, or be the whole bucket, and folders share nothing."""
    base, _, query = bucket_url.partition("/work?")
    with closing(open_handler(f"{base}/{quote(prefix)}?{query}", name="f")) as handler:
        assert handler.runs(Query()) == []
        handler.write({"prefix": prefix}, "x")
        assert handler.read("x") == {"prefix": prefix}
        assert len(handler.runs(Query())) == 1
