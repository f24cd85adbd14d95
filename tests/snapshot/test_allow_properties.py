"""Any data, any allowlist: a state stored under it loads under it, and without it."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import sample_objects
from graphs import difference
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from strategies import ATOMS, KEYS, nested
from streams import Memory, dump_whole, load_whole

from aiocheckpoint._snapshot.pickling.listed import RefusedGlobalError
from aiocheckpoint._snapshot.pickling.serializer import UnserializableError, dump, load

if TYPE_CHECKING:
    from support import State

QUIET = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
NONE = frozenset[str]()

LEAVES = st.one_of(
    st.none() | st.booleans() | st.integers() | st.floats(),
    st.integers(-(2**70), 2**70) | st.text(st.characters(), max_size=5),
    st.binary(max_size=300) | st.binary(max_size=300).map(bytearray),
)


def stored(state: object, allow: frozenset[str]) -> bytes | None:
    """Give the bytes of a state that is stored under an allowlist, or None if it is refused."""
    target = Memory()
    try:
        code = dump(state, target, allow)
    except UnserializableError:
        return None
    assert not code
    return bytes(target.data)


@QUIET
@given(st.dictionaries(KEYS, nested(LEAVES), max_size=4), nested(LEAVES))
@example({}, [1.5, float("nan")])
def test_plain_data_needs_no_list(state: dict[Any, Any], shared: object) -> None:
    """Plain data of any shape is stored and loaded with an empty allowlist, references included."""
    state.update(one=shared, other=[shared], itself=state)
    data = stored(state, NONE)
    assert data is not None
    assert difference(state, load(io.BytesIO(data), NONE)) is None
    assert difference(state, load_whole(data)) is None


UNIVERSE = (
    *(f"builtins:{one}" for one in ("complex", "range", "slice", "getattr", "len", "int", "str")),
    *(f"builtins:{one}" for one in ("Ellipsis", "NotImplemented", "list", "set")),
    *(f"datetime:{one}" for one in ("datetime", "date", "time", "timedelta", "timezone")),
    *("decimal:Decimal", "fractions:Fraction", "uuid:UUID", "re:_compile", "types:GenericAlias"),
    *("pathlib:PurePosixPath", "pathlib._local:PurePosixPath", "zoneinfo:ZoneInfo._unpickle"),
    *(
        f"sample_objects:{one}"
        for one in ("Colour", "Rights", "Frozen", "Point", "Node", "function")
    ),
    *("copyreg:_reconstructor", "builtins:object", "operator:or_"),
)


@QUIET
@given(
    st.dictionaries(st.text(max_size=3), nested(ATOMS), max_size=3),
    st.sets(st.sampled_from(UNIVERSE), max_size=3).map(frozenset[str]),
)
@example({"a": sample_objects.Colour.RED, "b": 1j}, NONE)
@example({"a": int}, frozenset({"builtins:int"}))
def test_what_is_stored_under_a_list_loads_under_it(state: State, less: frozenset[str]) -> None:
    """A stored state loads unchanged under the same allowlist, and without any."""
    allow = frozenset(UNIVERSE) - less
    data = stored(state, allow)
    freely = dump_whole(state).data
    if data is None:
        with pytest.raises((RefusedGlobalError, AttributeError)):
            load(io.BytesIO(freely), allow)
        return
    assert difference(state, load(io.BytesIO(data), allow)) is None
    assert difference(state, load_whole(data)) is None
    with suppress(RefusedGlobalError):  # if dill wrote it, the stream names dill's functions
        assert difference(state, load(io.BytesIO(freely), allow)) is None


OPCODES = st.one_of(
    st.sampled_from(
        [
            *(b"(", b"0", b"2", b"N", b"]", b"}", b")", b"a", b"e", b"s", b"u", b"d", b"l", b"t"),
            *(b"b", b"R", b"o", b"Q", b"\x81", b"\x85", b"\x86", b"\x88", b"\x8f", b"\x90"),
            *(b"\x91", b"\x92", b"\x93", b"\x94", b"h\0", b"h\1", b"K\1", b"Pid\n", b"\x82\1"),
            *(b"cbuiltins\neval\n", b"ibuiltins\neval\n", b"\x8c\4eval", b"\x8c\x08builtins"),
            *(b"\x8c\x11open('mark', 'w')", b"cos\nmkdir\n", b"\x8c\2os", b"\x8c\5mkdir"),
        ]
    ),
)


@settings(QUIET, max_examples=300)
@given(st.lists(OPCODES, max_size=25))
@example([b"\x8c\x08builtins", b"\x8c\4eval", b"\x93"])
def test_any_program_gives_plain_data_or_nothing(program: list[bytes]) -> None:
    """With an empty allowlist any stream gives plain data, or nothing."""
    data = b"\x80\x04" + b"".join(program) + b"."
    try:
        loaded = load(io.BytesIO(data), NONE)
    except (MemoryError, SystemError):
        raise
    except Exception:  # noqa: BLE001 - a loader of broken streams raises any error
        return
    assert stored(loaded, NONE) is not None
