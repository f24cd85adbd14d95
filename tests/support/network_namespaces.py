"""A host of its own for processes, in a network namespace, that can be cut off (Linux, root).

The host is joined to this one by a pair of virtual Ethernet devices. Where one of them is down,
packets vanish, and nobody is told. See ip-netns(8) and veth(4).
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

NETWORK = "10.213.0.0/16"
"""The network that all addresses of such hosts are of, and those of this host towards them."""


@dataclass(frozen=True)
class CutOffHost:
    """A host that can be cut off.

    Attributes:
        name: The name of its namespace.
        link: The device on the side of this host.
        here: The address of this host, as the other one knows it.
    """

    name: str
    link: str
    here: str

    @property
    def prefix(self) -> list[str]:
        """The words before a command that is to be executed there."""
        return ["ip", "netns", "exec", self.name]

    def cut(self) -> None:
        """Let all packets vanish, in both directions."""
        _ip("link", "set", self.link, "down")

    def join(self) -> None:
        """Let packets pass again."""
        _ip("link", "set", self.link, "up")


@contextmanager
def cut_off_host() -> Generator[CutOffHost]:
    """Give a joined host, which is removed at the end, with its network."""
    number = random.SystemRandom().randrange(1, 1 << 14)
    name, base = f"aio{number}", f"10.213.{number >> 6}.{number % 64 * 4}"
    here, there = (f"{base.rpartition('.')[0]}.{number % 64 * 4 + last}" for last in (1, 2))
    host = CutOffHost(name, f"{name}a", here)
    _ip("netns", "add", name)
    try:
        _ip("link", "add", host.link, "type", "veth", "peer", "name", f"{name}b", "netns", name)
        _ip("addr", "add", f"{here}/30", "dev", host.link)
        _ip("-n", name, "addr", "add", f"{there}/30", "dev", f"{name}b")
        for device in ("lo", f"{name}b"):
            _ip("-n", name, "link", "set", device, "up")
        host.join()
        yield host
    finally:
        # The pair of devices goes with one of them, and that with the last process there.
        with suppress(subprocess.CalledProcessError):
            _ip("link", "delete", host.link)
        _ip("netns", "delete", name)


@cache
def why_no_namespaces() -> str | None:
    """Say why no such host can be made here. None if it can."""
    if shutil.which("ip") is None:
        return "needs the program ip: apt-get install iproute2"
    if os.geteuid() != 0:
        return "needs root, who alone may make network namespaces"
    try:
        with cut_off_host():
            return None
    except subprocess.CalledProcessError as error:
        return f"network namespaces cannot be made here: {error.stderr.strip()}"


def _ip(*words: str) -> None:
    program = shutil.which("ip")
    assert program is not None
    subprocess.run([program, *words], capture_output=True, text=True, check=True)
