"""The commands. Each is a module with a `COMMAND`, imported when it is called."""

__all__ = ["SUMMARIES"]

SUMMARIES = {
    "flows": "List the flows of a store",
    "runs": "List stored runs, the latest begun first",
    "count": "Tell how many runs there are, by status, step, error or day",
    "show": "Tell how one run stands, and what it broke on",
    "diff": "Tell what changed between two kept snapshots of a run",
    "inspect": "Look at the snapshot in a single file, and check its digests",
    "verify": "Check every digest and signature of a store",
    "watch": "Follow runs as they change, until Ctrl-C",
    "diagram": "Draw the steps of a flow, or of a run, as text or as a picture",
    "plan": "Say which steps would run next, with which state, and why",
    "run": "Do the steps of one run from where it stands, or begin it",
    "resume": "Go on with stored runs, one or many, and begin none",
    "retry": "Do a stored run again from one of its steps",
    "approve": "Answer the pause of a run, and go on with it",
    "submit": "Queue runs for workers",
    "work": "Do what is queued, due or left by dead processes, until SIGTERM",
    "requeue": "Make stopped, failed, cancelled or terminated runs due now",
    "terminate": "End runs for good, also while they are in progress",
    "patch": "Change the state of a stored run, and where it goes on",
    "delete": "Forget runs with all that is stored of them, damaged or not",
    "prune": "Delete runs that ended long ago",
    "backup": "Copy a store to a new path, also while it is in use",
    "compact": "Give the space of deleted runs back to the file system",
    "doctor": "Say what is wrong with a store, and what mends it",
}
"""Summary by name of command, in the order of `--help`. The module has the same name."""
