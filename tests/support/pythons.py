"""The other Pythons of this machine, made able to import the library."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

NEEDED = ("aiocheckpoint", "dill", "anyio", "aiofiles", "idna", "sniffio", "typing_extensions")
SUPPORTED = ((3, 11), (3, 12), (3, 13))


def find_python(version: tuple[int, int]) -> str | None:
    """Give a working Python of this minor version, or None."""
    name = "{}.{}".format(*version)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = sorted(pyenv.glob(f"versions/{name}*/bin/python"))
    for candidate in (shutil.which(f"python{name}"), *map(str, found)):
        if candidate and _is(candidate, name):
            return candidate
    return None


def _is(candidate: str, name: str) -> bool:
    question = "import sys; print('{}.{}'.format(*sys.version_info))"
    done = subprocess.run([candidate, "-c", question], capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.strip() == name


def make_path(place: Path) -> str:
    """Link the packages that the library needs, all pure Python, into a directory for PYTHONPATH.

    The whole of this environment would bring extension modules that another Python cannot load.
    """
    for name in NEEDED:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            source = Path(spec.origin)
            source = source.parent if spec.submodule_search_locations else source
            (place / source.name).symlink_to(source)
    return str(place)


def run_python(python: str, path: str, *words: str, text: str = "", cwd: Path | None = None) -> str:
    """Run a script, given as text, in another Python; return its output."""
    done = subprocess.run(
        [python, "-", *words],
        input=text,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


THIS = sys.version_info[:2]
