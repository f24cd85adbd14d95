"""Snapshots, databases and pickles of each released version are read, and their runs resume."""

from __future__ import annotations

import ast
import dataclasses
import json
import pickle
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from forged_snapshots import Pieces
from golden.history import describing
from golden.history.describing import described, public_class

from aiocheckpoint import CheckpointFlow, LocalStateHandler, inspect
from aiocheckpoint._snapshot.header_json import HeaderEncoder, decode_header, encode_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from support import Runner, State

HISTORY = Path(describing.__file__).parent
UNFINISHED = {"stopped", "running", "failed", "cancelled"}
RENAMED = {"moves": "relocates"}
"""Fields of records that have another name now."""


@dataclass(frozen=True)
class Golden:
    """A run that a released version stored, with its expected header, states and steps.

    Attributes:
        version: The version that stored the run.
        facts: The line of the run in expected.json.
    """

    version: str
    facts: dict[str, Any]

    def __str__(self) -> str:
        """Give the id of the run's tests."""
        run = "-".join(filter(None, (self.facts["flow"], self.facts["run_id"])))
        return f"{self.version}-{self.facts['path']}-{run}"

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - any JSON
        """Give one of the facts."""
        return self.facts[name]

    @property
    def status(self) -> str:
        """Give the status in the run's header."""
        return str(ast.literal_eval(self["header"]["status"]))

    @property
    def is_due(self) -> bool:
        """Whether recovery takes the run. One that `until=` has stopped waits since 0.6.0."""
        waits = self["header"].get("stopped_by") == "'until'"
        return self.status in UNFINISHED and not waits

    @property
    def run_id(self) -> str | None:
        """Give the run's id."""
        found: str | None = self["run_id"]
        return found

    @property
    def options(self) -> dict[str, Any]:
        """Give the options of the run's handler."""
        return {name: value for name, value in self["options"].items() if name != "keep_data"}

    def place(self, folder: Path) -> str:
        """Give the path of the run's flow. A slash at its end means a folder."""
        return f"{folder}/{self['path']}"


@dataclass
class GoldenFlows:
    """A current flow with the steps of a golden run, which record their calls."""

    cp: CheckpointFlow
    ran: list[str] = field(default_factory=list[str])
    loaded: list[str] = field(default_factory=list[str])

    @classmethod
    def of(cls, golden: Golden, folder: Path) -> GoldenFlows:
        """Make the flow of a golden run, in a copy of its folder."""
        options: dict[str, Any] = {**golden["options"], "name": golden["flow"], "fsync": False}
        self = cls(CheckpointFlow(golden.place(folder), golden["handler"], **options))
        for step in golden["steps"]:
            self.add_step(step)
        return self

    def add_step(self, name: str) -> None:
        """Add a step that does the same as the writer's."""

        def load(state: State) -> State:
            self.loaded.append(name)
            return {"rows": ["loaded"]}

        def step(state: State, data: State) -> None:
            self.ran.append(name)
            state["done"].append(name)
            data["rows"].append(name)
            state["rows"] = list(data["rows"])

        self.cp.add_step(load=load, name=name)(step)


def versions() -> list[str]:
    """List the versions that wrote golden files."""
    return sorted(found.parent.name for found in HISTORY.glob("*/expected.json"))


def noted(version: str, what: str) -> list[dict[str, Any]]:
    """Read a list of expected.json."""
    text = (HISTORY / version / "expected.json").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(text)[what]
    return found


GOLDEN = [Golden(version, facts) for version in versions() for facts in noted(version, "runs")]
FILES = [one for one in GOLDEN if one["handler"] == "local"]
KEPT = [one for one in GOLDEN if one.facts.get("kept")]
BY_LOCATION = {
    (one.version, one["path"]): [
        other
        for other in GOLDEN
        if (other.version, other["path"], other["flow"]) == (one.version, one["path"], one["flow"])
    ]
    for one in reversed(GOLDEN)
    if one.run_id is not None
}
RECORDS = [
    (version, facts, protocol)
    for version in versions()
    for facts in noted(version, "records")
    for protocol in (2, 5)
]


def as_params(goldens: Iterable[Golden]) -> list[Any]:
    """Make parameters of golden runs."""
    return [pytest.param(one, id=str(one)) for one in goldens]


def differences(then: Any, now: Any, path: str = "") -> Iterator[str]:  # noqa: ANN401
    """Compare descriptions. Records may have new fields, and classes new names."""
    kinds = type(then), type(now)
    if kinds == (dict, dict):
        for name in then:
            found = now.get(name, now.get(RENAMED.get(name)))
            yield from differences(then[name], found, f"{path}.{name}")
    elif kinds == (list, list) and len(then) == len(now):
        for index, one in enumerate(then):
            yield from differences(one, now[index], f"{path}[{index}]")
    elif path.endswith(".class") and public_class(then) is not None:
        if public_class(then) is not public_class(now):
            yield f"{path}: {then} became {now}"
    elif then != now:
        yield f"{path}: {then!r} became {now!r}"


def check_header(golden: Golden, header: object) -> None:
    """Compare a header with the one that the version itself read."""
    assert list(differences(golden["header"], described(header)["fields"])) == []


def check_state(golden: Golden, name: str, state: State) -> None:
    """Compare a state with a recorded one. Records in it are compared by their description."""
    held = [
        [key, described(state.pop(ast.literal_eval(key)))] for key, _ in golden["held"]["items"]
    ]
    assert list(differences(golden["held"]["items"], held)) == []
    assert state == ast.literal_eval(golden[name])


@pytest.fixture
def folder(golden: Golden, tmp_path: Path) -> Path:
    """Give a copy of the folder of a golden run."""
    return copied(golden, tmp_path)


def copied(golden: Golden, folder: Path) -> Path:
    """Copy the folder of a golden run without its modes, which may forbid writing."""
    source, place = HISTORY / golden.version, golden["path"]
    stem = place.rstrip("/").removesuffix(".snapshot")
    for path in sorted((*source.glob(f"{stem}*"), *source.glob(f".{stem}.*"))):
        for file in path.glob("*") if path.is_dir() else (path,):
            target = folder / file.relative_to(source)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(file.read_bytes())
    return folder


def test_there_are_files_of_every_release() -> None:
    """Every released version has golden files, and no other version has."""
    assert versions()[:7] == ["0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0"]
    for one in GOLDEN:
        assert ast.literal_eval(one["header"]["library"]) == one.version


@pytest.mark.parametrize("golden", as_params(FILES))
def test_files_are_read(golden: Golden, folder: Path) -> None:
    """State and header of a file equal the ones that its version read."""
    handler = LocalStateHandler(golden.place(folder), flow=golden["flow"], **golden.options)
    check_header(golden, handler.header(golden.run_id))
    state = handler.read(golden.run_id)
    keys = set(state) - {"checkpoint_index"}
    check_state(golden, "state", state)
    header = inspect(handler.locate(golden.run_id))
    assert header.sizes is not None
    assert set(header.sizes) == keys
    check_header(golden, dataclasses.replace(header, sizes=None))


@pytest.mark.parametrize("golden", as_params(one for one in FILES if one.version >= "0.4"))
def test_headers_are_written_as_before(golden: Golden, folder: Path) -> None:
    """A header that was read is encoded to the same bytes as the version wrote."""
    path = LocalStateHandler(golden.place(folder), flow=golden["flow"]).locate(golden.run_id)
    encoded = Pieces.of(Path(path).read_bytes()).header
    header = decode_header(encoded)
    assert encode_header(header) == encoded
    assert HeaderEncoder().encode(dataclasses.replace(header)) == encoded


@pytest.mark.parametrize("golden", as_params(GOLDEN))
def test_runs_go_on(golden: Golden, folder: Path, runner: Runner) -> None:
    """A run resumes at the step where its version left it. A finished run is not run again."""
    work = GoldenFlows.of(golden, folder)
    cp, run_id = work.cp, golden.run_id
    check_header(golden, cp.header(run_id))
    check_state(golden, "state", cp.read(run_id))
    if golden.status == "terminated":
        assert cp.requeue(run_id).status == "stopped"
    update = {"update": golden["update"]} if golden["update"] else {}
    check_state(golden, "final", runner(cp, run_id=run_id, once=True, **update))
    assert (work.ran, work.loaded) == (golden["ran"], golden["loaded"])
    header = cp.header(run_id)
    assert header is not None
    assert (header.status, header.number, header.run_id) == ("finished", 1, run_id)
    given: State = {"done": [], "rows": []}
    assert runner(cp, given, run_id=run_id)["done"] == golden["steps"]
    assert work.ran == [*golden["ran"], *golden["steps"]]


@pytest.mark.parametrize("golden", as_params(KEPT))
def test_kept_snapshots_are_gone_back_to(golden: Golden, tmp_path: Path) -> None:
    """`checkpoint=` begins with the kept state on entry to the step."""
    names, final = golden["steps"], ast.literal_eval(golden["final"])
    for name in golden["kept"]:
        folder = tmp_path / name
        folder.mkdir()
        work = GoldenFlows.of(golden, copied(golden, folder))
        assert work.cp.plan(checkpoint=name, run_id=golden.run_id).source == "kept"
        rest = names[names.index(name) :]
        state = work.cp.run(checkpoint=name, run_id=golden.run_id)
        assert state == {**final, "done": names, "rows": ["loaded", *rest]}
        assert (work.ran, work.loaded) == (rest, [name])


@pytest.mark.parametrize("golden", as_params(one for one in KEPT if one in FILES))
def test_a_kept_snapshot_replaces_a_damaged_one(golden: Golden, folder: Path) -> None:
    """If the newest snapshot is damaged, the run resumes one step earlier."""
    work = GoldenFlows.of(golden, folder)
    newest = Path(golden.place(folder)).read_bytes()
    for path in folder.rglob("*"):
        if path.is_file() and path.read_bytes() == newest:  # a hard link, before it was copied
            path.write_bytes(newest[:-100])
    assert work.cp.run()["done"] == golden["steps"]
    assert work.ran == [golden["kept"][-1], *golden["ran"]]


def goldens_by_location() -> list[Any]:
    """Make parameters of the folders with several runs of one flow."""
    return [
        pytest.param(several, id=f"{version}-{path}")
        for (version, path), several in reversed(BY_LOCATION.items())
    ]


@pytest.mark.parametrize("goldens", goldens_by_location())
def test_runs_are_listed(goldens: list[Golden], tmp_path: Path) -> None:
    """All runs of a flow are listed, the newest first if the version stored when each began."""
    cp = GoldenFlows.of(goldens[0], copied(goldens[0], tmp_path)).cp
    headers = {header.run_id: header for header in cp.runs()}
    assert set(headers) == {one.run_id for one in goldens}
    for one in goldens:
        check_header(one, headers[one.run_id])
        assert headers[one.run_id].owner is None
    if goldens[0].version >= "0.3":
        assert list(headers) == [one.run_id for one in reversed(goldens)]
    for status in {one.status for one in goldens}:
        wanted = {one.run_id for one in goldens if one.status == status}
        assert {header.run_id for header in cp.runs(status)} == wanted  # type: ignore[arg-type]


@pytest.mark.parametrize("goldens", goldens_by_location())
async def test_all_unfinished_runs_are_resumed(goldens: list[Golden], tmp_path: Path) -> None:
    """Each run that is unfinished and waits for nobody is resumed once, and finishes."""
    cp = GoldenFlows.of(goldens[0], copied(goldens[0], tmp_path)).cp
    results = {result.run_id: result for result in await cp.aresume_all()}
    unfinished = [one for one in goldens if one.is_due]
    assert set(results) == {one.run_id for one in unfinished}
    for one in unfinished:
        result = results[one.run_id]
        assert (result.status, result.error) == ("finished", None)
        assert result.state == ast.literal_eval(one["final"])


@pytest.mark.parametrize("goldens", goldens_by_location())
def test_runs_are_patched(goldens: list[Golden], tmp_path: Path) -> None:
    """A patched unfinished run resumes at the given step, with the patched state."""
    work = GoldenFlows.of(goldens[0], copied(goldens[0], tmp_path))
    for one in goldens:
        if one.status == "finished":
            continue
        work.ran.clear()
        header = work.cp.patch({"patched": one.run_id}, "report", run_id=one.run_id)
        assert (header.status, header.position, header.failure) == ("stopped", 3, None)
        done = ast.literal_eval(one["state"])["done"]
        state = work.cp.run(run_id=one.run_id)
        assert (state["patched"], state["done"]) == (one.run_id, [*done, "report"])
        assert work.ran == ["report"]


@pytest.mark.parametrize("goldens", goldens_by_location())
def test_runs_are_pruned(goldens: list[Golden], tmp_path: Path) -> None:
    """`prune` deletes finished runs by default, others on request, and no more."""
    cp = GoldenFlows.of(goldens[0], copied(goldens[0], tmp_path)).cp
    unfinished = {one.run_id for one in goldens if one.status != "finished"}
    assert cp.prune(0) == len(goldens) - len(unfinished)
    assert {header.run_id for header in cp.runs()} == unfinished
    statuses: Any = {one.status for one in goldens} - {"failed"}
    cp.prune(0, statuses)
    left = {one.run_id for one in goldens if one.status == "failed"}
    assert {header.run_id for header in cp.runs()} == left
    others = [one for one in GOLDEN if one.version == goldens[0].version and one not in goldens]
    for one in others:
        if one["path"] == goldens[0]["path"]:
            check_state(one, "state", GoldenFlows.of(one, tmp_path).cp.read(one.run_id))


def record_params() -> list[Any]:
    """Make parameters of the pickled records."""
    return [
        pytest.param(version, facts, protocol, id=f"{version}-{facts['name']}-{protocol}")
        for version, facts, protocol in RECORDS
    ]


@pytest.mark.parametrize(("version", "facts", "protocol"), record_params())
def test_pickled_records_are_loaded(version: str, facts: dict[str, Any], protocol: int) -> None:
    """A record pickled by a user loads as the current class, with the same fields."""
    with zipfile.ZipFile(HISTORY / version / "records.zip") as file:
        record = pickle.loads(file.read(f"{facts['name']}.{protocol}.pickle"))
    assert type(record) is public_class(facts["class"])
    again = pickle.loads(pickle.dumps(record, protocol))
    for one in (record, again):
        now = described(one)
        assert list(differences(facts, {"name": facts["name"], **now})) == []
    assert type(record).__name__ in repr(record)
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        fields = {RENAMED.get(name, name) for name in facts["fields"]}
        assert fields <= set(dataclasses.asdict(record))


@pytest.mark.parametrize("version", [version for version in versions() if version >= "0.5"])
def test_no_pickle_is_left_out(version: str) -> None:
    """Every pickle is recorded, and every record has its pickles."""
    with zipfile.ZipFile(HISTORY / version / "records.zip") as file:
        pickles = set(file.namelist())
    noted_names = {facts["name"] for facts in noted(version, "records")}
    assert pickles == {f"{name}.{protocol}.pickle" for name in noted_names for protocol in (2, 5)}
