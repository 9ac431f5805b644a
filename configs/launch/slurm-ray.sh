#!/bin/bash
# A Ray cluster of four nodes under Slurm for one sweep: sbatch configs/launch/slurm-ray.sh --suite nightly-gpu
#SBATCH --job-name=paceline
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --exclusive
#SBATCH --time=04:00:00
set -euo pipefail

export RAY_worker_niceness=0 RAY_AUTH_MODE=token  # the token is made once: ray get-auth-token --generate
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# since Slurm 22.05 srun does not inherit --cpus-per-task
srun --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" ray symmetric-run \
    --address "$first:6379" \
    --min-nodes "$SLURM_JOB_NUM_NODES" \
    --num-cpus "$SLURM_CPUS_PER_TASK" \
    --num-gpus "$SLURM_GPUS_ON_NODE" \
    -- python bench/sweep.py "$@" --cluster "$first:6379"
