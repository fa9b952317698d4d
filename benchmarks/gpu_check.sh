#!/bin/sh
# Everything that needs a CUDA card, in one run of about five minutes on an H200 (no step may take over three, nor all of
# them a quarter of an hour) and without a network: build in place, GPU tests,
# compute-sanitizer on a few of them, throughput, shards from disk through the card and back, and ncu's figures of the
# two main kernels. Needs Python with torch, pybind11, ninja, scikit-learn, pytest and hypothesis, and nvcc. What was
# done stands in gpu_check.json after each step, for a run that is cut off. The exit code is 1 where a step failed.
#
#   sh benchmarks/gpu_check.sh [folder for the results, default benchmarks/results]
set -u
cd "$(dirname "$0")/.."
OUT=${1:-benchmarks/results}
PYTHON=${PYTHON:-python3}
mkdir -p "$OUT"
LOG="$OUT/gpu_check.log"
: >"$LOG"
export PYTHONPATH=. C3ALIGN_NATIVE=on C3ALIGN_CUDA=on C3ALIGN_BACKEND=native
export C3ALIGN_CUDA_ARCHITECTURES="${C3ALIGN_CUDA_ARCHITECTURES:-90}"

step() {  # name, seconds, command ...
    name=$1 limit=$2
    shift 2
    printf '== %s\n' "$name" | tee -a "$LOG"
    begin=$(date +%s)
    timeout "$limit" "$@" >>"$LOG" 2>&1
    code=$?
    [ "$code" = 0 ] || FAILED=1
    took=$(($(date +%s) - begin))
    printf '   exit %s after %s s\n' "$code" "$took" | tee -a "$LOG"
    STEPS="$STEPS${STEPS:+, }{\"step\": \"$name\", \"exit\": $code, \"seconds\": $took}"
    printf '{"device": "%s", "commit": "%s", "command": "sh benchmarks/gpu_check.sh", "steps": [%s]}\n' \
        "$DEVICE" "$COMMIT" "$STEPS" >"$OUT/gpu_check.json"
}

DEVICE=$("$PYTHON" -c "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else 'none')" 2>/dev/null)
COMMIT=${COMMIT:-$(git rev-parse --short HEAD 2>/dev/null || echo unknown)}  # where the history is not there, it is told
STEPS="" FAILED=0
step build 180 "$PYTHON" setup.py -q build_ext --inplace
if [ "$code" != 0 ]; then
    tail -40 "$LOG"
    exit 1
fi
step tests 150 "$PYTHON" -m pytest -q -p no:cacheprovider tests/gpu --durations=5
if command -v compute-sanitizer >/dev/null 2>&1; then
    export PYTORCH_NO_CUDA_MEMORY_CACHING=1
    step sanitizer 90 compute-sanitizer --error-exitcode 9 "$PYTHON" -m pytest -q -p no:cacheprovider tests/gpu -k "bits_of_the_cpu and 768 or normals"
    unset PYTORCH_NO_CUDA_MEMORY_CACHING
fi
step throughput 180 "$PYTHON" benchmarks/throughput.py --device cuda --rows 1000000 --dims 768 \
    --dtype float32 bfloat16 --rounds 15 --json "$OUT/throughput-cuda.json"
step small 60 "$PYTHON" benchmarks/throughput.py --device cuda --rows 256 20000 --dims 512 1024 8192 --dtype float32 \
    --rounds 9 --no-compile --json "$OUT/throughput-cuda-small.json"
step stream 120 "$PYTHON" benchmarks/scale.py --rows 1000000 --rounds 2 --files 10 --device cuda \
    --tasks read fit copy transform --json "$OUT/scale-cuda.json"
if command -v ncu >/dev/null 2>&1; then
    step ncu 90 ncu --kernel-name regex:transform_narrow --launch-skip 4 --launch-count 2 \
        --section SpeedOfLight --section Occupancy --section WarpStateStats \
        "$PYTHON" benchmarks/throughput.py --device cuda --rows 200000 --dims 768 --ops align corrupt --rounds 1 --no-compile
fi
tail -60 "$LOG"
cat "$OUT/gpu_check.json"
exit "$FAILED"
