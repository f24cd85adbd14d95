"""Words that are wrong for the commands that steer runs: exit code 2, and what mends it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest
from cli import invoke
from shop import Shop, make_shop

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


@pytest.fixture
def shop(tmp_path: Path) -> Generator[Shop]:
    """A shop with one paused order."""
    with make_shop(tmp_path) as shop:
        shop.run("x", 10, total=700)
        yield shop


WRONG = {
    """run x --state '{"pin": hunter2}'""": "--state is no JSON: Expecting value at line 1, col",
    """run x --state '["hunter2"]'""": "--state is an array, not a JSON object",
    """run x --state '"hunter2"'""": "--state is a string, not a JSON object",
    "run x --state 7": "--state is a number, not a JSON object",
    "run x --state true": "--state is a boolean, not a JSON object",
    """run x --state '{"a": NaN}'""": "--state holds NaN, an infinity, or a number",
    "run x --state": "--state: expected one argument",
    "run x --state @nothing.json": "--state names a file, 'nothing.json', that cannot be read: No",
    "run x --state @.": "that cannot be read: Is a directory",
    "run x --state -": "--state from standard input is no JSON",
    "run x --state - --update -": "cannot both be read from standard input",
    "run x --update []": "--update is an array",
    """run x --update '{}' --state '{}'""": (
        "--update resumes a paused run from its stored state, at the step that paused it: "
        "leave out the state and --checkpoint"
    ),
    "run x --wait soon": "--wait takes a number of seconds, from 0 on",
    "run x --wait -1": "--wait takes a number of seconds, from 0 on",
    "run x --wait nan": "--wait takes a number of seconds, from 0 on",
    "run x --checkpoint pay": "--checkpoint 'pay' is no step of this flow. Its steps are",
    "run x --checkpoint 9": "--checkpoint 9 is no step",
    "run x --until reserve": "--until 'reserve' is before 'approve'",
    "run x --once --checkpoint 1": "once",
    "run x y": "'y' is a word too many: the command takes one run",
    "run x --stat {}": "unrecognized arguments: --stat",
    "plan x --state 7": "--state is a number",
    "plan x --until nope": "--until 'nope' is no step",
    "resume": "name the runs",
    "resume x --all": "not both",
    "resume x --status failed": "not both",
    "resume --status broken": "there is no status 'broken'",
    "resume --status finished": "finished runs do not go on",
    "resume x --limit 0": "--limit takes a number of runs, from 1 on",
    "resume x --limit many": "--limit takes a number of runs, from 1 on",
    "retry x": "the following arguments are required: --from",
    "retry x --from pay": "--from 'pay' is no step",
    "approve x --set by": "--set takes KEY=VALUE",
    "approve x --set =hunter2": "--set takes KEY=VALUE",
    "approve x --set a=1 --set a=2": "--set a=... is given twice",
    "approve x --answers one": "invalid int value",
    "submit y": "give the state of the run by --state",
    "submit --state {}": "--state is the state of one run: name the run",
    "submit y --state {} --due soon": "'soon' is no time",
    "submit y --state {} --due 1x": "'1x' is no time",
    "work x": "'x' is a word too many: the command takes no run",
    "work --limit -3": "--limit takes a number",
    "work --output json": "Take --output jsonl for a worker",
    "work --status terminated --until-empty": "terminated runs do not go on",
    "patch x": "nothing is to be changed: give --set, --unset or --goto",
    "patch x --set a=1 --unset a": "--set and --unset both name 'a'",
    "patch x --unset nope --yes": "the stored state has none of this name",
    "patch x --goto pay --yes": "--goto 'pay' is no step",
    "patch x --goto 5 --yes": "--goto 5 is no step",
    "patch x --set checkpoint_index=abc --yes": "'checkpoint_index', which is reserved",
    "patch x --set a=1": "Nobody can be asked here: add --yes",
    "requeue": "name the runs",
    "requeue x --tried 0": "--tried counts attempts",
    "terminate --yes": "name the runs",
    "terminate x": "Nobody can be asked here: add --yes",
    "delete --yes": "name the runs",
    "delete x": "Nobody can be asked here: add --yes",
    "prune": "the following arguments are required: --older-than",
    "prune --older-than 30": "'30' is no duration",
    "prune --older-than -3d": "--older-than",
    "prune --older-than 3d --status done": "there is no status 'done'",
    "backup": "name it behind the target",
    "run x --secret-file k": "unrecognized arguments: --secret-file",
    "requeue x --secret-file k": "--secret-file is for bare stores",
}


@pytest.mark.parametrize("command", sorted({words.split()[0] for words in WRONG}))
def test_wrong_words(command: str, shop: Shop) -> None:
    """A wrong word has the exit code 2, names what is wrong, shows no value, and does nothing."""
    before = shop.header("x"), shop.flow().read("x")
    for words, problem in WRONG.items():
        if words.split()[0] == command:
            done = shop.does(*shlex.split(words))
            assert (done.code, done.out) == (2, ""), words
            assert problem in done.err
            assert "hunter2" not in done.err
    assert (shop.header("x"), shop.flow().read("x")) == before
    assert shop.flow().header("y") is None


def test_bare_store_runs_nothing(shop: Shop) -> None:
    """What loads a state or runs a step needs a flow, and says why and what to give."""
    for words in (
        "run x",
        "plan x",
        "resume x",
        "retry x --from a",
        "approve x",
        "submit x --state {}",
        "work",
        "patch x --set a=1",
    ):
        done = shop.bare(*words.split())
        assert (done.code, done.out) == (2, ""), words
        assert "needs the code of the flow, and orders.db is a bare store" in done.err
        assert "package.module:attribute" in done.err


def test_lines_that_are_no_pairs(shop: Shop) -> None:
    """Each kind of wrong line on stdin is named by its number."""
    for line in ("7", "[]", '["y"]', "[1, {}]", '["y", 1]', '["y", {}, 3]', "{", '{"y": {}}'):
        done = shop.does("submit", "-", input=f"\n{line}\n")
        assert (done.code, done.out) == (2, "")
        assert "line 2 of standard input is no" in done.err, line


def test_text_that_is_none(shop: Shop) -> None:
    """A file that is no UTF-8 is refused with its name."""
    (shop.folder / "state.json").write_bytes(b'{"a": "\xff"}')
    done = shop.does("run", "y", "--state", "@state.json")
    assert (done.code, "and is none" in done.err) == (2, True)
    assert shop.does("run", "y", "--state", "@a\0b").code == 2
    assert shop.does("run", "y", "--state", "[" * 100_000).code == 2


def test_run_ids_of_strangers(shop: Shop) -> None:
    """Control characters of a run id are shown, and never sent to the terminal."""
    done = shop.does("resume", "a\x1b[31m", "--dry-run")
    assert (done.code, done.out) == (3, "a\\x1b[31m  refused: no such run is stored\n")
    shop.flow().submit({"declined": True}, run_id="b\x1b[2J")
    assert shop.does("run", "b\x1b[2J").code == 1
    done = shop.bare("delete", "b\x1b[2J", "--write")
    assert "b\\x1b[2J" in done.err
    assert "\x1b" not in done.err
    assert shop.does("run", "").code == 2


def test_store_of_a_users_own_handler(tmp_path: Path) -> None:
    """A flow that stores dicts runs, and has nothing to back up or make smaller."""
    (tmp_path / "own_handler.py").write_text(
        "from aiocheckpoint import CheckpointFlow\n"
        "class Own:\n"
        "    def __init__(self, path): self.stored = {}\n"
        "    def read(self): return dict(self.stored)\n"
        "    def write(self, state): self.stored = dict(state)\n"
        "cp = CheckpointFlow('x', Own)\n"
        "cp.add_step(name='a')(lambda state: None)\n"
    )
    assert invoke("run", "own_handler:cp", cwd=tmp_path).code == 0
    assert invoke("plan", "own_handler:cp", cwd=tmp_path).code == 0
    for words in (
        "backup own_handler:cp copy",
        "compact own_handler:cp",
        "resume own_handler:cp x",
    ):
        done = invoke(*words.split(), cwd=tmp_path)
        assert done.code == 2, words
        assert "Own" in done.err + done.out, words
