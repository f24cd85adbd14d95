"""docs/cli.md is what the parsers and the executed examples give."""

from __future__ import annotations

import re
import subprocess
import sys

from locations import ROOT

from aiocheckpoint import CheckpointFlow
from aiocheckpoint._cli.commands import SUMMARIES
from aiocheckpoint._cli.commands.plan import plan_as_json
from aiocheckpoint._cli.outcomes import Outcome

PAGE = (ROOT / "docs" / "cli.md").read_text("utf-8")


def test_page_is_what_the_commands_give() -> None:
    """The options are the parsers', and each example is executed and prints what is shown."""
    command = [sys.executable, str(ROOT / "docs" / "make_cli_page.py"), "--check"]
    ended = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert ended.stdout == "", "run python docs/make_cli_page.py"
    assert (ended.returncode, ended.stderr) == (0, "")


def tables_of_json() -> list[list[str]]:
    """The names in the first column of each table of the section on JSON."""
    section = PAGE.partition("\n## JSON\n")[2].partition("\n## ")[0]
    tables = re.findall(r"^\|---.*\n((?:\|.*\n)+)", section, re.MULTILINE)
    columns = (re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE) for table in tables)
    return [re.findall(r"`(\w+)`", " ".join(names)) for names in columns]


def test_json_is_described() -> None:
    """The records of each command are, and each key of an outcome and of a plan."""
    commands, outcome, plan = tables_of_json()
    assert sorted(commands) == sorted(SUMMARIES)
    assert outcome == list(Outcome("order-42", "finished").to_json())
    flow = CheckpointFlow("unused.pkl")
    flow.add_step(name="pay")(print)
    assert plan == list(plan_as_json(flow.plan({"total": 7}), None))


def test_each_command_has_an_example_with_its_output() -> None:
    """No section lacks its example, and each example prints or says something."""
    sections = [one.partition("\n") for one in PAGE.split("\n## ")[1:]]
    texts = {name: text for name, _, text in sections if name in SUMMARIES}
    assert [*texts] == [*SUMMARIES]
    for name, text in texts.items():
        assert re.search(rf"^```console\n\$ aiocheckpoint {name} .+\n[^`]+```$", text, re.MULTILINE)
