"""What `check_store` and the command doctor find on servers that are not as they should be."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from cli import invoke
from looked_at import SERVER, make_store
from postgres_runs import execute

from aiocheckpoint import CheckpointFlow
from aiocheckpoint.handlers.postgres import _health
from aiocheckpoint.handlers.postgres._schema import MIGRATIONS
from aiocheckpoint.look import FindingView, _health_server, check_store, open_store

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from pgbouncer import PgBouncer
    from postgres_server import PostgresInstallation, PostgresServer

SETTINGS = ("fsync", "full_page_writes", "synchronous_commit", "autovacuum")
SOUND = dict.fromkeys(SETTINGS, "on")
KILLED = """
import os, sys
from aiocheckpoint import CheckpointFlow
cp = CheckpointFlow(sys.argv[1], name="orders")
cp.add_step(name="reserve")(lambda state: os.kill(os.getpid(), 9))
cp.run({}, run_id="killed")
"""


@pytest.fixture(scope="module")
def sound(postgres_installation: PostgresInstallation) -> Generator[PostgresServer]:
    """Give a server whose settings are as they should be."""
    with postgres_installation.server(**SOUND) as server:
        yield server


@pytest.fixture
def url(sound: PostgresServer, tmp_path: Path) -> Generator[str]:
    """Give the URL of a store with a few runs on it."""
    database = sound.create_database()
    made = sound.url(database, schema="orders")
    (tmp_path / SERVER).write_text(made, "utf-8")
    make_store(tmp_path, SERVER)
    yield made
    sound.drop_database(database)


def found(url: str) -> list[FindingView]:
    """What is found in a store."""
    with open_store(url) as store:
        return list(check_store(store))


def kinds(url: str) -> list[str]:
    """What the findings are about."""
    return [one.kind for one in found(url)]


def test_a_sound_server(url: str) -> None:
    """Nothing is found, and the exit code is 0."""
    assert found(url) == []
    done = invoke("doctor", url)
    assert (done.code, done.out) == (0, "")
    assert "nothing is wrong" in done.err


def test_settings_that_lose_data(
    postgres_installation: PostgresInstallation, tmp_path: Path
) -> None:
    """Each setting that is off is a finding, with what it does and the remedy."""
    with postgres_installation.server(**dict.fromkeys(SETTINGS, "off")) as server:
        (tmp_path / SERVER).write_text(server.url(), "utf-8")
        make_store(tmp_path, SERVER)
        findings = found(server.url())
        assert [one.kind for one in findings] == [*(3 * ["durability"]), "vacuum"]
        for name, one in zip(SETTINGS, findings, strict=True):
            assert f"{name}=off" in one.problem
            assert name in one.remedy
        assert invoke("doctor", server.url()).code == 1


STATEMENTS = {
    "missing": ("DROP INDEX runs_due", "index", "'runs_due'"),
    "invalid": (
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'runs_by_status'::regclass",
        "index",
        "'runs_by_status'",
    ),
    "unlogged": ("ALTER TABLE kept SET UNLOGGED", "durability", "'kept'"),
    "never vacuumed": (
        "ALTER TABLE runs SET (autovacuum_enabled = false)",
        "vacuum",
        "'runs'",
    ),
}


@pytest.mark.parametrize("case", STATEMENTS)
def test_tables_that_were_changed(case: str, url: str) -> None:
    """A missing or invalid index, an unlogged table, and one never vacuumed are named."""
    statement, kind, name = STATEMENTS[case]
    execute(url, statement)
    (finding,) = found(url)
    assert finding.kind == kind
    assert name in finding.problem


def test_tables_of_an_earlier_release(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables that lack the last migration are named with both versions."""
    monkeypatch.setattr(_health, "MIGRATIONS", (*MIGRATIONS, *MIGRATIONS))
    (finding,) = found(url)
    assert finding.kind == "schema"
    assert "of version 1, and this release makes 2" in finding.problem


def test_dead_rows(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table with more dead rows than live ones is named."""
    monkeypatch.setattr(_health_server, "MANY_DEAD_ROWS", 50)
    execute(url, "ALTER TABLE draining_owners SET (autovacuum_vacuum_threshold = 1000000)")
    execute(url, "INSERT INTO draining_owners SELECT n::text FROM generate_series(1, 100) AS n")
    assert found(url) == []
    execute(url, "DELETE FROM draining_owners")
    (finding,) = found(url)
    assert finding.kind == "vacuum"
    assert "'draining_owners' has 100 dead rows and 0 live ones" in finding.problem


def test_owners_that_are_gone(url: str) -> None:
    """A killed process and its runs are named, until somebody has taken them over."""
    done = subprocess.run([sys.executable, "-c", KILLED, url], check=False)
    assert done.returncode == -9
    owner, stale = found(url)
    assert (owner.kind, stale.kind) == ("owner", "stale")
    assert "1 owner of runs is gone" in owner.problem
    assert "process" in owner.problem
    done_by_hand = invoke("doctor", url)
    assert done_by_hand.code == 1
    assert "the command resume package.module:flow --all" in done_by_hand.out


def test_a_pooler_is_good_to_know(pooler: PgBouncer) -> None:
    """A pooler is a hint."""
    pooled = pooler.url(schema="doctor_behind_a_pooler")
    direct = pooler.server.url(schema="doctor_behind_a_pooler")
    cp = CheckpointFlow(direct, name="orders")
    cp.add_step(name="reserve")(lambda state: None)
    cp.run({}, run_id="x")
    cp.handler.close()
    hints = [one for one in found(pooled) if one.hint]
    assert [one.kind for one in hints] == ["pooler"]
    assert "good to know: A pooler stands between" in invoke("doctor", pooled).out
    pooler.server.sql("DROP SCHEMA doctor_behind_a_pooler CASCADE")


@pytest.mark.parametrize("ahead", [-3600.0, 0.0, 5.0, 3600.0])
def test_clocks(ahead: float, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is far off is a hint, in minutes, and a near one is none."""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - ahead)
    findings = found(url)
    if abs(ahead) < 30:
        assert findings == []
        return
    (finding,) = findings
    assert (finding.kind, finding.hint) == ("clock", True)
    assert f"60 min {'ahead of' if ahead > 0 else 'behind'}" in finding.problem
    done = invoke("doctor", url, "--output", "json")
    assert done.code == 0
    assert json.loads(done.out)["findings"][0]["hint"] is True
