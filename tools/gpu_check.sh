#!/bin/sh
# Checks on a real GPU what the other tests check on the emulator: make gpu-check, or gpu_check.sh BUILD on what is
# built already.
#   1. on the hardware: every case of every operation, the model's and the replica's tests with the golden roots, a
#      small swarm
#   2. the operations' cases under compute-sanitizer: addresses, races in shared memory, barriers
#   3. the speed of every operation and of a training step
# Logs are kept in BUILD/gpu-check. Says "skipped: why" and ends well where there is no GPU.
set -u
build=${1:?usage: gpu_check.sh BUILD}
logs=$build/gpu-check
export OMP_WAIT_POLICY=passive

skip() {
    echo "skipped: $*"
    exit 0
}
[ -f "$build/bin/libtemplar_cuda.so" ] || skip "built without CUDA (no $build/bin/libtemplar_cuda.so)"
gpus=$(nvidia-smi -L 2>/dev/null) || skip "no GPU: nvidia-smi finds none"
[ -n "$gpus" ] || skip "no GPU: nvidia-smi lists none"
echo "$gpus"
mkdir -p "$logs"

failed=""
# step NAME COMMAND…: its last lines, and the whole in the log.
step() {
    name=$1
    shift
    echo "== $name: $*"
    if "$@" >"$logs/$name.log" 2>&1; then result=ok; else result="FAILED ($?)"; failed="$failed $name"; fi
    tail -n "${lines:-15}" "$logs/$name.log"
    echo "== $name: $result"
}

export TEMPLAR_TEST_DEVICE=cuda
step tests "$build/bin/test_simt" --no-version
if [ -x "$build/bin/test_simt_swarm" ]; then
    step swarm "$build/bin/test_simt_swarm" --no-version
else
    echo "skipped: swarm: not built (TEMPLAR_CORE_ONLY)"
fi

sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
if [ -n "$sanitizer" ]; then
    for tool in memcheck racecheck synccheck; do
        step "$tool" timeout 1200 "$sanitizer" --tool "$tool" --error-exitcode 1 "$build/bin/test_simt" --no-version \
            -tc="every operation agrees*,every version*"
    done
else
    echo "skipped: memcheck, racecheck, synccheck: no compute-sanitizer in PATH or /usr/local/cuda/bin"
fi

unset TEMPLAR_TEST_DEVICE
if [ -x "$build/bin/bench" ]; then
    lines=100 step bench "$build/bin/bench" --all --device cuda
else
    echo "skipped: bench: not built (TEMPLAR_CORE_ONLY)"
fi

[ -z "$failed" ] || { echo "gpu-check: failed:$failed; logs in $logs"; exit 1; }
echo "gpu-check: all passed; logs in $logs"
