#!/usr/bin/env bash
# Score a folder of videos with the seven released networks, as the winning submission did.
set -euo pipefail

usage="usage: predict_submission.sh VIDEO_FOLDER OUTPUT.csv [options of predict_folder.py]"
if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then
    echo "$usage"
    echo "Needs the released weights: ./download_weights.sh"
    echo "The options: python predict_folder.py --help"
    exit 0
fi
if (($# < 2)); then
    echo "$usage" >&2
    exit 2
fi

source "$(dirname -- "${BASH_SOURCE[0]}")/common/find_python.sh"
exec "$python" "$here/predict_folder.py" --test-dir "$1" --output "$2" --weights-dir "$here/weights" --models \
    final_111_DeepFakeClassifier_tf_efficientnet_b7_ns_0_36 \
    final_555_DeepFakeClassifier_tf_efficientnet_b7_ns_0_19 \
    final_777_DeepFakeClassifier_tf_efficientnet_b7_ns_0_29 \
    final_777_DeepFakeClassifier_tf_efficientnet_b7_ns_0_31 \
    final_888_DeepFakeClassifier_tf_efficientnet_b7_ns_0_37 \
    final_888_DeepFakeClassifier_tf_efficientnet_b7_ns_0_40 \
    final_999_DeepFakeClassifier_tf_efficientnet_b7_ns_0_23 \
    "${@:3}"
