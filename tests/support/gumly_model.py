"""The rules of gumly 1.2.0's `CheckpointFlow`, as a model to compare with.

The file is a value in memory. The model was compared with gumly 1.2.0 itself.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

State = dict[str, Any]
KEY = "checkpoint_index"


@dataclass
class GumlyModel:
    """A flow of gumly's, with its file.

    Attributes:
        steps: For each step its loader, function and saver. A loader or saver may be None.
        stored: The state in the file.
    """

    steps: list[
        tuple[Callable[[State], State] | None, Callable[[State, State], object], Callable[..., Any]]
    ]
    stored: State = field(default_factory=dict[str, Any])

    def read(self) -> State:
        """Return what is stored, with the position under its key."""
        return copy.deepcopy(self.stored)

    def write(self, state: State) -> None:
        """Store a state as it is."""
        self.stored = copy.deepcopy(state)

    def run(self, given: State | None, policy: str | list[bool], checkpoint: int | None) -> None:
        """Run the steps from the stored position, or from the one given."""
        stored = self.read()
        state = stored if given is None or stored.get(KEY, 0) > 0 else given
        begin = stored.get(KEY, 0) if checkpoint is None else checkpoint
        data: State = {}
        for index in range(begin, len(self.steps)):
            load, function, save = self.steps[index]
            if load is not None and self._loads(policy, index, begin):
                data.update(load(state))
            function(state, data)
            save(state, data)
            state[KEY] = index + 1
            self.write(state)
        state[KEY] = 0
        self.write(state)

    @staticmethod
    def _loads(policy: str | list[bool], index: int, begin: int) -> bool:
        if isinstance(policy, list):
            return policy[index]
        return policy == "always" or index == begin
