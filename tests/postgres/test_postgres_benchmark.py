"""The benchmark of PostgreSQL measures what it says. Nothing here asserts a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarking import run_benchmark

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from postgres_server import PostgresServer


def test_figures(
    postgres: PostgresServer, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each pair and figure is printed and written, and the schemas are gone at the end."""
    monkeypatch.setenv("POSTGRES_URL", database_url)
    monkeypatch.setenv("POOLER_URL", database_url)
    arguments = ("--rounds=1", "--runs=20", "--no-rivals")

    printed, written = run_benchmark("postgres", arguments, tmp_path)

    subjects = [pair["subject"] for pair in written["pairs"]]
    assert [subject.partition(",")[0] for subject in subjects] == [
        *["aiocheckpoint on PostgreSQL"] * 2,
        *("with a round trip of 10 ms", "behind a pooler", "one run"),
    ]
    assert all(subject in printed for subject in subjects)
    for pair in written["pairs"]:
        assert len(pair["subject_samples"]) == len(pair["base_samples"]) == 1
        assert pair["goal"]
    assert [one["goal"] for one in written["extra"].values()] == ["at most 1.5", "at most 1"]
    assert database_url not in printed + str(written)
    database = database_url.partition("?")[0].rpartition("/")[2]
    found = postgres.sql(
        "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'bench%%'", database=database
    )
    assert found == []
