"""Replaces a file or a directory again and again, and is killed in the midst of it.

    python replacing_script.py PATH file|directory|two-steps

Each generation is a number, many times over. Its number is printed once it is in place.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from aiocheckpoint import replacing
from aiocheckpoint.handlers._files import replacement

PARTS = 5


def filling(number: int) -> str:
    """Make the content of a generation."""
    return f"{number} " * (1000 + number * 7919 % 40_000)


def write(temporary: Path, kind: str, number: int) -> None:
    """Write a generation."""
    if kind == "file":
        temporary.write_text(filling(number))
        return
    temporary.mkdir()
    for part in range(PARTS):
        (temporary / f"part-{part}.txt").write_text(filling(number))


def read(path: Path) -> int:
    """Read a generation, which must be whole. 0 where there is none."""
    files = sorted(path.iterdir()) if path.is_dir() else [path] if path.exists() else []
    if not files:
        return 0
    numbers = {int(file.read_text().split()[0]) for file in files}
    (number,) = numbers
    assert all(file.read_text() == filling(number) for file in files)
    assert len(files) == (PARTS if path.is_dir() else 1)
    return number


def main() -> None:
    """Replace until the process is killed."""
    path, kind = Path(sys.argv[1]), sys.argv[2]
    if kind == "two-steps":
        replacement.exchange = lambda one, other: False  # type: ignore[attr-defined]
    with replacing(path.parent / "unused") as temporary:
        temporary.touch()
    first = read(path) + 1
    print("ready", flush=True)  # noqa: T201
    for number in itertools.count(first):
        with replacing(path) as temporary:
            write(temporary, kind, number)
        print(number, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
