"""The fixtures of tests on a real object store, which a conftest imports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from object_proxy import object_proxy
from object_server import ADMIN, object_server

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


@pytest.fixture
def bucket(objects: ObjectServer) -> str:
    """Give the name of an empty bucket on the server of all tests."""
    return objects.create_bucket()


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
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ADMIN.environment.items():
        monkeypatch.setenv(name, value)
