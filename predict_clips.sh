#!/usr/bin/env bash
# Score a folder of videos with the eight networks of the clip system: the mean over each video's face tracks, then over
# the networks, kept 0.001 away from 0 and 1. The README says how they are trained; nobody publishes their weights.
set -euo pipefail

usage="usage: predict_clips.sh VIDEO_FOLDER OUTPUT.csv [options of predict_folder.py]"
if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then
    echo "$usage"
    echo "Needs weights/clips_<config>_..., trained by you: see 'The two other systems' in README.md"
    echo "The options: python predict_folder.py --help"
    exit 0
fi
if (($# < 2)); then
    echo "$usage" >&2
    exit 2
fi

source "$(dirname -- "${BASH_SOURCE[0]}")/common/find_python.sh"
exec "$python" "$here/predict_folder.py" --test-dir "$1" --output "$2" --weights-dir "$here/weights" \
    --clip-labels 0.001 --models \
    clips_i3d_I3D_0_best_dice \
    clips_resnet34_3d_ResNet34_3D_0_best_dice \
    clips_mc3_18_112_mc3_18_0_best_dice \
    clips_mc3_18_224_mc3_18_0_best_dice \
    clips_r2plus1d_18_r2plus1d_18_0_best_dice \
    clips_i3d_cutmix_I3D_0_best_dice \
    clips_r2plus1d_18_cutmix_r2plus1d_18_0_best_dice \
    clips_seresnext50_DeepFakeClassifier_seresnext50_32x4d.racm_in1k_0_best_dice \
    "${@:3}"
