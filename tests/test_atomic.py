"""How a snapshot gets to the disk: whole or not at all, in the right order, and tidily."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import durable_script
import pytest
from support import Door, Lab, State
from tracing import Call, needs_strace, trace

from aiocheckpoint import LocalStateHandler, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

SCRIPT = Path(durable_script.__file__)


# --- the order of system calls


def traced_snapshots(tmp_path: Path, door: str, durable: str) -> list[list[Call]]:
    """Run a flow of three steps under strace; give the calls of each of its four snapshots."""
    place = tmp_path / "place"
    place.mkdir()
    traced = trace([SCRIPT, place, door, durable], tmp_path / "log")
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
@pytest.mark.parametrize("door", ["run", "arun"])
def test_order_of_calls(door: str, tmp_path: Path) -> None:
    """Each snapshot: an exclusive temporary beside the file, write, fsync, rename, fsync again."""
    for calls in traced_snapshots(tmp_path, door, "fsync"):
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
@pytest.mark.parametrize("door", ["run", "arun"])
def test_no_fsync_means_none_at_all(door: str, tmp_path: Path) -> None:
    """Without fsync nothing waits for the disk, and the new file still comes in one step."""
    for calls in traced_snapshots(tmp_path, door, "no-fsync"):
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
def test_only_the_owner_may_read(umask: int, before: int | None, door: Door, lab: Lab) -> None:
    """The file has mode 0600, whatever the umask, and whatever mode it had before."""
    if before is not None:
        lab.path.write_bytes(b"")
        lab.path.chmod(before)
    old = os.umask(umask)
    try:
        door(lab.flow("a"), {"secret": 1})
    finally:
        os.umask(old)
    assert stat.S_IMODE(lab.path.stat().st_mode) == 0o600


LEFT = ".checkpoint.pkl.0123456789abcdef.tmp"
OTHERS = [
    *("checkpoint.pkl.tmp", ".checkpoint.pkl.tmp", ".checkpoint.pkl.0123.tmp"),
    *(".checkpoint.pkl.0123456789ABCDEF.tmp", ".checkpoint.pkl.0123456789abcdef.tmp~"),
    *(".checkpoint_pkl.0123456789abcdef.tmp", "x.checkpoint.pkl.0123456789abcdef.tmp"),
    *(".checkpoint.one.pkl.0123456789abcdef.tmp", ".other.pkl.0123456789abcdef.tmp"),
]


@pytest.mark.leaves_files
def test_leftovers_are_cleared(door: Door, lab: Lab) -> None:
    """A run clears the temporaries of dead writers of its own file, and nobody else's."""
    for name in (LEFT, *OTHERS):
        (lab.path.parent / name).write_text("left", encoding="ascii")
    door(lab.flow("a"))
    left = {path.name for path in lab.path.parent.iterdir()}
    assert left == {"checkpoint.pkl", *OTHERS}


@pytest.mark.leaves_files
def test_leftovers_behind_a_link_are_cleared(door: Door, lab: Lab, tmp_path: Path) -> None:
    """Where the file is a link, the temporaries lie beside what it points to."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    lab.path.symlink_to(elsewhere / "real.pkl")
    (elsewhere / ".real.pkl.0123456789abcdef.tmp").write_text("left", encoding="ascii")
    door(lab.flow("a"))
    assert sorted(path.name for path in elsewhere.iterdir()) == ["real.pkl"]


@pytest.mark.parametrize("length", [200, 230, 240, 255])
def test_long_file_names(length: int, door: Door, tmp_path: Path) -> None:
    """A name that the system allows works, or is refused before any step runs."""
    lab = Lab(tmp_path / ("n" * (length - 4) + ".pkl"))
    try:
        door(lab.flow("a"), {"n": 1})
    except StorageError as error:
        assert error.errno == errno.ENAMETOOLONG  # noqa: PT017
        assert lab.log == []
    else:
        assert lab.stored()["n"] == 1


# --- limits and full disks


@contextmanager
def limit(name: str) -> Generator[Callable[[int], None], None, None]:
    """Give a way to lower a limit of this process, which is undone in the end."""
    resource = pytest.importorskip("resource", reason="limits are of POSIX")
    kind = getattr(resource, name)
    soft, hard = resource.getrlimit(kind)
    try:
        yield lambda value: resource.setrlimit(kind, (value, hard))
    finally:
        resource.setrlimit(kind, (soft, hard))


def check_step_fails(lab: Lab, door: Door, spoil: Callable[[], None], number: int) -> StorageError:
    """Run a flow in whose second step something happens; the snapshot after it must fail."""

    def step(state: State) -> None:
        state["rows"] = "x" * 300_000
        spoil()

    cp = lab.flow("a")
    cp.add_step(name="b")(step)
    with pytest.raises(StorageError) as info:
        door(cp, {})
    assert info.value.errno == number
    assert info.value.path == str(lab.path)
    return info.value


def check_goes_on(lab: Lab, door: Door) -> None:
    """See that what was stored is the state before the second step, and the run goes on there."""
    assert lab.stored() == {"loads": ["a"], "trail": ["a"], "checkpoint_index": 1}
    assert sorted(path.name for path in lab.path.parent.iterdir()) == ["checkpoint.pkl"]
    lab.log.clear()
    assert door(lab.flow("a", "b"))["trail"] == ["a", "b"]
    assert lab.ran() == ["b"]


@pytest.mark.parametrize("size", [1, 5000, 299_999])
def test_limit_of_a_files_size(size: int, door: Door, lab: Lab) -> None:
    """A short write at the limit of a file's size is an error, not half a snapshot."""
    with limit("RLIMIT_FSIZE") as lower:
        check_step_fails(lab, door, lambda: lower(size), errno.EFBIG)
    check_goes_on(lab, door)


def test_out_of_descriptors(door: Door, lab: Lab) -> None:
    """Where no file can be opened any more, the error says so, and the run goes on later."""
    taken: list[int] = []

    def take_all() -> None:
        lower(100)
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))

    with limit("RLIMIT_NOFILE") as lower:
        check_step_fails(lab, door, take_all, errno.EMFILE)
    for descriptor in taken:
        os.close(descriptor)
    check_goes_on(lab, door)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Give a way to mount things over one directory, which are all taken away in the end."""
    program, undo = shutil.which("mount"), shutil.which("umount")
    if program is None or undo is None or os.geteuid() != 0:
        pytest.skip("only the superuser may mount")
    place = tmp_path / "mounted"
    place.mkdir()
    made: list[bool] = []

    def do(*options: str | Path) -> Path:
        done = subprocess.run([program, *options, place], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("mounting is not allowed here")
        made.extend([True] if "remount,bind,ro" not in options else [])
        return place

    yield do
    for _ in made:  # a directory bound over its like is not seen to be a mount
        subprocess.run([undo, place], check=True)


@pytest.mark.root
def test_full_disk(door: Door, mount: Callable[..., Path]) -> None:
    """On a disk that is full the old snapshot stays, and the run goes on when there is room."""
    lab = Lab(mount("-t", "tmpfs", "-o", "size=128k", "none") / "checkpoint.pkl")
    check_step_fails(lab, door, lambda: None, errno.ENOSPC)
    check_goes_on(lab, door)


@pytest.mark.root
@pytest.mark.leaves_files
def test_disk_turned_read_only(door: Door, mount: Callable[..., Path], tmp_path: Path) -> None:
    """A disk that turns read-only under a run is an error, and the old snapshot can be read."""
    real = tmp_path / "real"
    real.mkdir()
    lab = Lab(mount("--bind", real) / "checkpoint.pkl")

    def turn() -> None:
        mount("--bind", real)
        mount("-o", "remount,bind,ro")

    check_step_fails(lab, door, turn, errno.EROFS)
    assert lab.stored()["checkpoint_index"] == 1
    mount("--bind", real)
    assert door(lab.flow("a", "b"))["trail"] == ["a", "b"]
    assert sorted(path.name for path in real.iterdir()) == ["checkpoint.pkl"]


@pytest.mark.root
def test_out_of_inodes(door: Door, mount: Callable[..., Path]) -> None:
    """A disk that can hold no more files: the old snapshot stays."""
    lab = Lab(mount("-t", "tmpfs", "-o", "size=2m,nr_inodes=8", "none") / "checkpoint.pkl")
    others = [lab.path.parent / f"other {number}" for number in range(20)]

    def fill() -> None:
        with contextlib.suppress(OSError):
            for path in others:
                path.touch()

    check_step_fails(lab, door, fill, errno.ENOSPC)
    for path in others:
        path.unlink(missing_ok=True)
    check_goes_on(lab, door)


# --- the directory changes meanwhile


def test_directory_removed_meanwhile(door: Door, tmp_path: Path) -> None:
    """A directory that is deleted under a run is an error that names the file."""
    lab = Lab(tmp_path / "place" / "checkpoint.pkl")
    check_step_fails(lab, door, lambda: shutil.rmtree(lab.path.parent), errno.ENOENT)
    lab.log.clear()
    assert door(lab.flow("a", "b"), {"n": 1})["n"] == 1
    assert lab.ran() == ["a", "b"]


@pytest.mark.leaves_files
def test_directory_replaced_by_a_link_meanwhile(door: Door, tmp_path: Path) -> None:
    """Where the directory is moved and a link put in its place, the file is written behind it."""
    lab = Lab(tmp_path / "place" / "checkpoint.pkl")
    elsewhere = tmp_path / "elsewhere"

    def move(state: State) -> None:
        lab.path.parent.rename(elsewhere)
        lab.path.parent.symlink_to(elsewhere)

    cp = lab.flow("a")
    cp.add_step(name="b")(move)
    lab.add(cp, "c")
    assert door(cp, {})["trail"] == ["a", "c"]
    assert LocalStateHandler(elsewhere / "checkpoint.pkl").read()["trail"] == ["a", "c"]


@pytest.mark.parametrize("kind", ["link to itself", "directory", "FIFO"])
def test_file_replaced_meanwhile(kind: str, door: Door, lab: Lab) -> None:
    """What is put into the file's place under a run, and is no file, is not written over."""
    makers = {"link to itself": lambda path: path.symlink_to(path), "directory": Path.mkdir}

    def replace(state: State) -> None:
        lab.path.unlink()
        makers.get(kind, os.mkfifo)(lab.path)

    cp = lab.flow("a")
    cp.add_step(name="b")(replace)
    with pytest.raises(StorageError, match=lab.path.name):
        door(cp, {})
    assert not lab.path.is_file()
    assert len(list(lab.path.parent.iterdir())) == 1
