"""What other processes are told of requests that were carried out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint.handlers.leased._listener import queue_notice, release_notice
from aiocheckpoint.handlers.leased._requests import Execute, Release, Save, due_column

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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

    The release of a run is told where somebody has said to wait for it.

    Args:
        group: The requests.
        releases: Releases that were carried out with them.
        notices: Knows what is waited for.
        now: Seconds since the epoch.
    """
    done = [pending.request for pending in group if pending.error is None]
    news = {request.notice for request in done if isinstance(request, Execute) and request.notice}
    ended = [one for one in done if isinstance(one, Save) and one.ends_run]
    news.update(queue_notice(one.lease.key[0]) for one in ended if _is_due(one, now))
    if notices.has_awaited:
        free = map(release_notice, _released(done, releases))
        news.update(notice for notice in free if notices.is_awaited(notice))
    return news


def _is_due(save: Save, now: float) -> bool:
    """Whether a run that ends can be taken at once by any worker."""
    due = due_column(save.header)
    return due is not None and due <= now


def _released(done: Iterable[object], releases: Iterable[Release]) -> Iterator[Key]:
    for release in releases:
        yield release[:2]
    for request in done:
        if isinstance(request, Save) and request.ends_run:
            yield request.lease.key
        elif isinstance(request, Release):
            yield request[:2]
