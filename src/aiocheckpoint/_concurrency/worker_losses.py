"""The losses of workers, as executors of `concurrent.futures` tell them."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor, CancelledError

__all__ = ["is_loss"]

_OF_DASK = frozenset({"FutureCancelledError", "FutureLostError", "KilledWorker"})
_FUTURES_OF_DASK = "distributed.cfexecutor"


def is_loss(error: BaseException) -> bool:
    """Whether the error of a call means that its worker was lost.

    A cancelled future means so, as none is asked for its result that was cancelled here: Dask
    cancels the futures of a lost scheduler. So does any error that is raised in the module of
    Dask's futures: it fails on an answer that comes as its worker dies.
    """
    if isinstance(error, (BrokenExecutor, CancelledError)):
        return True
    kinds = type(error).__mro__
    if any(k.__name__ in _OF_DASK and k.__module__.startswith("distributed") for k in kinds):
        return True
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and frame.tb_frame.f_globals.get("__name__") == _FUTURES_OF_DASK
