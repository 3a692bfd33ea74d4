#!/usr/bin/env bash
# Preprocessing as a job array, a share of the videos each; then, when all are done, the table (step 5) by one job more:
#
#   job=$(sbatch --parsable --array=1-8 --cpus-per-task=16 examples/slurm/preprocess.sh DATA_ROOT [options])
#   sbatch --dependency=afterok:$job examples/slurm/preprocess.sh DATA_ROOT [options]
#
# Submit from the project's folder; DATA_ROOT is on a disk that all machines see. An array that was interrupted is
# submitted again: what is done is not done twice. Give the same options to both, and the same --array each time;
# --overwrite to the array alone, once.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"

data_root="${1:?the data root is missing}"
shift
share=()
for option in "$@"; do
    if [[ "$option" == --overwrite && -z "${SLURM_ARRAY_TASK_ID:-}" ]]; then
        echo "preprocess.sh: --overwrite would do again what the array has just done; give it to the array alone" >&2
        exit 2
    fi
done
if [[ -n "${SLURM_ARRAY_TASK_ID:-}" ]]; then
    # --array=1-8 without a step: the tasks are numbered from 1.
    share=(--part "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT")
fi
exec ./preprocess_data.sh "$data_root" --workers "${SLURM_CPUS_PER_TASK:-1}" "${share[@]}" "$@"
