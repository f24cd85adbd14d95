"""A JupyterLab of its own on localhost, whose folders, settings and trust are the tests' own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import nbformat
from nbformat.sign import NotebookNotary

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

PATIENCE = 60.0
# All cells are drawn, also those out of sight, and nobody asks for news of the project.
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none", "kernelShutdown": True},
    "apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
}
# They would look for language servers, and start terminals.
UNUSED = {"jupyter_lsp": False, "jupyter_server_terminals": False}


@dataclass(frozen=True)
class Lab:
    """A JupyterLab that is running.

    Attributes:
        url: Its address, which ends with a slash.
        token: Its password.
        folder: The folder with its notebooks.
        environment: The variables that it was started with.
    """

    url: str
    token: str
    folder: Path
    environment: dict[str, str]

    def put(self, name: str, notebook: Any, *, trusted: bool) -> Path:  # noqa: ANN401
        """Write a notebook into the folder, and give its path.

        Args:
            name: Its file name, without the suffix.
            notebook: A notebook of `nbformat`.
            trusted: Whether the user has trusted it.
        """
        path = self.folder / f"{name}.ipynb"
        nbformat.write(notebook, path)  # type: ignore[no-untyped-call]
        written = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        notary = NotebookNotary(data_dir=self.environment["JUPYTER_DATA_DIR"])  # type: ignore[no-untyped-call]
        # What is trusted is a content, whatever its file.
        (notary.sign if trusted else notary.unsign)(written)  # type: ignore[no-untyped-call]
        notary.store.close()
        return path


@contextmanager
def jupyter_lab(home: Path) -> Generator[Lab]:
    """Start a JupyterLab, and end it with the block.

    Args:
        home: An empty folder for all that it writes.
    """
    environment = _environment(home)
    token = secrets.token_hex()
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--expose-app-in-browser"),
        *(f"--ServerApp.root_dir={home / 'notebooks'}", f"--IdentityProvider.token={token}"),
        *("--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", "--ServerApp.allow_root=True"),
        *("--LabApp.extension_manager=readonly", f"--ServerApp.jpserver_extensions={UNUSED}"),
    ]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=home)
    try:
        url = _address(home, server)
        yield Lab(url, token, home / "notebooks", environment)
    finally:
        _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server. It may hang in the end of an extension, and its kernels end with it."""
    server.terminate()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait(PATIENCE)


def _environment(home: Path) -> dict[str, str]:
    folders = {
        "HOME": home,
        "IPYTHONDIR": home / "ipython",
        "JUPYTER_CONFIG_DIR": home / "config",
        "JUPYTER_DATA_DIR": home / "data",
        "JUPYTER_RUNTIME_DIR": home / "runtime",
        "JUPYTERLAB_SETTINGS_DIR": home / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces",
    }
    for folder in (*folders.values(), home / "notebooks"):
        folder.mkdir(parents=True, exist_ok=True)
    for name, values in SETTINGS.items():
        file = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    return {**os.environ, **{name: str(folder) for name, folder in folders.items()}}


def _address(home: Path, server: subprocess.Popen[bytes]) -> str:
    """Wait until the server answers, and give its address. Its process writes it into a file."""
    file = home / "runtime" / f"jpserver-{server.pid}.json"
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        if file.exists() and (text := file.read_text()):
            return str(json.loads(text)["url"])
        time.sleep(0.05)
    raise RuntimeError(f"JupyterLab did not start:\n{(home / 'log').read_text()}")
