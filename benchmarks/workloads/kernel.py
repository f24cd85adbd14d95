"""A Jupyter kernel in which work is measured, as in the cell of a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from jupyter_client.manager import start_new_kernel

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Kernel"]

PATIENCE = 600


class Kernel:
    """A kernel of this Python, as long as a `with` block lasts."""

    def __init__(self) -> None:
        self._manager, self._client = start_new_kernel(kernel_name="python3")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)

    def printed(self, code: str) -> str:
        """Execute a cell, and give what it prints.

        Args:
            code: The text of the cell.

        Raises:
            RuntimeError: The cell raised an exception.
        """
        found: list[str] = []

        def take(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream" and message["content"]["name"] == "stdout":
                found.append(message["content"]["text"])

        reply = self._client.execute_interactive(
            code, store_history=False, timeout=PATIENCE, output_hook=take
        )
        if reply["content"]["status"] != "ok":
            raise RuntimeError("\n".join(reply["content"]["traceback"]))
        return "".join(found)
