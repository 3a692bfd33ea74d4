#!/usr/bin/env bash
# A Ray cluster on all nodes of a job, and a command on it:
#
#   sbatch --nodes=8 --exclusive examples/slurm/ray.sh ./preprocess_data.sh DATA_ROOT
#   sbatch --nodes=8 --exclusive examples/slurm/ray.sh ./predict_submission.sh VIDEOS OUTPUT.csv
#
# Submit from the project's folder, which all nodes see under the same path, as they do the data. The batch script runs
# on the job's first node, which is the head of the cluster. Ray counts each node's CPUs and GPUs itself. Where other
# jobs may be on the node, set RAY_PORT to a port of your own.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"
source common/find_python.sh

ray=("$python" -m ray.scripts.scripts)
export RAY_USAGE_STATS_ENABLED=0
address="$(hostname):${RAY_PORT:-6379}"
nodes="${SLURM_JOB_NUM_NODES:-1}"
"${ray[@]}" start --head --port "${RAY_PORT:-6379}" --include-dashboard=false --block &
# Not `ray stop`, which ends the clusters of other jobs on this node as well.
head=$!
trap 'kill "$head" && wait "$head" || true' EXIT
if ((nodes > 1)); then
    srun --nodes=$((nodes - 1)) --ntasks-per-node=1 --exclude="$SLURMD_NODENAME" \
        "${ray[@]}" start --address "$address" --block &
fi

# Prediction takes the nodes that are there when it begins.
count='import ray, sys; ray.init(sys.argv[1], logging_level="error", log_to_driver=False); print(sum(n["Alive"] for n in ray.nodes()))'
until (($("$python" -c "$count" "$address" 2> /dev/null || echo 0) >= nodes)); do
    kill -0 "$head" # it has ended: so does this
    sleep 2
done
"$@" --executor ray --ray-address "$address"
