"""URLs of buckets: "s3://bucket/prefix", with the configuration of obstore in their query."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from obstore import store as stores

from aiocheckpoint.errors import InvalidValueError
from aiocheckpoint.handlers._urls import redact_url
from aiocheckpoint.handlers.objects._store import ObjectStore

__all__ = ["checked_prefix", "is_memory", "parse_url", "store_of"]

_MAKERS: dict[str, type[Any]] = {
    "s3": stores.S3Store,
    "gs": stores.GCSStore,
    "az": stores.AzureStore,
}
_NO_RETRIES: dict[str, Any] = {"max_retries": 0}
"""Requests are repeated here, where it is known what each means."""
_CLIENT: dict[str, Any] = {"timeout": "1 hour", "connect_timeout": "5 seconds"}
"""The seconds of each request are counted here, by its size."""
_ENDPOINTS = {
    "s3": ("aws_endpoint_url_s3", "aws_endpoint_url", "aws_endpoint", "endpoint_url", "endpoint"),
    "az": ("azure_storage_endpoint", "azure_endpoint", "endpoint"),
}
"""Names of the endpoint in the query. Those of a service are names in the environment, too."""
_LONGEST_PREFIX = 300


def parse_url(url: str) -> ObjectStore:
    """Make the store of a URL, without any request.

    Raises:
        InvalidValueError: It is no such URL, or its query is no configuration.
    """
    parts = urlsplit(url)
    shown = redact_url(url)
    if parts.scheme not in _MAKERS or not parts.netloc or "@" in parts.netloc or parts.fragment:
        raise InvalidValueError(
            f"{shown} is no URL of a bucket: write 's3://BUCKET/PREFIX', 'gs://BUCKET/PREFIX' or "
            "'az://CONTAINER/PREFIX'. Credentials come from the environment."
        )
    config = dict(parse_qsl(parts.query, keep_blank_values=True))
    endpoint = _endpoint(parts.scheme, config)
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise InvalidValueError(
            f"the endpoint of {shown} has no scheme: write 'https://' or 'http://' before its host."
        )
    options = dict(_CLIENT)
    if endpoint.startswith("http://"):
        options["allow_http"] = True
    try:
        bucket = _MAKERS[parts.scheme](
            parts.netloc,
            config=config,
            client_options=options,
            retry_config=_NO_RETRIES,
        )
    except Exception as error:  # noqa: BLE001 - of obstore, whose classes vary
        raise InvalidValueError(
            f"the store of {shown} cannot be made: {_first_line(error)}. Its query has names and "
            "values of the configuration of obstore, such as endpoint= and region=."
        ) from None
    prefix = checked_prefix(parts.path.strip("/"))
    place = f"{parts.scheme}://{parts.netloc}/{prefix}".rstrip("/")
    return ObjectStore(place, prefix, parts.query, bucket, (parse_url, (url,)))


def store_of(bucket: object, prefix: str) -> ObjectStore:
    """Make the store of a store of obstore that the program has made.

    Raises:
        InvalidValueError: The prefix is none, or the store is of another kind.
    """
    if not isinstance(bucket, (*_MAKERS.values(), stores.MemoryStore)):
        raise InvalidValueError(
            f"a {type(bucket).__name__} is no store whose writes can have conditions: give a "
            "store of obstore, an S3Store, GCSStore or AzureStore, or a URL such as 's3://BUCKET'."
        )
    checked = checked_prefix(prefix.strip("/"))
    config: Any = getattr(bucket, "config", {})
    name = config.get("bucket") or config.get("container_name") or type(bucket).__name__
    inner = str(getattr(bucket, "prefix", None) or "").strip("/")
    path = "/".join(part for part in (name, inner, checked.rstrip("/")) if part)
    kind = next((one for one, made in _MAKERS.items() if isinstance(bucket, made)), "memory")
    made_by = store_of, (bucket, prefix)
    return ObjectStore(f"{kind}://{path}", checked, id(bucket), bucket, made_by)


def is_memory(bucket: object) -> bool:
    """Whether a store of obstore is the memory of this process."""
    return isinstance(bucket, stores.MemoryStore)


def checked_prefix(prefix: str) -> str:
    """Give a prefix as keys have it: empty, or ending in "/".

    Raises:
        InvalidValueError: It is too long, or no path.
    """
    if not prefix:
        return ""
    if len(prefix.encode()) > _LONGEST_PREFIX or any(
        part in {"", ".", ".."} for part in prefix.split("/")
    ):
        raise InvalidValueError(
            f"prefix={prefix!r}: it is a path such as 'work/orders', of at most "
            f"{_LONGEST_PREFIX} bytes."
        )
    return f"{prefix}/"


def _endpoint(scheme: str, config: dict[str, str]) -> str:
    """Give the endpoint of the query, or else that of the environment. Empty where there is none.

    Options for the client make obstore pass over AWS_ALLOW_HTTP and the like, so that it has to be
    known here whether the endpoint has no TLS.
    """
    names = _ENDPOINTS.get(scheme, ())
    of_query = [value for name, value in config.items() if name.lower() in names]
    outside = [name.upper() for name in names if name.startswith(("aws_", "azure_"))]
    of_environment = [os.environ[name] for name in outside if os.environ.get(name)]
    return next(iter([*of_query, *of_environment]), "").lower()


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
