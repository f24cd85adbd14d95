"""The page of the architecture names modules that exist, and every package of the library."""

from __future__ import annotations

import re

import pytest
from locations import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
SOURCE = ROOT / "src" / "aiocheckpoint"
NAMED = sorted(set(re.findall(r"`([\w/]+\.py|[\w/]+/)`", PAGE)))
QUESTIONS = re.findall(r"^\| ([^|]+\?) \| ([^|]+) \|$", PAGE, re.MULTILINE)


def packages() -> list[str]:
    """Give the packages of the library, as the page writes them."""
    faces = SOURCE.rglob("__init__.py")
    folders = [face.parent.relative_to(SOURCE).as_posix() for face in faces]
    return sorted(f"{folder}/" for folder in folders if folder != ".")


@pytest.mark.parametrize("name", NAMED)
def test_named_module_exists(name: str) -> None:
    """Every module and package that the page names is there."""
    path = SOURCE / name
    inside = [SOURCE / package / name for package in ("_display", "handlers", "_snapshot")]
    assert path.exists() or any(one.exists() for one in inside)


@pytest.mark.parametrize("name", packages())
def test_package_is_on_the_map(name: str) -> None:
    """Every package of the library is named on the page."""
    assert name in NAMED or f"{name.rstrip('/').rpartition('/')[2]}/" in NAMED


def test_each_question_has_its_modules() -> None:
    """The questions of a newcomer are answered with one module or two."""
    assert len(QUESTIONS) >= 8
    for question, answer in QUESTIONS:
        assert 1 <= len(re.findall(r"`[\w/]+\.py`", answer)) <= 2, question
