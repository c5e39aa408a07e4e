#!/bin/sh
# Builds and runs the tests of the rooms that parse and compute under the address and undefined-behaviour sanitizers.
# usage: sanitizers.sh SOURCE_FOLDER BUILD_FOLDER
set -eu
rooms="base kernels engine weights tokenizer eval net vectors"
cmake -S "$1" -B "$2" -DTEMPLAR_SANITIZE=ON >/dev/null
targets=""
for room in $rooms simt fuzz; do targets="$targets test_$room"; done
# shellcheck disable=SC2086
cmake --build "$2" -j "$(nproc)" --target $targets >"$2/build.log" 2>&1 || { tail -40 "$2/build.log"; exit 1; }
export OMP_WAIT_POLICY=passive
for room in $rooms; do
    echo "== $room"
    "$2/bin/test_$room" --no-version
done
echo "== simt (whole models and replicas without sanitizers only)"
"$2/bin/test_simt" --no-version --source-file-exclude="*/simt/engine/*"
echo "== fuzz"
"$2/bin/test_fuzz" "$1/tests/fuzz/corpus"
