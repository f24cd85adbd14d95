"""It passes the conformance checks with processes, outages and lost answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from conformance_checks import CHECKS, LONG
from faulty_objects import ObjectFaults, maker
from object_proxy import object_proxy

from aiocheckpoint.testing import _checks_outages

if TYPE_CHECKING:
    from object_server import ObjectServer

    from aiocheckpoint.testing import HandlerCheck


@pytest.mark.parametrize("check", LONG, ids=lambda check: check.__name__)
def test_processes(
    check: HandlerCheck, objects: ObjectServer, bucket: str, bucket_url: str
) -> None:
    """It passes each check that takes long or starts processes."""
    run(check, ObjectFaults(objects, bucket), bucket_url)


@pytest.mark.parametrize("name", ["stolen_lease", "stolen_run", "rows_left"])
def test_objects_of_others(name: str, objects: ObjectServer, bucket: str, bucket_url: str) -> None:
    """It passes with runs that are stolen, and with looks at the objects that are left."""
    run(CHECKS[name], ObjectFaults(objects, bucket), bucket_url)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lost_answers", {}),
        ("outage", {}),
        ("long_outage", {"patience": 4.0}),
        ("owner_in_outage", {"lease": 4.0}),
    ],
)
def test_out_of_reach(
    name: str, options: dict[str, Any], objects: ObjectServer, bucket: str, object_keys: None
) -> None:
    """It passes where answers are lost, and where nobody reaches the server for a while."""
    with object_proxy(objects) as proxy:
        faults = ObjectFaults(objects, bucket, proxy)
        url = objects.url(bucket, "work", endpoint=proxy.endpoint)
        try:
            run(CHECKS[name], faults, url, **options)
        finally:
            faults.join()
        if name == "lost_answers":
            assert len(proxy.rules) == 7
            assert all(rule.happened for rule in proxy.rules)


@pytest.mark.parametrize("crashes", [1, pytest.param(3, marks=pytest.mark.torture)])
def test_crash(
    crashes: int, own_objects: ObjectServer, object_keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It passes where the server is killed."""
    monkeypatch.setattr(_checks_outages, "_CRASHES", crashes)
    bucket = own_objects.create_bucket()
    run(CHECKS["crash"], ObjectFaults(own_objects, bucket), own_objects.url(bucket, "work"))


def run(check: HandlerCheck, faults: ObjectFaults, url: str, **options: Any) -> None:  # noqa: ANN401
    """Run a check, and close the handler."""
    given: dict[str, Any] = {"lease": 1.0, "patience": 20.0} | options
    make = maker(url, **given)
    handler = make()
    try:
        check(make, faults)
    finally:
        handler.close()
