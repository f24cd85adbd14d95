"""The notices that requests send to other processes, once they were carried out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint.handlers.leased._listener import queue_notice, release_notice
from aiocheckpoint.handlers.leased._requests import Execute, Release, Save, due_column

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint.handlers.leased._notices import Notices
    from aiocheckpoint.handlers.leased._requests import Key

__all__ = ["news_of"]


def news_of(
    group: Iterable[PendingResult[Any]],
    releases: Iterable[Release],
    notices: Notices,
    now: float,
) -> set[str]:
    """Give the notices of requests that were carried out. There are none of plain steps.

    The release of a run is sent where a process has announced to wait for it.

    Args:
        group: The requests.
        releases: Releases that were carried out with them.
        notices: Knows the notices that processes wait for.
        now: Seconds since the epoch.
    """
    news: set[str] = set()
    free: list[Key] = [release[:2] for release in releases]
    for pending in group:
        request = pending.request
        if isinstance(request, Save):
            if request.header.status == "running" or pending.error is not None:
                continue
            free.append(request.lease.key)
            if _is_due(request, now):
                news.add(queue_notice(request.lease.key[0]))
        elif pending.error is not None:
            continue
        elif isinstance(request, Release):
            free.append(request[:2])
        elif isinstance(request, Execute) and request.notice:
            news.add(request.notice)
    if notices.has_awaited:
        news.update(filter(notices.is_awaited, map(release_notice, free)))
    return news


def _is_due(save: Save, now: float) -> bool:
    """Whether a run that ends can be taken at once by any worker."""
    due = due_column(save.header)
    return due is not None and due <= now
