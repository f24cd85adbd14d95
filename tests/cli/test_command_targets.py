"""The target of a command: by form, by default, and never guessed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from cli import Invoked, invoke
from order_store import store_orders

from aiocheckpoint import CheckpointFlow
from aiocheckpoint._cli.target import Target

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMS = {
    "service:cp": True,
    "package.module:flow": True,
    "größe:läufe": True,
    "orders.db": False,
    "runs/": False,
    "./service:cp": False,
    "sqlite:///orders.db": False,
    "a:b:c": False,
    "1a:b": False,
    "a.:b": False,
    "C:\\orders.db": False,
    "service:": False,
    "service:cp\n": False,
}


@pytest.mark.parametrize("text", FORMS)
def test_form(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The form tells a module from a store."""
    monkeypatch.chdir(tmp_path)
    assert Target.parse(text).is_module is FORMS[text]


def test_file_of_such_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose name has the form of a module is a store."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "service:cp").touch()
    assert not Target.parse("service:cp").is_module


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """A folder with the database and the module of orders."""
    return store_orders(tmp_path)


def first_run(*words: str, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """The first of the listed runs."""
    done = invoke("runs", *words, "--output", "jsonl", "--limit", "1", cwd=cwd, env=env)
    assert done.code == 0, done.err
    first: str = json.loads(done.out)["run_id"]
    return first


@pytest.mark.parametrize(
    "target",
    ["orders.db", "./orders.db", "sqlite:///orders.db", "service:cp", "sqlite:///{}/orders.db"],
)
def test_targets(target: str, orders: Path) -> None:
    """A path, a URL and a module lead to the same runs."""
    assert first_run(target.format(orders), cwd=orders) == "order-61"


def test_options_of_modules(orders: Path) -> None:
    """A module may be elsewhere, and its attribute may make the flow."""
    (orders / "elsewhere").mkdir()
    words = ("service:make", "--factory", "--app-dir", str(orders))
    # The flow's path is relative, and so it is that of the current directory.
    assert first_run(*words, cwd=orders) == "order-61"
    assert invoke("runs", *words, cwd=orders / "elsewhere").code == 3


def test_default_of_the_environment(orders: Path) -> None:
    """AIOCHECKPOINT_TARGET is the target that is left out. A word may still name another."""
    env = {"AIOCHECKPOINT_TARGET": "orders.db"}
    assert first_run(env=env, cwd=orders) == "order-61"
    assert invoke("runs", "nothing.db", env=env, cwd=orders).code == 3
    assert invoke("show", "order-42", env=env, cwd=orders).code == 0
    assert invoke("show", "orders.db", "order-42", env=env, cwd=orders).code == 0
    assert invoke("show", "order-1", env=env, cwd=orders).code == 3


def test_default_of_the_project(orders: Path) -> None:
    """The target of pyproject.toml comes behind that of the environment."""
    (orders / "pyproject.toml").write_text('[tool.aiocheckpoint]\ntarget = "service:cp"\n')
    assert first_run(cwd=orders) == "order-61"
    assert invoke("runs", env={"AIOCHECKPOINT_TARGET": "nothing.db"}, cwd=orders).code == 3


PROJECTS = {
    "other tables": ("[project]\nname = 'shop'\n", "no target is given"),
    "no target": ("[tool.aiocheckpoint]\n", "no target is given"),
    "no text": ("[tool.aiocheckpoint]\ntarget = 5\n", "is no text"),
    "misspelt": ("[tool.aiocheckpoint]\ntraget = 'a:b'\n", "has the key 'traget'"),
    "no TOML": ("[tool.aiocheckpoint]\ntarget = \n", "pyproject.toml"),
    "no table": ("[tool.aiocheckpointer]\n[tool]\naiocheckpoint = 5\n", "pyproject.toml"),
}


@pytest.mark.parametrize("case", PROJECTS)
def test_projects_without_a_target(case: str, tmp_path: Path) -> None:
    """A project without a target, or with a wrong one, is a matter of usage."""
    text, words = PROJECTS[case]
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    done = invoke("runs", cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert words in done.err


@pytest.mark.parametrize("word", ["./orders.db", "service:cp", "sqlite:///orders.db"])
def test_word_that_may_be_either(word: str, orders: Path) -> None:
    """Under a default, a word that may be a target or a run is refused, not guessed."""
    env = {"AIOCHECKPOINT_TARGET": "orders.db"}
    done = invoke("show", word, env=env, cwd=orders)
    assert (done.code, done.out) == (2, "")
    assert "may be a target or a run" in done.err
    assert invoke("show", "--target", "orders.db", word, env=env, cwd=orders).code == 3


def test_default_target_that_is_given_as_well(orders: Path) -> None:
    """The very default may be given. A pasted command then works with and without one."""
    words = ("show", "orders.db", "order-42")
    plain = invoke(*words, cwd=orders)
    assert plain.code == 0
    done = invoke(*words, env={"AIOCHECKPOINT_TARGET": "orders.db"}, cwd=orders)
    assert (done.code, done.out) == (0, plain.out)


REFUSED = {
    "service:nothing": "has no attribute 'nothing'. It has cp.",
    "service:make": "add --factory",
    "service:make_later --factory": "service:make_later is an async function",
    "service:make_none --factory": "is no CheckpointFlow, but None",
    "nowhere:cp": "there is no module 'nowhere' in ",
    "service:cp --flow bills": "--flow is for bare stores",
    "service:cp --secret-env KEY": "--secret-env is for bare stores",
}


@pytest.mark.parametrize("words", REFUSED)
def test_refused_modules(words: str, orders: Path) -> None:
    """A module target that cannot be used is a matter of usage."""
    done = invoke("runs", *words.split(), cwd=orders)
    assert (done.code, done.out) == (2, "")
    assert REFUSED[words] in done.err
    assert "Traceback" not in done.err


def test_variables_for_other_targets(orders: Path) -> None:
    """Variables that are for bare stores do not keep a module from being used."""
    env = {"AIOCHECKPOINT_FLOW": "bills", "AIOCHECKPOINT_SECRET_ENV": "KEY"}
    assert first_run("service:cp", env=env, cwd=orders) == "order-61"


def test_module_that_does_not_import(orders: Path) -> None:
    """Its traceback is shown, of its own frames alone and at most eight, before the words."""
    (orders / "bad.py").write_text(
        "def deep(n):\n    return deep(n - 1) if n else 1 / 0\n\ndeep(50)\n", encoding="utf-8"
    )
    done = invoke("runs", "bad:cp", cwd=orders)
    assert (done.code, done.out) == (2, "")
    lines = done.err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert all("bad.py" in line for line in lines if line.startswith("  File "))
    assert 0 < sum(line.startswith("  File ") for line in lines) <= 8
    assert lines[-2] == "ZeroDivisionError: division by zero"
    assert lines[-1] == "aiocheckpoint: the module 'bad' cannot be imported."


def test_module_that_the_library_refuses(orders: Path) -> None:
    """The traceback ends in the module, and its last line stands once."""
    text = 'from aiocheckpoint import CheckpointFlow\ncp = CheckpointFlow("x.pkl", secret="a")\n'
    (orders / "bad.py").write_text(text, encoding="utf-8")
    done = invoke("runs", "bad:cp", cwd=orders)
    assert (done.code, done.out) == (2, "")
    assert [line for line in done.err.splitlines() if line.startswith("  File ")] == [
        f'  File "{orders}/bad.py", line 2, in <module>'
    ]
    assert done.err.count("at least 32 bytes") == 1


def test_project_that_nobody_needs(orders: Path) -> None:
    """A pyproject.toml that cannot be read does not matter where the target is given."""
    (orders / "pyproject.toml").write_text("[tool.aiocheckpoint]\ntarget = \n", encoding="utf-8")
    assert invoke("count", "orders.db", cwd=orders).code == 0
    assert invoke("show", "orders.db", "order-42", cwd=orders).code == 0
    assert invoke("delete", "orders.db", "order-42", "--dry-run", cwd=orders).code == 2


@pytest.mark.ordinary
def test_directory_without_the_right(tmp_path: Path) -> None:
    """A directory that may not be read is named, and not a file in it."""
    (tmp_path / "runs").mkdir(0o000)
    done = invoke("runs", "runs", cwd=tmp_path)
    (tmp_path / "runs").chmod(0o700)
    assert (done.code, done.out) == (1, "")
    assert f"reading {tmp_path}/runs failed: " in done.err
    assert "may this user read it?" in done.err


def test_file_of_strangers(tmp_path: Path) -> None:
    """A file that is no store is told as a target, and not as a run to reset."""
    (tmp_path / "rand.db").write_bytes(b"\x93\x11" * 2_000)
    done = invoke("count", "rand.db", cwd=tmp_path)
    assert (done.code, done.out) == (5, "")
    assert "Is it the right target?" in done.err
    assert "reset" not in done.err


def test_bare_stores_execute_nothing(orders: Path) -> None:
    """A module beside the store is not imported."""
    done = invoke("runs", "orders.db", cwd=orders)
    assert (done.code, done.err) == (0, "")
    assert not (orders / "__pycache__").exists()


def test_module_without_a_store(orders: Path) -> None:
    """A flow that has stored nothing yet is told apart from one that does not exist."""
    (orders / "orders.db").unlink()
    done = invoke("runs", "service:cp", cwd=orders)
    assert done.code == 3
    assert not (orders / "orders.db").exists()


def test_flow_of_dicts(tmp_path: Path) -> None:
    """A handler of plain dicts has no snapshots to look at."""
    (tmp_path / "plain.py").write_text(
        "from aiocheckpoint import CheckpointFlow\n"
        "class Dicts:\n"
        "    def __init__(self, path): ...\n"
        "    def read(self): return {}\n"
        "    def write(self, state): ...\n"
        "cp = CheckpointFlow('x', handler=Dicts)\n",
        encoding="utf-8",
    )
    done = invoke("runs", "plain:cp", cwd=tmp_path)
    assert done.code == 2
    assert "has no snapshots to look at" in done.err


def test_settings_of_the_environment(orders: Path) -> None:
    """Options have variables of their name. An option on the command line comes first."""
    env = {"AIOCHECKPOINT_OUTPUT": "json", "AIOCHECKPOINT_NO_HEADER": "1"}

    def listed(*words: str, **more: str) -> Invoked:
        return invoke("runs", "orders.db", *words, env={**env, **more}, cwd=orders)

    assert listed().out.startswith('{\n  "version"')
    assert listed("--output", "text").out.startswith("order-61")
    assert listed("--output=text", AIOCHECKPOINT_NO_HEADER="0").out.startswith("6 runs")
    assert listed(AIOCHECKPOINT_OUTPUT="yaml").code == 2
    assert listed(AIOCHECKPOINT_FLOW="bills").code == 3


def test_wrong_setting_is_named(orders: Path) -> None:
    """A wrong value of a variable is told apart from one of the command line."""
    done = invoke("runs", "orders.db", env={"AIOCHECKPOINT_COLOR": "pink"}, cwd=orders)
    assert done.code == 2
    assert "AIOCHECKPOINT_COLOR" in done.err


def test_place_without_a_password(tmp_path: Path) -> None:
    """A password in a URL is not repeated."""
    done = invoke("runs", "mysql://ann:geheim@db/orders", cwd=tmp_path)
    assert done.code == 2
    assert "geheim" not in done.out + done.err


URL = "sqlite://ann:it'sgeheim@h/x.db"


@pytest.mark.parametrize(
    ("words", "env"),
    [
        ((URL,), {}),
        (("flows", "sqlite:///orders.db", URL), {}),
        (("show", "orders.db", URL), {}),
        (("show", URL), {"AIOCHECKPOINT_TARGET": URL.replace("ann", "bob")}),
        (("runs", "orders.db", f"--nothing={URL}"), {}),
        (("runs", "orders.db", "--status", URL), {}),
        (("runs", "orders.db", "--since", URL), {}),
        (("runs", "orders.db", "--color", URL), {}),
        (("runs", "orders.db"), {"AIOCHECKPOINT_OUTPUT": URL}),
        (("inspect", URL), {}),
    ],
)
def test_words_without_a_password(
    words: tuple[str, ...], env: dict[str, str], orders: Path
) -> None:
    """No message repeats a password of a word, wherever the word was given by mistake."""
    done = invoke(*words, env=env, cwd=orders)
    assert done.code != 0
    assert "geheim" not in done.out + done.err
    assert "***@h/x.db" in done.err


def test_target_without_a_password() -> None:
    """Nor do questions and prompts, which name the target alone."""
    assert str(Target.parse("sqlite://ann:geheim@h/x.db")) == "sqlite://***@h/x.db"


def test_default_target_without_a_password(orders: Path) -> None:
    """Nor that of the target in pyproject.toml."""
    (orders / "pyproject.toml").write_text(f'[tool.aiocheckpoint]\ntarget = "{URL}"\n')
    done = invoke("show", "orders.db", cwd=orders)
    assert done.code == 2
    assert "geheim" not in done.err
    assert "'sqlite://***@h/x.db'" in done.err


def test_file_of_one_run(tmp_path: Path) -> None:
    """A file with the run without an id is a store."""
    cp = CheckpointFlow(tmp_path / "train.pkl", fsync=False)
    cp.add_step(name="fit")(lambda state: None)  # pyright: ignore[reportArgumentType]
    cp.run({"rate": 0.1})
    done = invoke("runs", "train.pkl", "--no-header", cwd=tmp_path)
    assert (done.code, done.out.split()[:3]) == (0, ["(no", "id)", "✓"])
