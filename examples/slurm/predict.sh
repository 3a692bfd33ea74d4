#!/usr/bin/env bash
# Prediction as a job array, a subfolder of VIDEOS each, in alphabetical order; a CSV each, named after it:
#
#   sbatch --array=1-50 --cpus-per-task=16 --gpus=1 examples/slurm/predict.sh VIDEOS OUTPUT_FOLDER [options]
#
# Submit from the project's folder; both folders are on a disk that all machines see. A task that was interrupted goes
# on when it is submitted again. Names in a CSV are relative to its subfolder.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"

videos="${1:?the folder of the videos is missing}" output="${2:?the folder of the results is missing}"
shift 2
shopt -s nullglob
folders=("$videos"/*/)
number="${SLURM_ARRAY_TASK_ID:?is set by sbatch --array}"
if ((number < 1 || number > ${#folders[@]})); then
    echo "predict.sh: there is no subfolder $number in $videos, only ${#folders[@]}" >&2
    exit 2
fi
folder="${folders[number - 1]%/}"
mkdir -p "$output"
exec ./predict_submission.sh "$folder" "$output/$(basename -- "$folder").csv" "$@"
