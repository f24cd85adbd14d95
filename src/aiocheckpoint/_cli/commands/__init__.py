"""The commands. Each is a module with a `COMMAND`, imported when it is called."""

__all__ = ["SUMMARIES"]

SUMMARIES = {
    "flows": "List the flows of a store",
    "runs": "List stored runs, the latest begun first",
    "count": "Count runs by status, step, error or day",
    "show": "Tell how one run stands, and what it broke on",
    "doctor": "Say what is wrong with a store, and what mends it",
}
"""Summary by name of command, in the order of `--help`. The module has the same name."""
