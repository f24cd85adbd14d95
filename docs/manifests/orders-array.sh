#!/bin/bash
# An array of workers of the flow orders:cp, which ends when nothing is left: sbatch orders-array.sh
#SBATCH --job-name=orders
#SBATCH --array=0-15
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
# Two minutes before its time is over, each task gets SIGTERM, and drains. "B:" is this script,
# whose place the worker takes by `exec`.
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append

exec aiocheckpoint work orders:cp --limit "${SLURM_CPUS_PER_TASK:-4}" --until-empty
