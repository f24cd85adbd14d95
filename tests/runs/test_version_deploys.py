"""Deploys that replace workers of one version of a flow by ones of the next, on one store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from version_deploys import LOCATIONS, check_trail, deploy_versions

if TYPE_CHECKING:
    from pathlib import Path


DEPLOYS = {"sqlite": (60, [2, 3, 3]), "directory": (30, [2, 3])}


@pytest.mark.parametrize("kind", LOCATIONS)
def test_every_run_ends_once(kind: str, tmp_path: Path) -> None:
    """A step is added, renamed, removed. None is left out, or repeated but after a kill."""
    runs, versions = DEPLOYS[kind]
    deploy_versions(tmp_path, kind, "no-fsync", runs, versions)


def test_the_check_sees_a_step_that_is_left_out() -> None:
    """A run that another version has taken over does all its steps from there on."""
    old = [("fetch", 1), ("check", 1)]
    check_trail([*old, ("pay", 1), ("mail", 3)])
    check_trail([*old, ("reserve", 2), ("pay", 2), ("mail", 3)])
    for wrong in ([*old, ("pay", 2)], [*old, ("reserve", 3), ("mail", 3)], [*old, ("pay", 1)]):
        with pytest.raises(AssertionError, match="left out"):
            check_trail(wrong)
