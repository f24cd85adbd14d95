"""A batch job that estimates pi, for a Slurm cluster or a spot machine.

Start it with a folder that outlives the machine: python examples/batch_job.py work

At SIGUSR1 or SIGTERM it ends behind its step with exit code 75. Started again, it goes on there.
Once it has finished, each further start prints the stored result. The exit codes:

     0  the job has finished
    75  the job was stopped, start it again (EX_TEMPFAIL)
     1  a step has failed, with a traceback: mend it, and start it again

Slurm sends SIGUSR1 to the steps of a job 120 seconds before its time is over, with this script:

    #!/bin/bash
    #SBATCH --time=04:00:00 --signal=USR1@120 --requeue
    srun python examples/batch_job.py work
    code=$?
    if [ $code -eq 75 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
    exit $code

A spot machine stops its services by SIGTERM. For systemd the unit of the job has the lines
"Restart=on-failure", "SuccessExitStatus=75" and "RestartForceExitStatus=75". One step should take
less time than the machine leaves. A step that is killed runs again from its start.
"""

import argparse
import random
import signal
import sys
from pathlib import Path
from typing import Any

from aiocheckpoint import CheckpointFlow, DrainingError, current_step

State = dict[str, Any]
STEPS = 10
STOPPED = 75
SIGNALS = [getattr(signal, name) for name in ("SIGUSR1", "SIGTERM") if hasattr(signal, name)]


def make_flow(folder: Path, points: int) -> CheckpointFlow:
    """Make the flow, each of whose steps samples so many points."""
    cp = CheckpointFlow(f"{folder}/runs/", name="pi")

    def sample(state: State) -> None:
        step = current_step().step
        print(f"{step} begins", flush=True)
        draw = random.Random(step).random  # noqa: S311 - the same points in each attempt
        state["inside"] += sum(draw() ** 2 + draw() ** 2 < 1 for _ in range(points))
        state["points"] += points

    for number in range(1, STEPS + 1):
        cp.add_step(name=f"sample {number}")(sample)
    return cp


def main(folder: Path, points: int) -> int:
    """Run the job from where it stands, and give the exit code."""
    cp = make_flow(folder, points)
    for number in SIGNALS:
        signal.signal(number, lambda *_: cp.drain())
    try:
        state = cp.run({"inside": 0, "points": 0}, run_id="pi", once=True)
    except DrainingError:
        print("stopped, the next start goes on")
        return STOPPED
    finally:
        for number in SIGNALS:  # Python gives them up at its end, and the exit code is decided.
            signal.signal(number, signal.SIG_IGN)
    print(f"pi is about {4 * state['inside'] / state['points']:.4f}, by {state['points']} points")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Estimate pi.")
    parser.add_argument("folder", nargs="?", type=Path, default="work")
    parser.add_argument("points", nargs="?", type=int, default=1_000_000, help="in each step")
    options = parser.parse_args()
    sys.exit(main(options.folder, options.points))
