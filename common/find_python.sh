# Sourced by the shell scripts: sets `here` (the project's folder) and `python` ($PYTHON, else .venv, else python3).
here="$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
python="${PYTHON:-$here/.venv/bin/python}"
if [[ -z "${PYTHON:-}" && ! -x "$python" ]]; then
    python=python3
fi
if ! "$python" -c 'import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, ("torch", "cv2", "tqdm"))))'; then
    echo "$python: the project's packages are not installed; run: make -C '$here' setup" >&2
    exit 2
fi
# What lies in the caller's folder must not stand in for the project's modules (with python -P).
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
