"""The proxy before the object store of the tests counts requests, and makes each fault."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import obstore
import pytest
from object_proxy import Fault
from object_server import ADMIN, REGION
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import S3Store

if TYPE_CHECKING:
    from object_proxy import ObjectProxy
    from object_server import ObjectServer

NOTHING_DONE = [Fault.CONFLICT, Fault.BROKEN, Fault.SLOW_DOWN, Fault.CUT, Fault.TIMEOUT]
DONE = [Fault.BROKEN_AFTER, Fault.LOST, Fault.TIMEOUT_AFTER]


@pytest.fixture
def through(proxy: ObjectProxy, bucket: str) -> S3Store:
    """Give the bucket as it is seen through the proxy by a client that gives up quickly."""
    return S3Store(
        bucket,
        endpoint=proxy.endpoint,
        access_key_id=ADMIN.access,
        secret_access_key=ADMIN.secret,
        region=REGION,
        client_options={"allow_http": True, "timeout": "1s"},
        retry_config={"max_retries": 0},
    )


def test_all_requests(through: S3Store, proxy: ObjectProxy) -> None:
    """Puts, gets, heads, lists and deletions go through it, and are counted by kind."""
    key = "work/flows/orders/runs/a%2Fb"
    tag = obstore.put(through, key, b"1" * 1000, mode="create")["e_tag"]
    obstore.put(through, key, b"2" * 2000, mode={"e_tag": tag})
    assert obstore.get(through, key).bytes() == b"2" * 2000
    assert bytes(obstore.get_range(through, key, start=0, end=3)) == b"222"
    assert obstore.head(through, key)["size"] == 2000
    for number in range(30):
        obstore.put(through, f"work/owners/{number}", b"")
    assert len(next(iter(obstore.list(through, "work/owners")))) == 30
    obstore.delete(through, [f"work/owners/{number}" for number in range(30)])
    assert not list(obstore.list(through, "work/owners"))
    assert proxy.kinds() == {
        "PUT runs create": 1,
        "PUT runs change": 1,
        "GET runs": 2,
        "HEAD runs": 1,
        "PUT owners": 30,
        "LIST owners": 2,
        "DELETES ": 1,
    }
    assert [(seen.sent, seen.status) for seen in proxy.seen[:2]] == [(1000, 200), (2000, 200)]
    assert proxy.seen[2].received == 2000


@pytest.mark.parametrize("fault", [*NOTHING_DONE, *DONE], ids=lambda fault: fault.value)
def test_no_answer(through: S3Store, proxy: ObjectProxy, fault: Fault) -> None:
    """The second request fails, and is done or not; the first and third are answered."""
    rule = proxy.inject(fault, "PUT runs", number=2)
    for number in range(3):
        key = f"work/flows/orders/runs/{number}"
        if number == 1:
            with pytest.raises(BaseError):
                obstore.put(through, key, b"1")
        else:
            obstore.put(through, key, b"1")
    assert rule.wait()
    found = [item["path"][-1] for page in obstore.list(through, "work/flows") for item in page]
    assert found == (["0", "1", "2"] if fault in DONE else ["0", "2"])


def test_refused(through: S3Store, proxy: ObjectProxy) -> None:
    """A refusal of a condition looks like one of the server."""
    tag = obstore.put(through, "a", b"1")["e_tag"]
    proxy.inject(Fault.PRECONDITION, count=2)
    with pytest.raises(PreconditionError):
        obstore.put(through, "a", b"2", mode={"e_tag": tag})
    with pytest.raises(AlreadyExistsError):
        obstore.put(through, "b", b"2", mode="create")
    assert obstore.get(through, "a").bytes() == b"1"


def test_late(through: S3Store, proxy: ObjectProxy) -> None:
    """A request that nobody answers reaches the server later."""
    proxy.inject(Fault.LATE, seconds=2.5)
    with pytest.raises(BaseError):
        obstore.put(through, "a", b"1")
    with pytest.raises(FileNotFoundError):
        obstore.get(through, "a")
    while not list(obstore.list(through)):
        time.sleep(0.05)


def test_slow(through: S3Store, proxy: ObjectProxy) -> None:
    """A slow request is answered, and stops no other one."""
    proxy.inject(Fault.SLOW, seconds=0.3)
    begun = time.monotonic()
    obstore.put(through, "a", b"1")
    assert time.monotonic() - begun >= 0.3


def test_out_of_reach(through: S3Store, proxy: ObjectProxy) -> None:
    """It can refuse connections, and hold all requests back."""
    obstore.put(through, "a", b"1")
    proxy.refuse()
    with pytest.raises(BaseError, match="error sending request"):
        obstore.get(through, "a")
    proxy.accept()
    proxy.freeze()
    with pytest.raises(BaseError, match=r"(?i)time"):
        obstore.get(through, "a")
    proxy.thaw()
    assert obstore.get(through, "a").bytes() == b"1"


def test_ignored_conditions(through: S3Store, proxy: ObjectProxy, objects: ObjectServer) -> None:
    """It can be a store that knows no conditions."""
    proxy.ignored |= {"if-none-match", "if-match"}
    first = obstore.put(through, "a b/%c", b"1", mode="create")
    assert obstore.put(through, "a b/%c", b"2", mode="create") != first
    obstore.put(through, "a b/%c", b"3", mode={"e_tag": first["e_tag"]})
    assert obstore.get(through, "a b/%c").bytes() == b"3"
