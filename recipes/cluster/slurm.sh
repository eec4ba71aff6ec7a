#!/bin/bash
# Two machines of four GPUs each:   sbatch recipes/cluster/slurm.sh recipes/finetune/published-full-80gb.yaml
# optim.shard: true in the recipe splits a model that one card cannot hold among all of them.
# A job that was cut is submitted again as it is: it resumes. batches_per_step must be a multiple of 8 here.
#SBATCH --job-name=fireredtts2-train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --requeue
set -euo pipefail
recipe=${1:?usage: sbatch slurm.sh RECIPE.yaml}
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun torchrun --nnodes="$SLURM_NNODES" --nproc-per-node=4 \
  --rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d --rdzv-endpoint="$head:29500" \
  -m fireredtts2 train "$recipe" --resume
