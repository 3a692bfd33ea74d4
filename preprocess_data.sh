#!/usr/bin/env bash
# The five preprocessing steps on a data root, one after another:
#   1 detect_original_faces   boxes/       where the faces are in real videos
#   2 extract_crops           crops/       the faces of real and fake videos
#   3 generate_landmarks      landmarks/   eyes, nose and mouth in the real crops
#   4 generate_diffs          diffs/       where a fake differs from its original
#   5 generate_folds          folds.csv    which crop is for training, which for validation
# Run it again after an interruption: what is done is not done twice. -h lists the options.
set -euo pipefail

source "$(dirname -- "${BASH_SOURCE[0]}")/common/find_python.sh"
exec "$python" -P -m preprocessing.pipeline "$@"
