#!/bin/bash
# Twenty trials under Slurm, without Ray, one a task: sbatch configs/launch/slurm-array.sh mnist/base
# On GPUs: sbatch --gpus-per-task=1 configs/launch/slurm-array.sh mnist/base --device cuda
#SBATCH --job-name=paceline
#SBATCH --array=0-19
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --exclusive
#SBATCH --time=01:00:00
set -euo pipefail

# since Slurm 22.05 srun does not inherit --cpus-per-task
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" python bench/run.py "$@" \
    --trials 1 --seed "$SLURM_ARRAY_TASK_ID" --threads "$SLURM_CPUS_PER_TASK"
