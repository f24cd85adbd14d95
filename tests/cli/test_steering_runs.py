"""Commands that run something: what they do, say and exit with."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from queued_runs import put_header
from shop import Shop, make_shop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A shop without orders."""
    with make_shop(tmp_path) as shop:
        yield shop


@pytest.mark.parametrize(
    ("state", "words", "code", "line"),
    [
        ({"total": 7}, [], 0, "x  finished"),
        ({"total": 700}, [], 10, "x  paused: pause 1, approval"),
        ({}, ["--until", "approve"], 11, "x  stopped: by until"),
        ({"fraud": True}, [], 12, "x  terminated: fraud"),
        ({"sold out": True}, [], 1, "x  failed: LookupError: sold out"),
    ],
    ids=["finished", "paused", "stopped", "terminated", "failed"],
)
def test_exit_codes_of_run(
    state: dict[str, object], words: list[str], code: int, line: str, shop: Shop
) -> None:
    """The exit code tells how a run ended. Steps print to stdout, and the rest is on stderr."""
    done = shop.does("run", "x", "--state", json.dumps(state), *words)
    assert (done.code, done.out) == (code, "reserving\n")
    assert done.err.splitlines()[-1] == line


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_stdout_is_json_alone(form: str, shop: Shop) -> None:
    """Steps print to stderr where stdout is JSON."""
    done = shop.does("run", "x", "--state", '{"total": 700}', "--output", form)
    assert done.code == 10
    assert "reserving" in done.err
    document = json.loads(done.out)
    record = document["run"] if form == "json" else document
    assert record == {
        "run_id": "x",
        "status": "paused",
        "words": "paused: pause 1, approval",
        "code": 10,
        "error": None,
    }


def test_exception_is_shown_from_the_step_on(shop: Shop) -> None:
    """A traceback has the step, its note, and no frame of the command."""
    done = shop.does("run", "x", "--state", '{"sold out": true}')
    assert re.findall(r'File ".*/(\w+)\.py"', done.err) == [shop.module]
    assert "LookupError: sold out\naiocheckpoint: step 1 of 4, 'reserve', broke" in done.err


def test_exit_of_a_step_is_a_failure(shop: Shop) -> None:
    """A step that calls `sys.exit(0)` has not finished its run."""
    shop.run("x", 1, exits=0)
    done = shop.does("resume", "x")
    assert (done.code, shop.status("x")) == (1, "failed")
    assert "a step has called sys.exit" in done.err


def test_exit_codes_of_refusals(shop: Shop) -> None:
    """A run in progress, and one that is damaged, have exit codes of their own."""
    shop.run("x", 1, declined=True)
    cp = shop.flow()
    with cp.handler.locked("x"):
        for command in ("run", "resume"):
            done = shop.does(command, "x")
            assert (done.code, "is in use by" in done.out + done.err) == (4, True)
    with closing(sqlite3.connect(shop.folder / "orders.db")) as connection, connection:
        connection.execute("UPDATE runs SET payload = 'x'")
    for command in ("run", "resume", "plan", "patch"):
        done = shop.does(command, "x", *(["--set", "a=1"] if command == "patch" else []))
        assert (done.code, "is not a sound snapshot" in done.out + done.err) == (5, True), command
    assert shop.does("resume", "x", "--dry-run").code == 5


@pytest.mark.filterwarnings("default::aiocheckpoint.GivenStateIgnoredWarning")
def test_state_that_is_ignored(shop: Shop) -> None:
    """A given state that the stored run overrules is told, without a line of the command."""
    assert shop.does("run", "--state", '{"total": 1}', "--until", "approve").code == 11
    done = shop.does("run", "--state", '{"total": 2}')
    assert done.code == 0
    assert done.err.startswith("warning: the given state is ignored: the unfinished run")
    assert "GivenStateIgnoredWarning" not in done.err


def test_runs_go_on_where_they_stand(shop: Shop) -> None:
    """A second `run` goes on behind the steps that are done, and `--once` does nothing."""
    assert shop.does("run", "x", "--until", "reserve").code == 11
    assert shop.does("run", "x").out == ""
    assert shop.does("run", "x", "--once").out == ""
    assert shop.does("run", "x").out == "reserving\n"


def test_run_without_an_id(shop: Shop) -> None:
    """No RUN means the run without an id."""
    done = shop.does("run", "--state", '{"total": 1}')
    assert (done.code, done.err) == (0, "(the run without an id)  finished\n")
    assert shop.flow().read() == {"total": 1, "done": True, "checkpoint_index": 0}


@pytest.mark.parametrize("given", ["text", "file", "stdin"])
def test_states(given: str, shop: Shop) -> None:
    """A state is JSON, a file of it, or stdin."""
    text = '{"total": 5, "note": "π"}'
    (shop.folder / "state.json").write_text(text, encoding="utf-8-sig")
    word = {"text": text, "file": "@state.json", "stdin": "-"}[given]
    assert shop.does("run", "x", "--state", word, input=text).code == 0
    assert shop.flow().read("x")["note"] == "π"


def test_plan(shop: Shop) -> None:
    """A plan is in words, runs nothing, and names the state that it would start with."""
    shop.run("x", 1, **{"sold out": True})
    done = shop.does("plan", "x", "--until", "2")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Starts at step 1 of 4, 'reserve', with the stored state: the last")
    assert "Runs 'reserve', 'approve', 'charge'." in done.out.splitlines()
    record = json.loads(shop.does("plan", "new", "--state", "{}", "--output", "json").out)["plan"]
    assert (record["runs"], record["state"]) == (
        ["reserve", "approve", "charge", "invoice"],
        "given",
    )


def test_plan_of_a_paused_run(shop: Shop) -> None:
    """A plan names the pause, and the command that answers it, which `--checkpoint` needs not."""
    shop.run("x", 10, total=700)
    done = shop.does("plan", "x")
    assert "(pause 1)" in done.out
    line = f"What answers the pause: aiocheckpoint approve {shop.target} x --set KEY=VALUE\n"
    assert done.err == line
    assert shop.does("plan", "x", "--checkpoint", "1").err == ""
    assert "(pause 1)" in shop.does("resume", "x", "--dry-run").out


def test_run_that_is_not_stored_is_a_new_one(shop: Shop) -> None:
    """A mistyped id begins a run, which run and plan say. A stored run goes on without a word."""
    planned = shop.does("plan", "typo")
    assert planned.code == 0
    assert planned.err == "nothing is stored of typo: run would begin a new run.\n"
    line = "nothing is stored of typo: this begins a new run."
    done = shop.does("run", "typo", "--state", '{"total": 700}')
    assert done.err.splitlines() == [line, "typo  paused: pause 1, approval"]
    assert "nothing is stored" not in shop.does("run", "typo").err
    assert "nothing is stored" not in shop.does("plan", "typo").err


def test_run_that_has_finished_is_run_anew(shop: Shop) -> None:
    """Who only wants to see the result of a run is told that its steps are done again."""
    shop.run("x", 0, total=7)
    line = "x has finished: this runs it anew. --once does not."
    assert shop.does("run", "x", "--once").err.splitlines() == ["x  finished"]
    assert shop.does("run", "x").err.splitlines() == [line, "x  finished"]


def test_plan_that_is_refused(shop: Shop) -> None:
    """The plan of a terminated run says why it is refused."""
    shop.run("x", 12, fraud=True)
    done = shop.does("plan", "x")
    assert done.code == 12
    assert done.out.startswith("Runs nothing, and is refused with RunTerminatedError")


def test_approval(shop: Shop) -> None:
    """An answer goes to the pause that is named, and values are JSON, else text."""
    shop.run("x", 10, total=700)
    late = shop.does("approve", "x", "--set", "by=Ann", "--answers", "7")
    assert late.code == 6
    assert "pause 7 has not come" in late.err
    assert shop.does("approve", "x", "--set", "by=Ann", "--set", "limit=[1]").code == 0
    state = shop.flow().read("x")
    assert (state["by"], state["limit"]) == ("Ann", [1])
    assert shop.does("approve", "x", "--set", "by=Bob").code == 6


def test_retry(shop: Shop) -> None:
    """A finished run is done again from a step, and a missing one is not begun."""
    shop.run("x", 0)
    done = shop.does("retry", "x", "--from", "charge")
    assert (done.code, done.out, done.err) == (0, "", "x  finished\n")
    assert shop.does("retry", "nope", "--from", "charge").code == 3
    assert shop.flow().header("nope") is None
    assert shop.does("retry", "x", "--from", "pay").code == 2


def test_resume_of_several(shop: Shop) -> None:
    """Each run has its line, and the worst of them makes the exit code."""
    shop.does("run", "a", "--until", "reserve")
    shop.run("b", 1, declined=True)
    shop.run("c", 10, total=700)
    done = shop.does("resume", "-", input="a\nb\nc\nnope\na\n")
    assert sorted(done.out.splitlines()) == [
        "a  finished",
        "b  failed: ValueError: declined",
        "c  paused: pause 1, approval",
        "nope  refused: no such run is stored",
    ]
    assert done.code == 1
    assert shop.does("resume", "a", "c").code == 0
    assert shop.does("resume", "c").code == 10


def test_resume_as_documents(shop: Shop) -> None:
    """Results are one document, or a line each, with the error beside."""
    shop.run("b", 1, declined=True)
    done = shop.does("resume", "b", "nope", "--output", "json")
    runs = json.loads(done.out)["runs"]
    assert {run["run_id"]: run["status"] for run in runs} == {"b": "failed", "nope": "refused"}
    lines = shop.does("resume", "b", "--output", "jsonl").out.splitlines()
    assert [json.loads(line)["error"] for line in lines] == [
        {"type": "ValueError", "message": "declined"}
    ]


def test_dry_run_of_a_resume(shop: Shop) -> None:
    """A dry run has the first line of each plan, and does nothing."""
    shop.run("a", 0)
    shop.run("b", 1, declined=True)
    before = shop.header("b")
    done = shop.does("resume", "a", "b", "--dry-run")
    assert done.out.splitlines() == [
        "a  would stay as it is: the run finished",
        "b  starts at 3/4 'charge', stored state: the last run broke in 'charge' (step)",
    ]
    assert done.err == "1 would run, 1 would not, none refused. Nothing was done.\n"
    assert (done.code, shop.header("b")) == (0, before)


def test_dry_run_behind_changed_steps(shop: Shop) -> None:
    """A run whose steps changed is refused, with the step that was another, and exit code 6."""
    shop.run("b", 1, declined=True)
    later = Shop(shop.folder, f"{shop.module}_later", shop.store)
    source = (shop.folder / f"{shop.module}.py").read_text().replace("def approve", "def check")
    (shop.folder / f"{later.module}.py").write_text(source)
    done = later.does("resume", "b", "--dry-run")
    assert done.out == "b  refused: step 2 was 'approve' when it was stored, and is 'check'\n"
    assert done.err == "none would run, 1 refused. Nothing was done.\n"
    assert done.code == 6
    assert later.does("resume", "b").code == 6


def test_resume_by_filter(shop: Shop) -> None:
    """Filters choose the runs, due or not. `--all` alone takes the runs that are due."""
    shop.run("b", 1, declined=True)
    shop.run("c", 1, declined=True)
    assert shop.does("resume", "--all", "--dry-run").err.startswith("none would run")
    assert shop.does("resume", "--all").out == ""
    dry = shop.does("resume", "--status", "failed", "--dry-run")
    assert len(dry.out.splitlines()) == 2
    done = shop.does("resume", "--status", "failed")
    assert sorted(done.out.splitlines()) == [f"{run}  failed: ValueError: declined" for run in "bc"]
    assert (done.code, done.err.splitlines()[-1]) == (1, "2 failed.")


def test_fail_fast(shop: Shop) -> None:
    """No run is begun after the first that fails."""
    for run in "abc":
        shop.run(run, 1, declined=True)
    done = shop.does("resume", "a", "b", "c", "--limit", "1", "--fail-fast")
    assert (done.code, done.out) == (1, "a  failed: ValueError: declined\n")
    again = shop.does("resume", "a", "b", "c", "--limit", "1")
    assert len(again.out.splitlines()) == 3


def test_submit_and_work(shop: Shop) -> None:
    """Queued runs are done by a worker, which reports each."""
    assert shop.does("submit", "a", "--state", '{"total": 1}').out == "a  queued\n"
    pairs = '["b", {"total": 2}]\n\n["c", {"total": 700}]\n["a", {"total": 3}]\n'
    done = shop.does("submit", input=pairs)
    assert done.code == 6
    assert done.out.splitlines()[:2] == ["b  queued", "c  queued"]
    assert done.out.splitlines()[2].startswith("a  refused: the given state is refused")
    worked = shop.does("work", "--until-empty")
    lines = [line for line in worked.out.splitlines() if line != "reserving"]
    assert sorted(lines) == ["a  finished", "b  finished", "c  paused"]
    assert (worked.code, worked.err) == (0, "2 finished, 1 paused.\n")


def test_worker_for_some_runs(shop: Shop) -> None:
    """The filters of a worker choose its runs."""
    shop.does("submit", input='["a1", {}]\n["b1", {}]\n')
    done = shop.does("work", "--until-empty", "--id", "a*")
    assert done.out.splitlines()[-1] == "a1  finished"
    assert shop.status("b1") == "queued"


def test_submitted_for_later(shop: Shop) -> None:
    """A worker leaves alone what is not due yet, and says that it did nothing."""
    assert shop.does("submit", "a", "--state", "{}", "--due", "2h").code == 0
    done = shop.does("work", "--until-empty", "--output", "json")
    assert (done.code, json.loads(done.out)) == (0, {"version": 1, "runs": []})
    assert shop.status("a") == "queued"


def test_lines_before_a_wrong_one_are_queued(shop: Shop) -> None:
    """A wrong line ends the submit, and is named. The results of the others are shown."""
    done = shop.does("submit", "-", input='["a", {}]\n["b", "secret"]\n["c", {}]\n')
    assert (done.code, done.out) == (2, "a  queued\n")
    assert "line 2 of standard input is no pair" in done.err
    assert "secret" not in done.err
    assert shop.flow().header("c") is None


def test_worker_with_failures(shop: Shop) -> None:
    """A worker that ends as nothing is left has the exit code 1 if a run failed."""
    shop.does("submit", "a", "--state", '{"declined": true}')
    done = shop.does("work", "--until-empty")
    assert done.code == 1
    assert "a  failed: ValueError: declined" in done.out


def test_filters_that_fit_no_run(shop: Shop) -> None:
    """Options that leave no run are wrong usage, in the words of the command line."""
    shop.run("x", 0)
    for words in ("--stale --status failed", "--since 1h --before 2h"):
        for command in ("runs", "count", "work --until-empty", "requeue --dry-run"):
            done = shop.does(*command.split(), *words.split())
            assert done.code == 2, (command, words)
            assert all(word in done.err for word in words.split() if word[0] == "-"), done.err
            assert "stale=" not in done.err
            assert "since=" not in done.err


def test_patch(shop: Shop) -> None:
    """A patch shows what it changes, and changes values, keys and the position."""
    shop.run("x", 1, declined=True, total=3)
    words = ["--set", "total=4", "--set", "note=hi", "--unset", "declined"]
    asks = shop.does("patch", "x", *words)
    assert asks.code == 2
    assert asks.err.splitlines()[:3] == ["~ total  3 -> 4", "+ note  'hi'", "- declined  True"]
    assert shop.flow().read("x")["total"] == 3
    done = shop.does("patch", "x", *words, "--goto", "invoice", "--yes", "--reason", "Ann")
    assert (done.code, done.out) == (0, "x  stopped: by patch\n")
    assert "goes on at 'invoice', not at 'charge'" in done.err
    again = shop.does("patch", "x", "--goto", "invoice", "--yes", "--reason", "Ann")
    assert again.err == "goes on at 'invoice'\n"
    assert shop.flow().read("x") == {"total": 4, "note": "hi", "checkpoint_index": 3}
    assert shop.header("x").actor == "Ann"
    for word, says in (
        ("2", "goes on at 'charge', not at 'invoice'"),
        ("4", "goes on at the end, not at 'invoice'"),
        ("3", "goes on at 'invoice'"),
    ):
        asks = shop.does("patch", "x", "--goto", word)
        assert asks.code == 2
        assert [line for line in asks.err.splitlines() if "goes on" in line] == [says]
    assert "is no step of this flow" in shop.does("patch", "x", "--goto", "5").err
    assert shop.does("patch", "nope", "--set", "a=1", "--yes").code == 3


@pytest.mark.parametrize("chosen", ["--all", "--status failed,stopped"])
def test_dry_run_of_resume_lists_what_it_takes(shop: Shop, chosen: str) -> None:
    """Runs of a newer version, and those in progress, are left alone by a dry run as well."""
    for run_id in ("mine", "newer", "owned"):
        shop.run(run_id, 1, declined=True)
        assert shop.does("requeue", run_id).code == 0
    put_header(shop.flow().handler, "newer", version=7)
    with shop.flow().handler.locked("owned"):
        dry = shop.does("resume", *chosen.split(), "--dry-run")
        assert [line.split()[0] for line in dry.out.splitlines()] == ["mine"]
        assert dry.code == 0
        real = shop.does("resume", *chosen.split())
        assert [line.split()[0] for line in real.out.splitlines()] == ["mine"]
