"""What is wrong with the server of a store, and with its tables, without a look at a run."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from aiocheckpoint._errors.owner import describe_process
from aiocheckpoint._texts import MOST_EXAMPLES, counted
from aiocheckpoint.look._findings import FindingView, named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint.handlers.postgres._health import ServerFacts

__all__ = ["findings_of_server"]

MANY_DEAD_ROWS = 50_000
"""Fewer are vacuumed in no time, and the server counts only now and then."""
CLOCK_SECONDS = 30.0
_SECONDS_A_MINUTE = 60
_CONFIGURE = "Set {} = on in the configuration of the server."


def findings_of_server(facts: ServerFacts) -> Iterator[FindingView]:
    """Say what is wrong with a server, and then what is good to know of it."""
    return chain(
        _about_tables(facts),
        _about_durability(facts),
        _about_vacuum(facts),
        _about_owners(facts),
        _hints(facts),
    )


def _about_tables(facts: ServerFacts) -> Iterator[FindingView]:
    if facts.level < facts.newest_level:
        yield FindingView(
            kind="schema",
            problem=f"The tables in the schema {facts.schema!r} are of version {facts.level}, and "
            f"this release makes {facts.newest_level}.",
            remedy="The next flow of this release that writes brings them up to date, if its user "
            "may change tables.",
        )
    missing = facts.missing_indexes
    if missing:
        yield FindingView(
            kind="index",
            problem="Indexes are missing or invalid, so that whole tables are read: "
            f"{named(missing[:MOST_EXAMPLES], len(missing))}.",
            remedy="Create them anew, by the SQL in docs/postgres.md.",
            count=len(missing),
        )


def _about_durability(facts: ServerFacts) -> Iterator[FindingView]:
    for setting, harm in _HARM.items():
        if facts.settings.get(setting) == "off":
            yield FindingView(
                kind="durability",
                problem=f"The server has {setting}=off, so that {harm}.",
                remedy=_CONFIGURE.format(setting),
            )
    unlogged = [one.name for one in facts.tables if one.is_unlogged and one.name != "uptime"]
    if unlogged:
        yield FindingView(
            kind="durability",
            problem=f"{counted(len(unlogged), 'table', ('is', 'are'))} unlogged, so that a crash "
            f"of the server empties them: {named(unlogged[:MOST_EXAMPLES], len(unlogged))}.",
            remedy="ALTER TABLE ... SET LOGGED mends it.",
            count=len(unlogged),
        )


_HARM = {
    "fsync": "a power cut loses or damages all of it",
    "full_page_writes": "a power cut damages tables",
    "synchronous_commit": "a crash of it loses the snapshots that were stored just before",
}
"""What a setting that is off does."""


def _about_vacuum(facts: ServerFacts) -> Iterator[FindingView]:
    never = [one.name for one in facts.tables if one.is_never_vacuumed]
    if facts.settings.get("autovacuum") == "off":
        yield FindingView(
            kind="vacuum",
            problem="The server has autovacuum=off, so that its tables grow without end.",
            remedy=_CONFIGURE.format("autovacuum"),
        )
    elif never:
        yield FindingView(
            kind="vacuum",
            problem="Autovacuum is off for "
            f"{counted(len(never), 'table', ('which grows', 'which grow'))} without end: "
            f"{named(never[:MOST_EXAMPLES], len(never))}.",
            remedy="ALTER TABLE ... RESET (autovacuum_enabled) mends it.",
            count=len(never),
        )
    for one in facts.tables:
        if one.dead > max(MANY_DEAD_ROWS, one.live):
            yield FindingView(
                kind="vacuum",
                problem=f"The table {one.name!r} has {one.dead:,} dead rows and {one.live:,} live "
                "ones: a transaction that stays open keeps them, or autovacuum is too slow.",
                remedy="End transactions of hours, which pg_stat_activity lists, and run VACUUM "
                "on the table.",
            )


def _about_owners(facts: ServerFacts) -> Iterator[FindingView]:
    gone = facts.gone_owners
    if gone:
        names = [describe_process(one.pid, one.host) for one in gone[:MOST_EXAMPLES]]
        yield FindingView(
            kind="owner",
            problem=f"{counted(len(gone), 'owner')} of runs {'is' if len(gone) == 1 else 'are'} "
            f"gone without having released them: {named(names, len(gone))}.",
            remedy="A worker or resume_all() goes on with them.",
            count=len(gone),
        )


def _hints(facts: ServerFacts) -> Iterator[FindingView]:
    if facts.is_standby:
        yield _hint(
            "standby",
            "The server is a standby, so that it can be looked at, and no run can be stored in it.",
            "Give flows the primary, or several hosts with target_session_attrs=read-write.",
        )
    if facts.is_pooled:
        yield _hint(
            "pooler",
            "A pooler stands between, so that the runs of a killed process are taken over after "
            "its lease, and waiters look once in a while.",
            "Connect to the server itself where that is too slow.",
        )
    if abs(facts.clock_ahead) > CLOCK_SECONDS:
        way = "ahead of" if facts.clock_ahead > 0 else "behind"
        yield _hint(
            "clock",
            f"The clock of the server is {_duration(abs(facts.clock_ahead))} {way} that of this "
            "machine. No lease depends on it. Times in lists, and those of `since` and `before`, "
            "are by the clocks of the machines that run.",
            "Let both synchronise their clocks.",
        )


def _hint(kind: str, problem: str, remedy: str) -> FindingView:
    return FindingView(kind=kind, problem=problem, remedy=remedy, hint=True)


def _duration(seconds: float) -> str:
    minutes = round(seconds / _SECONDS_A_MINUTE)
    return f"{minutes:,} min" if minutes > 1 else f"{seconds:.0f} s"
