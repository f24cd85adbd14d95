"""How a snapshot gets to the disk: whole or not at all, in the right order, and tidily."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
import traced_run_script
from support import FlowFactory, Runner
from tracing import Call, needs_strace, trace

from aiocheckpoint import LocalStateHandler, StorageError

SCRIPT = Path(traced_run_script.__file__)


# --- the order of system calls


def traced_snapshots(tmp_path: Path, runner: str, durable: str) -> list[list[Call]]:
    """Run a flow of three steps under strace; give the calls of each of its four snapshots."""
    place = tmp_path / "place"
    place.mkdir()
    traced = trace([SCRIPT, place, runner, durable], tmp_path / "log")
    assert traced.status == 0, traced.stderr
    snapshots: list[list[Call]] = []
    for call in traced.on(place):
        if call.name == "openat" and ".tmp" in call.text:
            snapshots.append([])
        if snapshots and ".lock" not in call.text:
            snapshots[-1].append(call)
    assert len(snapshots) == 4
    return snapshots


@pytest.mark.strace
@needs_strace
@pytest.mark.parametrize("runner", ["run", "arun"])
def test_order_of_calls(runner: str, tmp_path: Path) -> None:
    """Each snapshot: an exclusive temporary beside the file, write, fsync, rename, fsync again."""
    for calls in traced_snapshots(tmp_path, runner, "fsync"):
        names = [call.name for call in calls]
        assert names == [
            *("openat", "write", "fsync", "close", "rename"),
            *("openat", "fsync", "close"),
        ]
        created, written, flushed, closed, renamed, opened, flushed_dir, _ = calls
        assert "O_EXCL" in created.text
        assert "O_CREAT" in created.text
        assert "O_NOFOLLOW" in created.text
        assert "0600" in created.text
        temporary = created.text.split('"')[1]
        assert Path(temporary).parent == tmp_path / "place"
        for call in (written, flushed, closed):
            assert f"<{temporary}>" in call.text
        assert renamed.text.split('"')[1::2] == [temporary, str(tmp_path / "place/checkpoint.pkl")]
        assert "O_DIRECTORY" in opened.text
        assert f"<{tmp_path / 'place'}>" in flushed_dir.text


@pytest.mark.strace
@needs_strace
@pytest.mark.parametrize("runner", ["run", "arun"])
def test_no_fsync_means_none_at_all(runner: str, tmp_path: Path) -> None:
    """Without fsync nothing waits for the disk, and the new file still comes in one step."""
    for calls in traced_snapshots(tmp_path, runner, "no-fsync"):
        names = [call.name for call in calls]
        assert names[:3] == ["openat", "write", "close"]
        assert names[3:] in (["rename"], ["renameat2", "unlink"], ["renameat2", "rename"])
        assert "O_EXCL" in calls[0].text
        assert "0600" in calls[0].text


@pytest.mark.strace
@needs_strace
def test_missing_directories_are_made_durably(tmp_path: Path) -> None:
    """Each directory that had to be made is flushed into the one above it."""
    place = tmp_path / "deep" / "er"
    traced = trace([SCRIPT, place, "run", "fsync"], tmp_path / "log")
    assert traced.status == 0, traced.stderr
    calls = [call for call in traced.on(tmp_path) if ".lock" not in call.text]
    names = [call.name for call in calls[:8]]
    assert names == ["mkdir", "openat", "fsync", "close"] * 2
    assert f"<{tmp_path}>" in calls[2].text
    assert f"<{tmp_path / 'deep'}>" in calls[6].text


# --- modes, names, leftovers


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("before", [None, 0o644, 0o400, 0o666])
def test_only_the_owner_may_read(
    umask: int, before: int | None, runner: Runner, flows: FlowFactory
) -> None:
    """The file has mode 0600, whatever the umask, and whatever mode it had before."""
    if before is not None:
        flows.path.write_bytes(b"")
        flows.path.chmod(before)
    old = os.umask(umask)
    try:
        runner(flows.flow("a"), {"secret": 1})
    finally:
        os.umask(old)
    assert stat.S_IMODE(flows.path.stat().st_mode) == 0o600


@pytest.mark.skipif(os.name != "posix", reason="POSIX limits the length of each name")
def test_long_name_stays_short_enough(tmp_path: Path) -> None:
    """A file whose temporaries just have room for their names is replaced however often."""
    fits = os.pathconf(tmp_path, "PC_NAME_MAX") - len(LEFT) + len("checkpoint.pkl")
    handler = LocalStateHandler(tmp_path / ("n" * fits), fsync=False)
    for number in range(20):
        handler.write({"n": number})
    assert handler.read()["n"] == number


LEFT = ".checkpoint.pkl.0123456789abcdef.tmp"
OTHERS = [
    *("checkpoint.pkl.tmp", ".checkpoint.pkl.tmp", ".checkpoint.pkl.0123.tmp"),
    *(".checkpoint.pkl.0123456789ABCDEF.tmp", ".checkpoint.pkl.0123456789abcdef.tmp~"),
    *(".checkpoint_pkl.0123456789abcdef.tmp", "x.checkpoint.pkl.0123456789abcdef.tmp"),
    *(".checkpoint.one.pkl.0123456789abcdef.tmp", ".other.pkl.0123456789abcdef.tmp"),
]


@pytest.mark.leaves_files
def test_leftovers_are_cleared(runner: Runner, flows: FlowFactory) -> None:
    """A run clears the temporaries of dead writers of its own file, and nobody else's."""
    for name in (LEFT, *OTHERS):
        (flows.path.parent / name).write_text("left", encoding="ascii")
    runner(flows.flow("a"))
    left = {path.name for path in flows.path.parent.iterdir()}
    assert left == {"checkpoint.pkl", *OTHERS}


@pytest.mark.leaves_files
def test_leftovers_behind_a_link_are_cleared(
    runner: Runner, flows: FlowFactory, tmp_path: Path
) -> None:
    """Where the file is a link, the temporaries lie beside what it points to."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    flows.path.symlink_to(elsewhere / "real.pkl")
    (elsewhere / ".real.pkl.0123456789abcdef.tmp").write_text("left", encoding="ascii")
    runner(flows.flow("a"))
    assert sorted(path.name for path in elsewhere.iterdir()) == ["real.pkl"]


@pytest.mark.parametrize("length", [200, 230, 240, 255])
def test_long_file_names(length: int, runner: Runner, tmp_path: Path) -> None:
    """A name that the system allows works, or is refused before any step runs."""
    flows = FlowFactory(tmp_path / ("n" * (length - 4) + ".pkl"))
    try:
        runner(flows.flow("a"), {"n": 1})
    except StorageError as error:
        assert error.errno == errno.ENAMETOOLONG  # noqa: PT017
        assert flows.log == []
    else:
        assert flows.stored()["n"] == 1
