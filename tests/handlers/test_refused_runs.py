"""The runs that a call for all runs of a store refuses."""

from __future__ import annotations

import pytest

from aiocheckpoint.errors import InvalidValueError, StorageError
from aiocheckpoint.handlers._refused_runs import RefusedRuns


def test_first_error_names_them() -> None:
    """The first error comes out, and its note names ten of twelve runs, and counts the rest."""
    refused = RefusedRuns("copy_runs", "copied")
    errors = [InvalidValueError(str(number)) for number in range(12)]
    for number, error in enumerate(errors):
        with refused.collecting(f"run-{number}"):
            raise error
    with pytest.raises(InvalidValueError) as caught:
        refused.raise_first(3)
    assert caught.value is errors[0]
    (note,) = caught.value.__notes__
    names = ", ".join(f"run-{number}" for number in range(10))
    assert note == (
        f"3 runs were copied. Refused, and left as they were: {names} and 2 more. "
        "Call copy_runs() again when the reason is gone."
    )


def test_none_is_refused() -> None:
    """Nothing is raised."""
    refused = RefusedRuns("copy_runs", "copied")
    with refused.collecting("run-0"):
        pass
    refused.raise_first(1)


def test_error_of_the_store() -> None:
    """It ends the call at once, as the other runs would have it too."""
    refused = RefusedRuns("copy_runs", "copied")
    with pytest.raises(StorageError), refused.collecting("run-0"):
        raise StorageError("place", "the disk is full")
    refused.raise_first(0)
