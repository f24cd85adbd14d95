"""Bad values of `secret=`, `allow=`, `verify=` and `keep=`: refused at once, with a remedy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from case_ids import plain_repr
from forged_snapshots import SECRET
from support import FlowFactory, State

from aiocheckpoint import (
    CheckpointError,
    CheckpointFlow,
    InvalidTypeError,
    InvalidValueError,
    LocalStateHandler,
    adopt,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SHORT = "canary-4f1d of bytes: 31 of it."
LIST = [SECRET.decode(), SHORT]

BAD_SECRETS: list[tuple[object, type[CheckpointError], str]] = [
    (SHORT, InvalidValueError, "31.*token_hex"),
    (SHORT.encode(), InvalidValueError, "31.*token_hex"),
    ("", InvalidValueError, "token_hex"),
    (b"", InvalidValueError, "token_hex"),
    ([], InvalidValueError, "empty list"),
    ((), InvalidValueError, "empty list"),
    (LIST, InvalidValueError, "31.*token_hex"),
    ([SECRET, None], InvalidTypeError, "environment variable"),
    (None, InvalidTypeError, "environment variable"),
    (5, InvalidTypeError, "int"),
    (True, InvalidTypeError, "bool"),
    (bytearray(SECRET), InvalidTypeError, "bytearray"),
    ({SECRET}, InvalidTypeError, "set"),
    ({"key": SECRET}, InvalidTypeError, "dict"),
    ([[SECRET]], InvalidTypeError, "list"),
    ([SECRET, 5], InvalidTypeError, "int"),
]

BAD_ALLOWS: list[tuple[object, type[CheckpointError], str]] = [
    ("datetime:datetime", InvalidTypeError, r"list.*not a str.*allow=\(\)"),
    ("", InvalidTypeError, "not a str"),
    (b"a:b", InvalidTypeError, "not a bytes"),
    (None, InvalidTypeError, "not a NoneType"),
    (True, InvalidTypeError, "not a bool"),
    ({"datetime:datetime": 1}, InvalidTypeError, "not a dict"),
    ([SECRET], InvalidTypeError, "bytes is none"),
    ([dict], InvalidTypeError, "type is none"),
    (["datetime:datetime", None], InvalidTypeError, "NoneType is none"),
    *(
        ([bad], InvalidValueError, "package.module:Name")
        for bad in (
            *("datetime", "datetime.datetime", "", ":", "a:", ":b", "a:b:c", "a b:c", "a:b "),
            *("a:b\n", "a/b:c", "a:*", "*", "a..b:c", ".a:b", "a:<lambda>", "1a:b", "a:b.", "os:"),
        )
    ),
    (["datetime:datetime", "datetime"], InvalidValueError, "'datetime'"),
]

BAD_OTHERS: list[tuple[dict[str, Any], type[CheckpointError], str]] = [
    *(({"verify": bad}, InvalidTypeError, "verify= is True or False") for bad in (1, None, "yes")),
    *(({"keep": bad}, InvalidTypeError, '"all"') for bad in (True, False, 1.5, None, [1], b"all")),
    *(({"keep": bad}, InvalidValueError, '"all"') for bad in (0, -1, "some", "", "ALL", "3")),
]

BAD: list[tuple[dict[str, Any], type[CheckpointError], str]] = [
    *(({"secret": value}, kind, words) for value, kind, words in BAD_SECRETS),
    *(({"allow": value}, kind, words) for value, kind, words in BAD_ALLOWS),
    *BAD_OTHERS,
]

MAKERS: dict[str, Callable[..., object]] = {
    "flow": lambda flows, **options: CheckpointFlow(flows.path, **options),
    "flow of a class": lambda flows, **options: CheckpointFlow(
        flows.path, LocalStateHandler, **options
    ),
    "handler": lambda flows, **options: LocalStateHandler(flows.path, **options),
}


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("bad", BAD, ids=lambda bad: plain_repr(bad[0])[:50])
def test_bad_options(bad: tuple[dict[str, Any], type[CheckpointError], str], make: str) -> None:
    """An invalid option is refused when the flow or handler is made, and never shown."""
    options, kind, words = bad
    flows = FlowFactory(Path("nowhere.pkl"))
    with pytest.raises(kind, match=f"(?s){words}") as info:
        MAKERS[make](flows, **options)
    assert type(info.value) is kind
    assert isinstance(info.value, (TypeError, ValueError))
    assert "canary" not in f"{info.value} {info.value!r} {vars(info.value)}"
    assert next(iter(options)) in str(info.value)


@pytest.mark.parametrize(("secret", "kind", "words"), BAD_SECRETS, ids=plain_repr)
def test_adopting_with_a_bad_secret(
    secret: Any,  # noqa: ANN401
    kind: type[CheckpointError],
    words: str,
    flows: FlowFactory,
) -> None:
    """An invalid secret signs nothing. The file stays as it is."""
    flows.path.write_bytes(b"whatever")
    before = flows.files()
    with pytest.raises(kind, match=words) as info:
        adopt(flows.path, secret=secret)
    assert "canary" not in str(info.value)
    assert flows.files() == before


class Own:
    """A user's own handler, which has no options."""

    def __init__(self, path: object = "") -> None:
        self.path = path

    def read(self) -> State:
        """Give nothing."""
        return {}

    def write(self, state: State) -> None:
        """Drop the state."""


class Willing(Own):
    """A user's own handler that takes a secret, for a purpose of its own."""

    def __init__(self, path: object, secret: object) -> None:
        super().__init__(path)
        self.secret = secret


OPTIONS: list[dict[str, Any]] = [
    {"secret": SECRET},
    {"allow": ()},
    {"verify": True},
    {"keep": 2},
    {"fsync": False},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: next(iter(options)))
def test_options_that_the_handler_does_not_take(
    options: dict[str, Any], flows: FlowFactory
) -> None:
    """An option beside a handler object, or for a class without it, would be lost: refused."""
    (name,) = options
    for handler in (LocalStateHandler(flows.path), Own()):
        with pytest.raises(InvalidValueError, match=f"{name}= belongs to the handler") as info:
            CheckpointFlow(flows.path, handler, **options)
        assert type(handler).__name__ in str(info.value)
    with pytest.raises(InvalidValueError, match=f"{name}= is no option of Own") as info:
        CheckpointFlow(flows.path, Own, **options)
    assert "which takes none" in str(info.value)
    assert "canary" not in str(info.value)


def test_a_class_may_take_an_option_of_its_own(flows: FlowFactory) -> None:
    """A user's class whose constructor has the parameter gets it unchanged."""
    assert CheckpointFlow(flows.path, Willing, secret=SECRET).handler.secret is SECRET


@pytest.mark.parametrize("allow", [[], (), set[str](), frozenset(["a:b"]), ["é.ü:Ä", "a:b.c"]])
def test_lists_that_are_allowed(allow: Any, flows: FlowFactory) -> None:  # noqa: ANN401
    """Lists, tuples and sets of valid names are accepted, dotted and non-ASCII names included."""
    assert CheckpointFlow(flows.path, allow=allow).handler.codec.allow == frozenset(allow)
