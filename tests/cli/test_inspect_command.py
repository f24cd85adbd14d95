"""`aiocheckpoint inspect`: one file, wherever it is, executing nothing of it."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cli import invoke

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from support import State

SECRET = "s" * 32
GOLDEN = """\
file       FOLDER/orders.order-42.pkl
run        order-42 of orders
snapshot   2 of run 1, N bytes
status     ✗ failed
stands at  1/1 charge
broke on   ValueError in its part 'step'
began      TIME
written    N s ago by aiocheckpoint VERSION, Python VERSION, dill VERSION
holds      a state
signature  none
digests    right
KEY    TYPE  BYTES  DIGEST{title}
item   str      14  HEX{item}
price  dict     21  HEX{price}
"""


class Canary:
    """Makes a directory when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.path,)


def make_flow(place: Path, **options: Any) -> CheckpointFlow:  # noqa: ANN401
    """A flow whose only step fails."""
    cp = CheckpointFlow(place, name="orders", fsync=False, **options)

    @cp.add_step()
    def charge(state: State) -> None:
        if not state.get("fine"):
            raise ValueError(state["item"])

    return cp


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of a run that failed."""
    cp = make_flow(tmp_path / "orders.pkl")
    with pytest.raises(ValueError, match="gift"):
        cp.run({"item": "gift", "price": {"cents": 7}}, run_id="order-42")
    return Path(cp.handler.locate("order-42"))


def golden(text: str, folder: Path) -> str:
    """The output with all that varies replaced."""
    for pattern, word in (
        (re.escape(str(folder)), "FOLDER"),
        (r"[\d,]+ bytes", "N bytes"),
        (r"\d+ s ago", "N s ago"),
        (r"began      .*", "began      TIME"),
        (r"[0-9a-f]{16}", "HEX"),
        (r"(aiocheckpoint|Python|dill) [\w.+]+", r"\1 VERSION"),
    ):
        text = re.sub(pattern, word, text)
    return text


def test_a_file(file: Path, tmp_path: Path) -> None:
    """The header, the checks and the keys are shown, values where they are asked for."""
    done = invoke("inspect", file.name, cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert golden(done.out, tmp_path) == GOLDEN.format(title="", item="", price="")
    shown = invoke("inspect", file.name, "--values", cwd=tmp_path)
    assert golden(shown.out, tmp_path).replace("DIGEST            ", "DIGEST  ") == GOLDEN.format(
        title="  VALUE", item="  'gift'", price="  {'cents': 7}"
    )


def test_copies_and_kept_snapshots(tmp_path: Path) -> None:
    """A file is looked at wherever it is: its header says whose it is."""
    cp = make_flow(tmp_path / "orders.pkl", keep="all")
    cp.run({"item": "gift", "fine": True}, run_id="order-42")
    copy = tmp_path / "elsewhere.bin"
    shutil.copyfile(cp.handler.locate("order-42"), copy)
    (kept,) = tmp_path.glob(".orders.order-42.pkl.kept/1-1")
    for path, status in ((copy, "finished"), (kept, "running")):
        done = invoke("inspect", path, "--output", "json")
        run = json.loads(done.out)["run"]
        assert (done.code, run["run_id"], run["status"]) == (0, "order-42", status)
        assert run["keys"][0]["key"] == "item"
        assert run["keys"][0]["value"] is None


def test_damage(file: Path, tmp_path: Path) -> None:
    """A wrong digest is told beside what the header says, and a broken header alone."""
    content = file.read_bytes()
    file.write_bytes(content.replace(b"gift", b"lift", 1))
    done = invoke("inspect", file.name, cwd=tmp_path)
    assert done.code == 5
    assert "run        order-42 of orders" in done.out
    assert "\ndigests    damaged: " in done.out
    assert "KEY" not in done.out
    file.write_bytes(content[:-5])
    broken = invoke("inspect", file.name, cwd=tmp_path)
    assert (broken.code, broken.out) == (5, "")
    file.write_bytes(b"")
    assert invoke("inspect", file.name, cwd=tmp_path).code == 5


def test_a_bare_pickle(tmp_path: Path) -> None:
    """A file of gumly has no header but its position."""
    (tmp_path / "bare.pkl").write_bytes(pickle.dumps({"a": 1, "checkpoint_index": 2}))
    done = invoke("inspect", "bare.pkl", "--values", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert "written" not in done.out
    assert done.out.splitlines()[-1].split()[:3] == ["a", "int", "6"]


def test_signatures(tmp_path: Path) -> None:
    """A signature is checked with a secret, and without one that is said."""
    cp = make_flow(tmp_path / "orders.pkl", secret=SECRET)
    cp.run({"item": "gift", "fine": True})
    words = ("inspect", "orders.pkl")
    assert "(not verified: no secret given)" in invoke(*words, cwd=tmp_path).out
    right = invoke(*words, "--secret-env", "KEY", cwd=tmp_path, env={"KEY": SECRET})
    assert (right.code, "(verified)" in right.out) == (0, True)
    wrong = invoke(*words, "--secret-env", "KEY", cwd=tmp_path, env={"KEY": "x" * 32})
    assert wrong.code == 5
    assert "digests    damaged: " in wrong.out
    assert SECRET not in right.out + right.err


def test_nothing_is_executed(tmp_path: Path) -> None:
    """Values that would act when unpickled are shown, and do nothing."""
    mark = tmp_path / "mark"
    cp = CheckpointFlow(tmp_path / "orders.pkl", fsync=False)
    cp.add_step(name="lay")(lambda state: state.update({"\x1b[2J": Canary(mark)}))
    cp.run({})
    mark.rmdir()  # A value of a new type is loaded back once when it is stored.
    for form in ("text", "json", "jsonl"):
        done = invoke("inspect", "orders.pkl", "--values", "--output", form, cwd=tmp_path)
        assert (done.code, done.err) == (0, "")
        assert "mkdir" in done.out
        assert "\x1b" not in done.out
    assert not mark.exists()


def test_other_targets(tmp_path: Path) -> None:
    """A store of many runs, a module and a missing file are told apart."""
    cp = CheckpointFlow(f"sqlite:///{tmp_path}/orders.db", fsync=False)
    cp.add_step(name="send")(lambda state: None)
    cp.run({})
    cp.handler.close()
    before = (tmp_path / "orders.db").read_bytes()
    for target in ("orders.db", ".", "shop:cp"):
        done = invoke("inspect", target, cwd=tmp_path)
        assert (done.code, done.out) == (2, "")
        assert "by show" in done.err
    assert invoke("inspect", "missing.pkl", cwd=tmp_path).code == 3
    assert (tmp_path / "orders.db").read_bytes() == before
