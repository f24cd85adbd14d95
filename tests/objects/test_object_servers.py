"""The object store of the tests: conditional puts hold, and a kill loses nothing."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
import pytest
from lease_owners import process
from locations import with_support
from object_server import READER, WRONG
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
)

if TYPE_CHECKING:
    from object_server import ObjectServer
    from obstore.store import S3Store


def test_conditions(objects: ObjectServer, bucket: str) -> None:
    """A create of what is there is refused, and so is a change of what has changed."""
    store = objects.store(bucket)
    first = obstore.put(store, "a", b"1", mode="create")
    with pytest.raises(AlreadyExistsError):
        obstore.put(store, "a", b"2", mode="create")
    second = obstore.put(store, "a", b"2", mode={"e_tag": first["e_tag"]})
    with pytest.raises(PreconditionError):
        obstore.put(store, "a", b"3", mode={"e_tag": first["e_tag"]})
    assert obstore.get(store, "a").bytes() == b"2"
    assert obstore.head(store, "a")["e_tag"] == second["e_tag"]


def test_race(objects: ObjectServer, bucket: str) -> None:
    """One of sixteen creators wins, and one of sixteen that change what is there."""
    store = objects.store(bucket)
    found = obstore.put(store, "changed", b"before")
    with ThreadPoolExecutor(16) as pool:
        created = list(pool.map(lambda number: _wins(store, "created", number, None), range(16)))
        tag = found["e_tag"]
        changed = list(pool.map(lambda number: _wins(store, "changed", number, tag), range(16)))
    assert (sum(created), sum(changed)) == (1, 1)


def test_rights(objects: ObjectServer, bucket: str) -> None:
    """A reader reads and writes nothing, and a wrong key gets nothing."""
    obstore.put(objects.store(bucket), "a", b"1")
    reader = objects.store(bucket, READER)
    assert obstore.get(reader, "a").bytes() == b"1"
    with pytest.raises(PermissionDeniedError):
        obstore.put(reader, "b", b"1")
    with pytest.raises(PermissionDeniedError):
        obstore.get(objects.store(bucket, WRONG), "a")
    with pytest.raises(FileNotFoundError):
        obstore.put(objects.store("no-such-bucket"), "a", b"1")


def test_kill(own_objects: ObjectServer) -> None:
    """A kill loses no object, and a suspended server answers later."""
    bucket = own_objects.create_bucket()
    store = own_objects.store(bucket)
    tag = obstore.put(store, "a", b"1")["e_tag"]
    own_objects.kill()
    with pytest.raises(BaseError):
        obstore.get(store, "a")
    own_objects.start()
    obstore.put(store, "a", b"2", mode={"e_tag": tag})
    own_objects.freeze()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(lambda: obstore.get(store, "a").bytes())
        with pytest.raises(TimeoutError):
            answer.result(0.2)
        own_objects.thaw()
        assert answer.result(20) == b"2"


def test_killed_process() -> None:
    """A server ends with the process that has started it, and leaves no folder."""
    before = ("env", f"PYTHONPATH={with_support()['PYTHONPATH']}")
    with process("object_server_script.py", before=before) as holder:
        folder, port = holder.first.split()
        assert _listens(int(port))
    while _listens(int(port)) or Path(folder).exists():
        time.sleep(0.05)


def _listens(port: int) -> bool:
    with closing(socket.socket()) as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _wins(store: S3Store, key: str, number: int, tag: str | None) -> bool:
    try:
        obstore.put(store, key, b"%d" % number, mode={"e_tag": tag} if tag else "create")
    except (AlreadyExistsError, PreconditionError):
        return False
    return True
