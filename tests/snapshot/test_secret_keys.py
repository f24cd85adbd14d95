"""Secrets: how they take turns, and that they stay where they were given."""

from __future__ import annotations

import copy
import logging
import pickle
import re
from typing import TYPE_CHECKING, Any

import dill  # type: ignore[import-untyped]
import pytest
from forging import OTHER, SECRET
from support import Lab, add_with, notes_of

from aiocheckpoint import (
    CheckpointFlow,
    LocalStateHandler,
    UnserializableStateError,
    UntrustedSnapshotError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import Door

TEXT = "a text of ä and 😀, long enough"
THIRD = "0123456789abcdef" * 2


def store(lab: Lab, secret: Any) -> None:  # noqa: ANN401 - whatever a handler takes
    """Store a state signed with a secret, or several, where nothing is stored any more."""
    lab.path.unlink(missing_ok=True)
    LocalStateHandler(lab.path, secret=secret, fsync=False).write({"n": 1})


def is_trusted(lab: Lab, secret: Any) -> bool:  # noqa: ANN401
    """Whether a reader with this secret, or these, loads what is stored."""
    try:
        return LocalStateHandler(lab.path, secret=secret).read() == {"n": 1, "checkpoint_index": 0}
    except UntrustedSnapshotError:
        return False


@pytest.mark.parametrize("kind", [list, tuple])
def test_the_first_signs_and_all_verify(kind: Any, lab: Lab) -> None:  # noqa: ANN401
    """Of several secrets the first signs; what any of them signed is loaded."""
    both = kind([SECRET, OTHER])
    store(lab, both)
    assert is_trusted(lab, SECRET)
    assert not is_trusted(lab, OTHER)
    for one in (SECRET, OTHER):
        store(lab, one)
        assert is_trusted(lab, both)
        assert is_trusted(lab, kind([THIRD, one]))
        assert not is_trusted(lab, THIRD)


def test_a_secret_is_replaced_in_the_middle_of_a_run(door: Door, lab: Lab) -> None:
    """A run signed with the old secret goes on under new and old, and then needs the new alone."""
    cp = lab.flow("a", "b", secret=OTHER, fsync=False)
    door(cp, {"n": 1}, until="a")
    with pytest.raises(UntrustedSnapshotError, match=cp.handler.key_ids[0]):
        door(lab.flow("a", "b", secret=SECRET, fsync=False))
    both = lab.flow("a", "b", secret=[SECRET, OTHER], fsync=False)
    assert door(both)["trail"] == ["a", "b"]
    assert lab.header().signed_by == both.handler.key_ids[0]
    assert LocalStateHandler(lab.path, secret=SECRET).read()["trail"] == ["a", "b"]
    assert not is_trusted(lab, OTHER)


@pytest.mark.parametrize("text", [TEXT, THIRD, "\ud800" * 11])
def test_text_and_bytes_are_one_secret(text: str, lab: Lab) -> None:
    """A secret as text is its UTF-8 form; lone surrogates have one as well."""
    raw = text.encode("utf-8", "surrogatepass")
    store(lab, text)
    assert is_trusted(lab, raw)
    store(lab, raw)
    assert is_trusted(lab, text)


@pytest.mark.parametrize("other", [SECRET + b"\0", SECRET[:-1] + b"?", SECRET.upper(), SECRET * 2])
def test_secrets_alike_are_different(other: bytes, lab: Lab) -> None:
    """A secret that differs in anything, zeros at its end included, is another one."""
    store(lab, other)
    assert not is_trusted(lab, SECRET)


def test_ids_tell_secrets_apart(lab: Lab) -> None:
    """Ids are 16 hexadecimal digits, one for each secret, in any flow the same."""
    ids = LocalStateHandler(lab.path, secret=[SECRET, OTHER]).key_ids
    assert len(set(ids)) == 2
    assert all(re.fullmatch("[0-9a-f]{16}", one) for one in ids)
    assert LocalStateHandler("elsewhere.pkl", secret=OTHER).key_ids == ids[1:]
    assert LocalStateHandler(lab.path).key_ids == ()


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
def test_a_key_is_never_stored(name: str, door: Door, lab: Lab, *, allow: bool) -> None:
    """A state that holds a handler with a secret is refused with its path, before a byte of it."""
    options: dict[str, Any] = {"secret": SECRET, "fsync": False}
    if allow:
        listed = (":LocalStateHandler", ":CheckpointFlow", "._snapshot.signing:Signer")
        options["allow"] = (*(f"aiocheckpoint{one}" for one in listed), "builtins:getattr")
    cp = lab.flow("a", **options)
    held = HOLDERS[name](cp)
    add_with(cp, "b", "step", lambda state: state.update(held=held))
    with pytest.raises(UnserializableStateError, match="held") as info:
        door(cp, {"n": 1})
    assert all(path.startswith('state["held"]') for path, _ in info.value.offenders)
    assert lab.stored()["trail"] == ["a"]
    assert all(SECRET not in data for data, _ in lab.files().values())


@pytest.mark.parametrize("name", HOLDERS)
def test_a_key_is_never_pickled(name: str, lab: Lab) -> None:
    """No pickler, and no copy, takes a key out of a handler or a flow."""
    held = HOLDERS[name](CheckpointFlow(lab.path, secret=SECRET))
    with pytest.raises(TypeError, match="never stored"):
        dill.dumps(held)
    if name not in {"closure", "flow"}:
        with pytest.raises(TypeError, match="never stored"):
            pickle.dumps(held)
    if name in {"handler", "flow", "codec", "deep"}:
        with pytest.raises(TypeError, match="never stored"):
            copy.deepcopy(held)


def texts_of(thing: Any) -> str:  # noqa: ANN401 - any object
    """Give all that a curious person prints of an object."""
    inside = vars(thing) if hasattr(thing, "__dict__") else {}
    return f"{thing!r} {thing} {inside} {list(map(vars, filter(has_dict, inside.values())))}"


def has_dict(thing: object) -> bool:
    """Whether an object has attributes of its own."""
    return hasattr(thing, "__dict__")


@pytest.mark.parametrize("secret", [SECRET, SECRET.decode(), [OTHER, SECRET]], ids=type)
def test_a_secret_is_never_shown(secret: Any, lab: Lab) -> None:  # noqa: ANN401
    """Neither the handler nor the flow, nor what is in them, shows a secret when printed."""
    cp = CheckpointFlow(lab.path, secret=secret)
    for thing in (cp, cp.handler, cp.handler.codec):
        assert SECRET.decode() not in texts_of(thing)
        assert SECRET.hex() not in texts_of(thing)
    assert repr(cp.handler.codec.signer).endswith(f"{', '.join(cp.handler.key_ids)}>")


def test_a_secret_is_never_told(
    door: Door, lab: Lab, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Neither logs nor errors nor files hold a secret, whatever goes wrong."""
    caplog.set_level(logging.DEBUG)
    cp = lab.flow("a", "b", secret=[SECRET, OTHER], fsync=False)
    lab.faults["step b"] = OSError("broken")
    with pytest.raises(OSError, match="broken") as broken:
        door(cp, {"n": 1})
    lab.path.write_bytes(dill.dumps({}))
    with pytest.raises(UntrustedSnapshotError) as untrusted:
        door(cp)
    said = [notes_of(broken.value), str(untrusted.value), repr(untrusted.value), caplog.text]
    said += [str(vars(untrusted.value)), *map(str, tmp_path.rglob("*"))]
    held = [data for data, _ in lab.files().values()]
    for secret in (SECRET, OTHER):
        assert secret.decode() not in "\n".join(said)
        assert secret not in b"".join(held)


def test_handlers_refuse_themselves(lab: Lab) -> None:
    """A handler asked to store itself by hand says where it is, and stores nothing."""
    handler = LocalStateHandler(lab.path, secret=SECRET, fsync=False)
    with pytest.raises(UnserializableStateError) as info:
        handler.write({"handler": handler, "n": 1})
    assert info.value.offenders[0][0].startswith('state["handler"]')
    assert lab.files() == {}
