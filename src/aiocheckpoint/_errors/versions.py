"""The error for a run that a newer version of its flow has stored."""

from __future__ import annotations

from aiocheckpoint._errors.root import CheckpointError

__all__ = ["FlowVersionError"]


class FlowVersionError(CheckpointError):
    """A newer version of the flow has stored the run, so no step was run. The run is unchanged.

    Processes of an old and a new release can so share a store during a deploy.

    Attributes:
        path: Where the checkpoint is.
        run_id: The run, or None.
        stored_version: The version of the flow that stored the run.
        version: The version of this flow, 0 where it has none.
    """

    def __init__(self, path: str, run_id: str | None, stored_version: int, version: int) -> None:
        own = f"has version {version}" if version else "has no version="
        super().__init__(
            f"the run in {path} was stored by version {stored_version} of its flow, and this flow "
            f"{own}, so nothing was run. A process of version {stored_version} or later resumes "
            f"it. Where that release was withdrawn, give the flow version={stored_version + 1} and "
            "a migrate= that takes such runs back; or choose the step to start from, with the "
            "stored state as it is, by checkpoint=<name or index>."
        )
        self.path = path
        self.run_id = run_id
        self.stored_version = stored_version
        self.version = version
