"""The losses of workers, as executors of `concurrent.futures` tell them."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor, CancelledError

__all__ = ["is_loss"]

_OF_DASK = frozenset({"FutureCancelledError", "FutureLostError", "KilledWorker"})


def is_loss(error: BaseException) -> bool:
    """Whether the error of an executor says that its worker was lost, and not what it called.

    A future that nobody here has cancelled is lost as well, such as with the scheduler of Dask.
    """
    if isinstance(error, (BrokenExecutor, CancelledError)):
        return True
    kinds = type(error).__mro__
    return any(k.__name__ in _OF_DASK and k.__module__.startswith("distributed") for k in kinds)
