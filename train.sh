#!/usr/bin/env bash
# The winning recipe: EfficientNet-B7 from five seeds on all folds but fold 0. Run it again after an interruption: it
# goes on where it was.
#
# NUM_GPUS 0 trains on the CPU. Several machines: the same command on each, NUM_GPUS being each one's own, with NNODES
# (how many), NODE_RANK (0, 1, ...) and MASTER_ADDR (the first one's address; MASTER_PORT if 29500 is taken) set, and
# the data and the weights on a shared disk. MAX_RESTARTS=3 starts all processes again from the last saved state when one
# of them has died, so often at most. SEEDS="111" trains fewer. Checkpoints go to WEIGHTS (default: weights/), the
# output of each run to LOGS/b7_<seed> (default: logs/).
set -euo pipefail

usage="usage: train.sh DATA_ROOT NUM_GPUS [options of training.pipelines.train_classifier]"
if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then
    echo "$usage"
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
    echo "The options: python -m training.pipelines.train_classifier --help"
    exit 0
fi
if (($# < 2)) || ! [[ "$2" =~ ^[0-9]+$ ]]; then
    echo "$usage" >&2
    exit 2
fi
source "$(dirname -- "${BASH_SOURCE[0]}")/common/find_python.sh"

data_root="$1" gpus="$2"
shift 2
program=(-P -m training.pipelines.train_classifier)
for option in "$@"; do
    if [[ "$option" == -h || "$option" == --help ]]; then
        exec "$python" "${program[@]}" --help
    elif [[ "$option" == --overwrite ]]; then
        echo "train.sh: --overwrite would begin all five runs anew whenever they are to go on; set other WEIGHTS and LOGS" >&2
        exit 2
    elif [[ "$option" == --resume || "$option" == --resume=* ]]; then
        echo "train.sh: its runs go on from their own states; --initial-weights FILE begins from the weights of another" >&2
        exit 2
    fi
done
if ((gpus > 1 || ${NNODES:-1} > 1 || ${MAX_RESTARTS:-0} > 0)); then
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
    where=(--standalone)
    if ((${NNODES:-1} > 1)); then
        where=(--nnodes "$NNODES" --node_rank "${NODE_RANK:?is not set}"
            --master_addr "${MASTER_ADDR:?is not set}" --master_port "${MASTER_PORT:-29500}")
    fi
    if ((${MAX_RESTARTS:-0} > 0)); then
        if ((${NNODES:-1} > 1)); then
            # Machines that meet anew after a worker has died; they agree on their ranks themselves.
            where=(--nnodes "$NNODES" --rdzv_backend c10d --rdzv_id dfdc
                --rdzv_endpoint "${MASTER_ADDR:?is not set}:${MASTER_PORT:-29500}")
        fi
        where+=(--max_restarts "$MAX_RESTARTS")
        # Else restarted processes look for each other where those were that died: torchrun's store keeps the addresses.
        export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    fi
    program=(-P -m torch.distributed.run "${where[@]}" --nproc_per_node "$((gpus > 0 ? gpus : 1))"
        -m training.pipelines.train_classifier --distributed)
fi
if ((gpus == 0)); then
    program+=(--gpu cpu)
elif ! "$python" -c 'import torch, sys; sys.exit(torch.cuda.device_count() < int(sys.argv[1]))' "$gpus"; then
    echo "train.sh: fewer than $gpus GPUs are usable here; NUM_GPUS 0 trains on the CPU" >&2
    exit 2
fi

# The training runs in the background, so that what asks this script to stop is passed on to it.
child= stopped=
trap 'stopped=143; [[ -z "$child" ]] || kill -TERM "$child" 2>/dev/null || true' TERM
trap 'stopped=130; [[ -z "$child" ]] || kill -TERM "$child" 2>/dev/null || true' INT

logs="${LOGS:-$here/logs}"
mkdir -p "$logs"
pipes="$(mktemp -d)"
trap 'rm -rf "$pipes"' EXIT
mkfifo "$pipes/output"
for seed in ${SEEDS:-111 555 777 888 999}; do
    echo "== seed $seed"
    # tee outlives the signals, so that the last lines are not lost, and is waited for.
    (trap '' TERM INT; exec tee -a "$logs/b7_$seed") < "$pipes/output" &
    log=$!
    "$python" "${program[@]}" \
        --config "$here/configs/b7.json" --data-dir "$data_root" --folds-csv "$data_root/folds.csv" --fold 0 \
        --seed "$seed" --prefix "b7_${seed}_" --freeze-epochs 0 --test_every 1 --label-smoothing 0.01 \
        --output-dir "${WEIGHTS:-$here/weights}" --logdir "$logs" --resume auto "$@" \
        > "$pipes/output" &
    child=$!
    # A signal may have come before there was a child to pass it on to.
    [[ -z "$stopped" ]] || kill -TERM "$child" 2>/dev/null || true
    # Not by `wait`, which a signal ends before the training has saved its state.
    while kill -0 "$child" 2>/dev/null; do
        sleep 0.5 || true
    done
    code=0
    wait "$child" || code=$?
    child=
    wait "$log" || true
    # A signal between two runs stops no training, but this script. A training that is just starting, in the background,
    # does not hear Ctrl-C, and calls what is passed on to it SIGTERM.
    if [[ -n "$stopped" ]] && ((code == 0 || code == 143)); then
        exit "$stopped"
    fi
    ((code == 0)) || exit "$code"
done
