"""The options of every handler of snapshots, and the codec that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from aiocheckpoint._model.checks import checked_flag
from aiocheckpoint._snapshot.codec import Codec
from aiocheckpoint._snapshot.pickling.listed import checked_allow
from aiocheckpoint._snapshot.signing import make_signer
from aiocheckpoint.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from aiocheckpoint._snapshot.signing import Secrets

__all__ = ["SnapshotOptions", "make_codec", "refuse_unknown"]


class SnapshotOptions(TypedDict, total=False):
    """The options of every handler of snapshots.

    Attributes:
        secret: Signs each snapshot for its flow and run. Only signed snapshots are loaded. At
            least 32 bytes, as `bytes` or text. Of a list, the first signs and all verify. Or a
            function without arguments that finds the secret or the list: it is called here, and
            again where a pickled flow is loaded. A flow with the secret itself is not pickled.
        allow: The globals that snapshots may name, each as "package.module:Name". An empty tuple
            is for plain data alone. Others are refused when saved and when loaded.
        verify: Whether each snapshot is loaded back before it counts (default False).
    """

    secret: Secrets
    allow: Sequence[str] | AbstractSet[str]
    verify: bool


def refuse_unknown(
    options: Iterable[str],
    accepted: Iterable[str],
    handler: str,
    hint: Callable[[str], str] | None = None,
) -> None:
    """Check that a handler takes all options.

    Args:
        options: The options.
        accepted: Those that it takes.
        handler: Its name, for the error.
        hint: Gives the end of the error for an option, which begins with a space, or "".

    Raises:
        InvalidValueError: It does not take one of them.
    """
    names = list(accepted)
    for option in options:
        if option not in names:
            listed = ", ".join(f"{name}=" for name in names) or "none"
            where = "" if hint is None else hint(option)
            raise InvalidValueError(
                f"{option}= is no option of {handler}, which takes {listed}.{where}"
            )


def make_codec(
    flow: str, options: SnapshotOptions, hint: Callable[[str], str] | None = None
) -> Codec:
    """Make the codec of a flow from the options of its handler.

    Args:
        flow: Name of the flow.
        options: The options.
        hint: See `refuse_unknown`.

    Raises:
        InvalidTypeError, InvalidValueError: An option is invalid.
    """
    # Also checked here: a class made directly takes any name in **options.
    refuse_unknown(options, SnapshotOptions.__annotations__, "this handler", hint)
    return Codec(
        make_signer(options["secret"], flow) if "secret" in options else None,
        checked_allow(options["allow"]) if "allow" in options else None,
        verify=checked_flag("verify", options.get("verify", False)),
    )
