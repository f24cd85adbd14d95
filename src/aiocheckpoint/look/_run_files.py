"""Which files of runs have changed since the last look, in a place with a file for each run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from aiocheckpoint.handlers._files.marks import FileMark

if TYPE_CHECKING:
    from aiocheckpoint.look._places import StorePlace

__all__ = ["RunFiles"]


class RunFiles:
    """Looks at times and lengths of all files of runs, and opens none.

    Args:
        place: A directory, or a file with those of other runs beside it.
    """

    def __init__(self, place: StorePlace) -> None:
        self._paths = place.run_paths
        self._marks: dict[str, tuple[FileMark, ...]] = {}

    def changed(self) -> set[str | None] | None:
        """Give the runs whose files have changed since the last look, all for the first one.

        A run whose files have just changed is given once more.

        Returns:
            Their ids. None where a changed file does not say whose it is, as the name of a long id
            is its digest, or where the directory cannot be read.
        """
        try:
            found = self._paths.found()
        except OSError:
            return None
        marks: dict[str, tuple[FileMark, ...]] = {}
        for path in found.paths:
            beside = found.leftovers.get(os.path.basename(path), ())
            names = (path, *(os.path.join(self._paths.directory, name) for name in beside))
            marks[path] = tuple(map(FileMark.of_any, names))
        before, self._marks = (
            self._marks,
            {
                path: one if all(map(FileMark.is_settled, one)) else ()
                for path, one in marks.items()
            },
        )
        changed = {path for path in marks if marks[path] != before.get(path)}
        return self._ids(changed | (before.keys() - marks.keys()))

    def _ids(self, paths: set[str]) -> set[str | None] | None:
        try:
            return {self._paths.run_id_of(path) for path in paths}
        except ValueError:
            return None
