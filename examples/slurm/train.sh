#!/usr/bin/env bash
# The training recipe on several machines, a process for each GPU:
#
#   sbatch --nodes=4 --gpus-per-node=8 --exclusive examples/slurm/train.sh DATA_ROOT [options]
#
# Submit from the project's folder, which all nodes see under the same path, as they do the data. A job that was
# interrupted is submitted again and goes on from its last saved state.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"

data_root="${1:?the data root is missing}"
shift
export NNODES="${SLURM_JOB_NUM_NODES:?is set by sbatch}" MASTER_PORT="${MASTER_PORT:-29500}" MAX_RESTARTS="${MAX_RESTARTS:-3}"
MASTER_ADDR="$(hostname)" # the batch script runs on the job's first node
export MASTER_ADDR
# shellcheck disable=SC2016 # expanded on each node
srun --ntasks-per-node=1 bash -c 'NODE_RANK="$SLURM_NODEID" exec ./train.sh "$@"' train \
    "$data_root" "${SLURM_GPUS_ON_NODE:-0}" "$@"
