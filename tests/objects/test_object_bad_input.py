"""Buckets that cannot be used: an error of the library at once, with the remedy, and no secret."""

from __future__ import annotations

import logging
import pickle
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from free_ports import find_port
from object_server import ADMIN, READER, WRONG
from obstore.store import LocalStore, MemoryStore, S3Store

from aiocheckpoint import CheckpointFlow, inspect, open_handler
from aiocheckpoint.errors import (
    CheckpointError,
    InvalidTypeError,
    InvalidValueError,
    MissingExtraError,
    StorageError,
    StoreUnreachableError,
    UntrustedSnapshotError,
)
from aiocheckpoint.handlers import Query
from aiocheckpoint.handlers.objects import ObjectStateHandler

if TYPE_CHECKING:
    from object_proxy import ObjectProxy
    from object_server import Keys, ObjectServer

AT_ONCE = 10.0
"""Seconds. Less than the patience of every handler here, and much more than any of them takes."""
SECRETS = (ADMIN.secret, READER.secret, WRONG.secret, "canary")


def chained(error: BaseException | None) -> str:
    """All that a traceback of an error would show of it and of the errors behind it."""
    texts: list[str] = []
    while error is not None:
        texts += [repr(error), str(error), str(getattr(error, "__notes__", "")), repr(vars(error))]
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


def refused(url: str, words: str, **options: Any) -> StorageError:  # noqa: ANN401
    """Write to a place, and give the error, which comes at once and is no want of patience."""
    begun = time.monotonic()
    with closing(open_handler(url, name="f", patience=60, **options)) as handler:
        with pytest.raises(StorageError, match=words) as info:
            handler.write({"n": 1}, "a")
        assert time.monotonic() - begun < AT_ONCE
        assert not isinstance(info.value, StoreUnreachableError)
    shown = chained(info.value)
    assert not any(secret in shown for secret in SECRETS)
    return info.value


def use(monkeypatch: pytest.MonkeyPatch, keys: Keys) -> None:
    """Put the keys of a user into the environment."""
    for name, value in keys.environment.items():
        monkeypatch.setenv(name, value)


def test_missing_bucket(objects: ObjectServer, object_keys: None) -> None:
    """A bucket that does not exist is told, by reading and by writing, and is not made."""
    url = objects.url("no-such-bucket", "work")
    refused(url, "no such bucket")
    with closing(open_handler(url, name="f")) as handler:
        for look in (lambda: handler.read("a"), lambda: handler.runs(Query()), handler.count):
            with pytest.raises(StorageError, match="no such bucket"):
                look()


def test_wrong_secret(bucket_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong secret key is an error at once that does not show it."""
    use(monkeypatch, WRONG)
    error = refused(bucket_url, "(?s)refused.*credentials")
    assert "http" not in str(error)


def test_no_credentials(bucket_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that are nowhere are an error at once that says how to give them."""
    for name in ADMIN.environment:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{find_port()}")
    refused(bucket_url, "no credentials.*AWS_ACCESS_KEY_ID")


def test_reader(bucket_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who may only read looks at runs, and is refused where something is written."""
    with closing(open_handler(bucket_url, name="f")) as handler:
        handler.write({"n": 1}, "a")
    use(monkeypatch, READER)
    with closing(open_handler(bucket_url, name="f", patience=60.5)) as handler:
        assert handler.read("a") == {"n": 1}
        assert [header.run_id for header in handler.runs(Query())] == ["a"]
    refused(bucket_url, "(?s)refused.*write", lease=7.0)


@pytest.mark.parametrize(
    "ignored", [{"if-none-match"}, {"if-match"}, {"if-match", "if-none-match"}]
)
def test_store_without_conditions(ignored: set[str], proxy: ObjectProxy, proxy_url: str) -> None:
    """A store that ignores conditions is refused, and no run is stored there."""
    proxy.ignored |= ignored
    error = refused(proxy_url.replace("/work?", "/unproved?"), "(?i)condition|If-")
    assert "If-" in str(error)
    assert not any(kind.split(" ")[1] == "runs" for kind in proxy.kinds())


def test_conditions_are_proved_once(proxy: ObjectProxy, proxy_url: str) -> None:
    """The proof leaves nothing, and is made once for each folder."""
    url = proxy_url.replace("/work?", "/unproved?")
    for patience in (60.0, 61.0):
        with closing(open_handler(url, name="f", patience=patience)) as handler:
            handler.write({"n": 1}, "a")
    kinds = proxy.kinds()
    assert kinds["PUT format"] == 1
    begin = len(proxy.seen)
    with closing(open_handler(url, name="f", patience=62.0)) as handler:
        handler.write({"n": 2}, "a")
    assert not any("probe" in kind for kind in proxy.kinds(begin))


def test_nobody_listens(bucket: str, objects: ObjectServer, object_keys: None) -> None:
    """A store that nobody answers for is out of reach, after `patience`."""
    url = objects.url(bucket, "work", endpoint=f"http://127.0.0.1:{find_port()}")
    begun = time.monotonic()
    with pytest.raises(StoreUnreachableError) as info:
        open_handler(url, name="f", patience=1.0).write({"n": 1}, "a")
    assert time.monotonic() - begun > 0.9
    assert not any(secret in chained(info.value) for secret in SECRETS)


def test_no_secret_is_shown(
    objects: ObjectServer,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Keys in the query work, and neither they nor the query are in any text or file."""
    for name in ADMIN.environment:
        monkeypatch.delenv(name, raising=False)
    caplog.set_level(logging.DEBUG, "aiocheckpoint")
    keys = {"access_key_id": ADMIN.access, "secret_access_key": ADMIN.secret}
    url = objects.url(bucket, "orders", **keys)
    cp: CheckpointFlow[Any] = CheckpointFlow(url)
    cp.add_step(name="a")(lambda state: None)
    cp.run({}, run_id="x")
    (header,) = cp.runs()
    texts = [
        *(repr(cp), repr(cp.handler), cp.handler.locate("x"), cp.handler.flow, repr(header)),
        *(record.getMessage() for record in caplog.records),
        *(str(vars(record)) for record in caplog.records),
        repr(cp.plan(run_id="x")),
    ]
    assert cp.handler.flow == "orders"
    cp.handler.close()
    for text in texts:
        assert ADMIN.secret not in text
        assert "endpoint" not in text
        assert ADMIN.access not in text


REFUSED_URLS = {
    "s3://": "bucket",
    "s3:///work": "bucket",
    "s3://b/work?secret_acess_key=canary": "secret_acess_key",
    "s3://b/work#canary": "#",
    "s3:b/canary": "two slashes.*s3://BUCKET/PREFIX",
    "GS:canary": "two slashes.*gs://BUCKET/PREFIX",
    "s3://ann:canary@b/work": "(?i)user|password|credentials",
    "s3://b/work?endpoint=canary:9000": "no scheme.*'https://'",
}


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AWS_ENDPOINT_URL_S3"])
def test_endpoint_of_the_environment(
    name: str,
    bucket: str,
    objects: ObjectServer,
    object_keys: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server without TLS is reached, as by one in the URL."""
    monkeypatch.setenv(name, objects.endpoint)
    with closing(open_handler(f"s3://{bucket}/work", name="f", patience=1.0)) as handler:
        handler.write({"n": 1}, "a")
        assert handler.read("a")["n"] == 1


def test_endpoint_without_leave_for_http(objects: ObjectServer, bucket: str) -> None:
    """A store of obstore that may not speak to a server without TLS is an error at once."""
    keys = {"access_key_id": ADMIN.access, "secret_access_key": ADMIN.secret}
    client = {"timeout": "5 seconds"}
    store = S3Store(bucket, endpoint=objects.endpoint, client_options=client, **keys)  # type: ignore[arg-type]
    begun = time.monotonic()
    with (
        closing(ObjectStateHandler(store, prefix="work")) as handler,
        pytest.raises(StorageError, match="allow_http") as info,
    ):
        handler.write({"n": 1}, "a")
    assert not isinstance(info.value, StoreUnreachableError)
    assert time.monotonic() - begun < AT_ONCE


def test_the_words_of_the_server(objects: ObjectServer, bucket: str, object_keys: None) -> None:
    """An error has the code and the message of the answer, and not the beginning of its XML."""
    url = objects.url(bucket, "work", access_key_id=ADMIN.access, secret_access_key="wrong")  # noqa: S106
    with (
        closing(open_handler(url, name="f")) as handler,
        pytest.raises(StorageError, match="SignatureDoesNotMatch: The request") as info,
    ):
        handler.write({"n": 1}, "a")
    assert "<" not in str(info.value)


def test_an_empty_prefix(objects: ObjectServer, bucket: str, object_keys: None) -> None:
    """Where nothing is stored, the words are those of a bucket, and of no file."""
    with pytest.raises(StorageError, match="below this prefix") as info:
        inspect(objects.url(bucket, "none"))
    assert "file" not in str(info.value)


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_refused_urls(url: str, object_keys: None) -> None:
    """A URL that cannot be meant is refused at once, with the remedy, and no secret is shown."""
    with pytest.raises(CheckpointError, match=REFUSED_URLS[url]) as info:
        CheckpointFlow(url, name="f")
    assert "canary" not in chained(info.value)


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("lease", 0, InvalidValueError),
        ("lease", "30", InvalidTypeError),
        ("patience", -1, InvalidValueError),
        ("connections", 0, InvalidValueError),
        ("connections", 2.5, InvalidTypeError),
        ("fsync", False, CheckpointError),
        ("retries", 3, CheckpointError),
    ],
)
def test_refused_options(
    option: str,
    value: Any,  # noqa: ANN401
    error: type[Exception],
    bucket_url: str,
) -> None:
    """A wrong option is refused before anything is asked for."""
    with pytest.raises(error, match=option):
        CheckpointFlow(bucket_url, name="f", **{option: value})


def test_store_without_conditional_puts(tmp_path: Any) -> None:  # noqa: ANN401
    """A store of obstore that knows no conditional change is refused."""
    with pytest.raises(InvalidValueError, match="LocalStore"):
        ObjectStateHandler(LocalStore(str(tmp_path)), prefix="work")


def test_store_object(objects: ObjectServer, bucket: str, bucket_url: str) -> None:
    """A store object of obstore, with credentials of its own, is the same place as the URL."""
    store = objects.store(bucket)
    with closing(ObjectStateHandler(store, prefix="work", flow="f")) as handler:
        handler.write({"n": 1}, "a")
        assert ADMIN.secret not in repr(handler)
    with closing(open_handler(bucket_url, name="f")) as handler:
        assert handler.read("a") == {"n": 1}


def test_memory_store() -> None:
    """A store in memory serves tests."""
    cp: CheckpointFlow[Any] = CheckpointFlow("f", handler=ObjectStateHandler(MemoryStore()))
    cp.add_step(name="a")(lambda state: state.update(done=True))
    assert cp.run({}, run_id="x") == {"done": True}
    assert [header.run_id for header in cp.runs()] == ["x"]


def test_signed_elsewhere(bucket_url: str) -> None:
    """A snapshot that another secret has signed is refused."""
    with closing(open_handler(bucket_url, name="f", secret="a" * 32)) as handler:
        handler.write({"n": 1}, "a")
    with (
        closing(open_handler(bucket_url, name="f", secret="b" * 32)) as handler,
        pytest.raises(UntrustedSnapshotError),
    ):
        handler.read("a")


def test_data_only(bucket_url: str) -> None:
    """With `allow=()` plain data goes through, and a function is refused."""
    with closing(open_handler(bucket_url, name="f")) as handler:
        handler.write({"f": print}, "a")
        handler.write({"n": [1, 2.5, "x"]}, "b")
    with closing(open_handler(bucket_url, name="f", allow=())) as handler:
        assert handler.read("b") == {"n": [1, 2.5, "x"]}
        with pytest.raises(UntrustedSnapshotError):
            handler.read("a")


def test_missing_extra(bucket_url: str) -> None:
    """Without obstore the command that installs it is named."""
    code = (
        "import sys; sys.modules['obstore'] = None\n"
        "from aiocheckpoint import CheckpointFlow\n"
        "from aiocheckpoint.errors import MissingExtraError\n"
        f"try: CheckpointFlow({bucket_url!r}, name='f')\n"
        "except MissingExtraError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "pip install 'aiocheckpoint[objects]'" in done.stdout
    assert issubclass(MissingExtraError, ImportError)


def test_import_of_nothing() -> None:
    """A process that uses no object store imports no obstore."""
    code = (
        "import sys; from aiocheckpoint import CheckpointFlow; cp = CheckpointFlow('x.pkl')\n"
        "print([name for name in sys.modules if 'obstore' in name or 'handlers.objects' in name])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_pickled_flow(bucket_url: str) -> None:
    """A handler by URL travels without its credentials."""
    handler = open_handler(bucket_url, name="f")
    handler.write({"n": 1}, "a")
    try:
        sent = pickle.dumps(handler)
    finally:
        handler.close()
    assert ADMIN.secret.encode() not in sent
    with closing(pickle.loads(sent)) as made:
        assert made.read("a") == {"n": 1}
