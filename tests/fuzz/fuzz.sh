#!/bin/sh
# Builds the fuzz targets with clang and runs each in turn, two at a time. What reaches code that the corpus does
# not is added to tests/fuzz/corpus (the smallest such inputs); what breaks a target is kept in BUILD/findings.
# usage: fuzz.sh SOURCE_FOLDER BUILD_FOLDER SECONDS [TARGET...]
set -eu
source=$(cd "$1" && pwd)
mkdir -p "$2/findings"
build=$(cd "$2" && pwd)
seconds=$3
shift 3

probe="$build/probe.cpp"
echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' >"$probe"
if ! clang++ -fsanitize=fuzzer,address,undefined "$probe" -o "$build/probe" >"$build/probe.log" 2>&1; then
    echo "fuzz: clang++ with libFuzzer is needed; on Debian: apt-get install clang libclang-rt-14-dev" >&2
    echo "fuzz: (the libclang-rt package of the installed clang's version; $build/probe.log says what failed)" >&2
    exit 1
fi

cmake -S "$source" -B "$build" -DCMAKE_CXX_COMPILER=clang++ -DTEMPLAR_FUZZ=ON >"$build/configure.log" 2>&1 ||
    { cat "$build/configure.log"; exit 1; }
echo "fuzz: building"
cmake --build "$build" -j "$(nproc)" --target fuzz_programs >"$build/build.log" 2>&1 ||
    { tail -40 "$build/build.log"; exit 1; }

# One target: fuzz into the build folder's own, larger corpus; then add what is new to the one that is kept.
cat >"$build/one.sh" <<'ONE'
set -eu
source=$1 build=$2 seconds=$3 target=$4
kept="$source/tests/fuzz/corpus/$target" found="$build/corpus/$target"
limits="-max_len=65536 -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=64"
mkdir -p "$kept" "$found"
status=0
# shellcheck disable=SC2086
"$build/bin/fuzz_$target" $limits -max_total_time="$seconds" -print_final_stats=1 \
    -artifact_prefix="$build/findings/$target-" "$found" "$kept" >"$build/$target.log" 2>&1 || status=$?
executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$target.log")
covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$build/$target.log" | tail -1)
echo "fuzz: $target: ${executed:-?} inputs, ${covered:-?} edges"
if [ "$status" -ne 0 ]; then
    echo "fuzz: FINDING in $target, see $build/$target.log"
    exit 1
fi
# By edges alone, not by how often each is passed: few and small files.
# shellcheck disable=SC2086
"$build/bin/fuzz_$target" $limits -merge=1 -use_counters=0 "$kept" "$found" >"$build/$target-merge.log" 2>&1 ||
    { tail -20 "$build/$target-merge.log"; exit 1; }
ONE

[ $# -gt 0 ] || set -- $(cd "$build/bin" && ls | sed -n 's/^fuzz_//p' | grep -v '^seeds$')
status=0
printf '%s\n' "$@" | xargs -n 1 -P 2 sh "$build/one.sh" "$source" "$build" "$seconds" || status=1
if [ "$status" -ne 0 ]; then
    echo "fuzz: something was found. The inputs: $build/findings; to run one again:" >&2
    echo "fuzz:   $build/bin/fuzz_TARGET FILE" >&2
    exit 1
fi
echo "fuzz: nothing was found; new inputs, if any, are in tests/fuzz/corpus"
