"""The handler passes every published conformance check on a real server, with each option.

Each check is made once without options. Those that an option may change are made with it as well,
and the others are torture then.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from conformance_checks import SHORT
from faulty_objects import ObjectFaults, maker
from object_fixtures import put_format, set_keys
from object_proxy import object_proxy

from aiocheckpoint.testing import Faults, check_handler

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from object_server import ObjectServer

    from aiocheckpoint.testing import HandlerCheck

SECRET = "s" * 32
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "3": {"keep": 3},
    "all": {"keep": "all"},
    "signed": {"secret": SECRET},
    "listed": {"allow": ()},
    "verified": {"verify": True},
}
BOTH = {"cursor", "ending", "flow", "progress", "prune", "stored_state", "submitted_again"}
OF_KEEPING = BOTH | {
    *("amended_snapshot", "close", "fence", "keep", "kept_snapshots"),
    *("last_snapshot", "pause", "replay", "rewind", "starts", "unseen_ending"),
}
"""Checks of what is stored beside the newest snapshot."""
OF_CONTENTS = BOTH | {
    *("large_states", "list_with_damage", "one_of_many", "queue", "read_back"),
    "whole_or_not_at_all",
}
"""Checks of the bytes of snapshots."""


def cases() -> Iterator[object]:
    """Give the options and the checks. Those that say little more than others are torture."""
    for (name, options), check in itertools.product(OPTIONS.items(), SHORT):
        chosen = OF_KEEPING if "keep" in options else OF_CONTENTS
        is_quick = not options or check.__name__.removeprefix("check_") in chosen
        marks = [] if is_quick else [pytest.mark.torture]
        yield pytest.param(options, check, marks=marks, id=f"{name}-{check.__name__}")


@pytest.fixture(scope="module")
def url(objects: ObjectServer, format_object: bytes) -> Generator[str]:
    """Give the URL of one folder for all checks, each of which leaves it as it found it."""
    bucket = objects.create_bucket()
    put_format(objects, bucket, format_object)
    with pytest.MonkeyPatch.context() as patch:
        set_keys(patch)
        yield objects.url(bucket, "work")


@pytest.mark.parametrize(("options", "check"), list(cases()))
def test_options(options: dict[str, Any], check: HandlerCheck, url: str) -> None:
    """It passes with each option that changes what is stored."""
    make = maker(url, lease=1.0, **options)
    handler = make()
    try:
        check(make)
    finally:
        handler.close()


def test_checks_of_options() -> None:
    """The checks that are chosen exist."""
    assert {f"check_{name}" for name in OF_KEEPING | OF_CONTENTS} <= {
        check.__name__ for check in SHORT
    }


class FaultsOfProxy(ObjectFaults):
    """Those that leave the server running, which the tests share."""

    crash_store = Faults.crash_store


@pytest.mark.torture
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_whole(
    options: dict[str, Any], objects: ObjectServer, bucket: str, object_keys: None
) -> None:
    """It passes all checks, those with faults and with other processes among them."""
    with object_proxy(objects) as proxy:
        faults = FaultsOfProxy(objects, bucket, proxy)
        url = objects.url(bucket, "work", endpoint=proxy.endpoint)
        make = maker(url, lease=1.0, patience=5.0, **options)
        handler = make()
        try:
            report = check_handler(make, faults)
        finally:
            faults.join()
            handler.close()
    assert len(report.checked) > len(SHORT), report
    passed_over = {"backup", "crash", "paused_owner"}
    passed_over |= set[str]() if "keep" in options else OF_KEEPING
    passed_over |= {"runs_apart"} if "allow" in options else set[str]()
    assert report.not_checked.keys() <= passed_over, report
