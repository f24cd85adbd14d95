"""The fixtures of tests on a real object store, which a conftest imports."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import obstore
import pytest
from object_proxy import object_proxy
from object_server import ADMIN, object_server

from aiocheckpoint import open_handler

if TYPE_CHECKING:
    from collections.abc import Generator

    from object_proxy import ObjectProxy
    from object_server import ObjectServer


@pytest.fixture(scope="session")
def objects() -> Generator[ObjectServer]:
    """Give the server of all tests that leave it running."""
    with object_server() as server:
        yield server


@pytest.fixture
def own_objects() -> Generator[ObjectServer]:
    """Give a server of the test's own, which it may kill and suspend."""
    with object_server() as server:
        yield server


@pytest.fixture(scope="session")
def format_object(objects: ObjectServer) -> bytes:
    """Give the object by which the library knows that a store honours conditions.

    Contended writes take this server a second, so that a proof for each test would take minutes.
    """
    bucket = objects.create_bucket()
    with pytest.MonkeyPatch.context() as patch:
        set_keys(patch)
        with closing(open_handler(objects.url(bucket, "work"), name="f")) as handler:
            handler.write({}, "x")
    return bytes(obstore.get(objects.store(bucket), "work/format").bytes())


@pytest.fixture
def bucket(objects: ObjectServer, format_object: bytes) -> str:
    """Give the name of a bucket on the server of all tests. Its folder "work" is proved."""
    name = objects.create_bucket()
    put_format(objects, name, format_object)
    return name


@pytest.fixture
def bucket_url(objects: ObjectServer, bucket: str, object_keys: None) -> str:
    """Give the URL of a folder in an empty bucket, whose credentials the environment has."""
    return objects.url(bucket, "work")


@pytest.fixture
def proxy(objects: ObjectServer, object_keys: None) -> Generator[ObjectProxy]:
    """Give a proxy before the server of all tests."""
    with object_proxy(objects) as started:
        yield started


@pytest.fixture
def proxy_url(objects: ObjectServer, bucket: str, proxy: ObjectProxy) -> str:
    """Give the URL of a folder in an empty bucket, behind the proxy."""
    return objects.url(bucket, "work", endpoint=proxy.endpoint)


@pytest.fixture
def object_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the credentials of the administrator into the environment, and nothing else of AWS."""
    set_keys(monkeypatch)


def put_format(objects: ObjectServer, bucket: str, format_object: bytes) -> None:
    """Let the folder "work" of a bucket count as proved."""
    obstore.put(objects.store(bucket), "work/format", format_object)


def set_keys(patch: pytest.MonkeyPatch) -> None:
    """Do as `object_keys`."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_REGION"):
        patch.delenv(name, raising=False)
    for name, value in ADMIN.environment.items():
        patch.setenv(name, value)
