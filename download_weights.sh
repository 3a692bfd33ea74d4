#!/usr/bin/env bash
# Downloads the seven released checkpoints (266 MB each). Run it again to go on after a cut-off.
set -euo pipefail

usage() {
    cat <<'USAGE'
usage: download_weights.sh [-h] [--weights-dir DIR] [NAME ...]

Downloads checkpoints into DIR (default: weights beside this script) and verifies them.
Without a NAME: the seven released ones. Files that are there and sound are not downloaded again.

environment:
  WEIGHTS_URL  download <WEIGHTS_URL>/<NAME> instead of the published release
  PYTHON       the interpreter (default: .venv/bin/python beside this script, else python3)
USAGE
}

case "${1:-}" in -h | --help) usage && exit ;; esac

source "$(dirname -- "${BASH_SOURCE[0]}")/common/find_python.sh"
# A later --weights-dir wins over the first.
exec "$python" -P -m inference.download_weights --weights-dir "$here/weights" "$@"
