"""Secrets: their rotation, and that they appear nowhere else."""

from __future__ import annotations

import copy
import logging
import pickle
import re
from typing import TYPE_CHECKING, Any

import dill  # type: ignore[import-untyped]
import pytest
from forged_snapshots import OTHER, SECRET
from support import FlowFactory, add_with, notes_of

from aiocheckpoint import (
    CheckpointFlow,
    LocalStateHandler,
    UnpicklableFlowError,
    UnserializableStateError,
    UntrustedSnapshotError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import Runner

TEXT = "a text of ä and 😀, long enough"
THIRD = "0123456789abcdef" * 2


def store(flows: FlowFactory, secret: Any) -> None:  # noqa: ANN401 - any value that a handler takes
    """Store a state signed with one or several secrets, after a reset."""
    flows.path.unlink(missing_ok=True)
    LocalStateHandler(flows.path, secret=secret, fsync=False).write({"n": 1})


def is_trusted(flows: FlowFactory, secret: Any) -> bool:  # noqa: ANN401
    """Whether a reader with these secrets loads the stored snapshot."""
    try:
        return LocalStateHandler(flows.path, secret=secret).read() == {"n": 1}
    except UntrustedSnapshotError:
        return False


@pytest.mark.parametrize("kind", [list, tuple])
def test_the_first_signs_and_all_verify(kind: Any, flows: FlowFactory) -> None:  # noqa: ANN401
    """Of several secrets the first signs. The reader accepts signatures of all."""
    both = kind([SECRET, OTHER])
    store(flows, both)
    assert is_trusted(flows, SECRET)
    assert not is_trusted(flows, OTHER)
    for one in (SECRET, OTHER):
        store(flows, one)
        assert is_trusted(flows, both)
        assert is_trusted(flows, kind([THIRD, one]))
        assert not is_trusted(flows, THIRD)


def test_a_secret_is_replaced_in_the_middle_of_a_run(runner: Runner, flows: FlowFactory) -> None:
    """A run signed with the old secret resumes under new and old, then needs the new alone."""
    cp = flows.flow("a", "b", secret=OTHER, fsync=False)
    runner(cp, {"n": 1}, until="a")
    with pytest.raises(UntrustedSnapshotError, match=cp.handler.key_ids[0]):
        runner(flows.flow("a", "b", secret=SECRET, fsync=False))
    both = flows.flow("a", "b", secret=[SECRET, OTHER], fsync=False)
    assert runner(both)["trail"] == ["a", "b"]
    assert flows.header().signed_by == both.handler.key_ids[0]
    assert LocalStateHandler(flows.path, secret=SECRET).read()["trail"] == ["a", "b"]
    assert not is_trusted(flows, OTHER)


@pytest.mark.parametrize("text", [TEXT, THIRD, "\ud800" * 11])
def test_text_and_bytes_are_one_secret(text: str, flows: FlowFactory) -> None:
    """A secret as text is its UTF-8 form. Lone surrogates have a form as well."""
    raw = text.encode("utf-8", "surrogatepass")
    store(flows, text)
    assert is_trusted(flows, raw)
    store(flows, raw)
    assert is_trusted(flows, text)


@pytest.mark.parametrize("other", [SECRET + b"\0", SECRET[:-1] + b"?", SECRET.upper(), SECRET * 2])
def test_secrets_alike_are_different(other: bytes, flows: FlowFactory) -> None:
    """Secrets that differ in anything, even in zeros at the end, are different."""
    store(flows, other)
    assert not is_trusted(flows, SECRET)


def test_ids_distinguish_secrets(flows: FlowFactory) -> None:
    """Ids are 16 hexadecimal digits, one for each secret, and the same in any flow."""
    ids = LocalStateHandler(flows.path, secret=[SECRET, OTHER]).key_ids
    assert len(set(ids)) == 2
    assert all(re.fullmatch("[0-9a-f]{16}", one) for one in ids)
    assert LocalStateHandler("elsewhere.pkl", secret=OTHER).key_ids == ids[1:]
    assert LocalStateHandler(flows.path).key_ids == ()


HOLDERS: dict[str, Callable[[CheckpointFlow], Any]] = {
    "handler": lambda cp: cp.handler,
    "flow": lambda cp: cp,
    "codec": lambda cp: cp.handler.codec,
    "bound method": lambda cp: cp.handler.read,
    "flow's method": lambda cp: cp.run,
    "closure": lambda cp: lambda: cp.handler,
    "deep": lambda cp: [{"x": (cp.handler,)}],
}


@pytest.mark.parametrize("allow", [False, True], ids=["all", "listed"])
@pytest.mark.parametrize("name", HOLDERS)
def test_a_key_is_never_stored(
    name: str, runner: Runner, flows: FlowFactory, *, allow: bool
) -> None:
    """A state that holds a handler with a secret is refused by its path, before a byte of it."""
    options: dict[str, Any] = {"secret": SECRET, "fsync": False}
    if allow:
        listed = (":LocalStateHandler", ":CheckpointFlow", "._snapshot.signing:Signer")
        options["allow"] = (*(f"aiocheckpoint{one}" for one in listed), "builtins:getattr")
    cp = flows.flow("a", **options)
    held = HOLDERS[name](cp)
    add_with(cp, "b", "step", lambda state: state.update(held=held))
    with pytest.raises(UnserializableStateError, match="held") as info:
        runner(cp, {"n": 1})
    assert all(path.startswith('state["held"]') for path, _ in info.value.offenders)
    assert flows.stored()["trail"] == ["a"]
    assert all(SECRET not in data for data, _ in flows.files().values())


@pytest.mark.parametrize("name", HOLDERS)
def test_a_key_is_never_pickled(name: str, flows: FlowFactory) -> None:
    """No pickler, and no copy, takes a key out of a handler. A copied flow shares its handler."""
    held = HOLDERS[name](CheckpointFlow(flows.path, secret=SECRET))
    with pytest.raises(TypeError, match="never stored"):
        dill.dumps(held)
    if name not in {"closure", "flow"}:
        with pytest.raises(TypeError, match="never stored"):
            pickle.dumps(held)
    if name == "flow":
        with pytest.raises(UnpicklableFlowError, match="never stored"):
            pickle.dumps(held)
        assert copy.deepcopy(held).handler is held.handler
    if name in {"handler", "codec", "deep"}:
        with pytest.raises(TypeError, match="never stored"):
            copy.deepcopy(held)


def texts_of(thing: Any) -> str:  # noqa: ANN401 - any object
    """Give every printable text of an object."""
    inside = vars(thing) if hasattr(thing, "__dict__") else {}
    return f"{thing!r} {thing} {inside} {list(map(vars, filter(has_dict, inside.values())))}"


def has_dict(thing: object) -> bool:
    """Whether an object has attributes of its own."""
    return hasattr(thing, "__dict__")


@pytest.mark.parametrize("secret", [SECRET, SECRET.decode(), [OTHER, SECRET]], ids=type)
def test_a_secret_is_never_shown(secret: Any, flows: FlowFactory) -> None:  # noqa: ANN401
    """Neither the handler nor the flow, nor their attributes, show a secret when printed."""
    cp = CheckpointFlow(flows.path, secret=secret)
    for thing in (cp, cp.handler, cp.handler.codec):
        assert SECRET.decode() not in texts_of(thing)
        assert SECRET.hex() not in texts_of(thing)
    assert repr(cp.handler.codec.signer).endswith(f"{', '.join(cp.handler.key_ids)}>")


def test_a_secret_appears_nowhere(
    runner: Runner, flows: FlowFactory, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Neither logs nor errors nor files hold a secret, whatever fails."""
    caplog.set_level(logging.DEBUG)
    cp = flows.flow("a", "b", secret=[SECRET, OTHER], fsync=False)
    flows.faults["step b"] = OSError("broken")
    with pytest.raises(OSError, match="broken") as broken:
        runner(cp, {"n": 1})
    flows.path.write_bytes(dill.dumps({}))
    with pytest.raises(UntrustedSnapshotError) as untrusted:
        runner(cp)
    said = [notes_of(broken.value), str(untrusted.value), repr(untrusted.value), caplog.text]
    said += [str(vars(untrusted.value)), *map(str, tmp_path.rglob("*"))]
    held = [data for data, _ in flows.files().values()]
    for secret in (SECRET, OTHER):
        assert secret.decode() not in "\n".join(said)
        assert secret not in b"".join(held)


def test_handlers_refuse_themselves(flows: FlowFactory) -> None:
    """A handler that is asked to store itself names its path, and stores nothing."""
    handler = LocalStateHandler(flows.path, secret=SECRET, fsync=False)
    with pytest.raises(UnserializableStateError) as info:
        handler.write({"handler": handler, "n": 1})
    assert info.value.offenders[0][0].startswith('state["handler"]')
    assert flows.files() == {}
