#!/bin/bash
# Our S3 client beside rclone and curl, against one real S3 server on this machine: a gather (15 objects of
# 24 MB) and an upload (one). The tools take turns, ROUNDS times. Prints medians.
#   gather  every object ends in memory: ours in the process itself, the others' files on a tmpfs; "hashed" is ours
#           with the SHA-256 of each object, which the others do not compute
#   files   ours to files too
#   read    bytes read and dropped by curl, for scale: nobody can use them
#
#   bench_s3.sh [FOLDER_OF_PROGRAMS]      default build/bin; environment: ROUNDS (7)
#
# Server and client share the machine's cores: where "cores" (of both together) nears what there is, the
# machine is the limit, and the client's own CPU seconds tell the tools apart. Where it stays far below, other
# work on the machine is.

set -eu
umask 077
export LC_ALL=C
unset "${!AWS_@}" http_proxy HTTP_PROXY all_proxy ALL_PROXY
objects=15
bytes=24000000
rounds=${ROUNDS:-7}
source=$(cd "$(dirname "$0")" && pwd)
bucket=$(realpath "${1:-build/bin}")/bucket

for program in rclone curl time; do
    type -P $program >/dev/null && continue
    echo "bench_s3: $program is missing; type: apt-get install rclone curl time" >&2
    exit 77
done
if [ ! -x "$bucket" ]; then
    echo "bench_s3: $bucket is missing: make, or name the folder of programs" >&2
    exit 2
fi

work=$(mktemp -d /dev/shm/bench-s3-XXXXXX)
server=$work/server
trap '"$source/s3_server.sh" stop "$server"; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP
"$source/s3_server.sh" start "$server" bench >/dev/null

setting() { sed -n "/^\[bench\]/,/^$/s/^$1 = //p" "$server/credentials"; }
export RCLONE_CONFIG=/dev/null RCLONE_S3_PROVIDER=Ceph RCLONE_S3_REGION=us-east-1
RCLONE_S3_ENDPOINT=$(setting endpoint_url)
RCLONE_S3_ACCESS_KEY_ID=$(setting aws_access_key_id)
RCLONE_S3_SECRET_ACCESS_KEY=$(setting aws_secret_access_key)
export RCLONE_S3_ENDPOINT RCLONE_S3_ACCESS_KEY_ID RCLONE_S3_SECRET_ACCESS_KEY
own=(--credentials "$server/credentials" --allow-http)
url='s3://bench?profile=bench'

# --- What the tools are given

keys=()
mkdir "$work/in"
for ((i = 0; i < objects; ++i)); do
    keys+=("gather/$i")
    head -c $bytes /dev/urandom >"$work/in/$i"
    "$bucket" put "$url" "$work/in/$i" "gather/$i" "${own[@]}" >/dev/null 2>&1
    target=$("$bucket" presign "$url" "gather/$i" "${own[@]}" 2>/dev/null)
    printf 'url = "%s"\noutput = "%s"\n' "$target" "$work/out/gather/$i" >>"$work/to"
    printf 'url = "%s"\noutput = "/dev/null"\n' "$target" >>"$work/discard"
done
upload=$("$bucket" presign "$url" upload --method PUT "${own[@]}" 2>/dev/null)
printf 'url = "%s"\nupload-file = "%s"\n' "$upload" "$work/in/0" >"$work/upload"

quick=(--transfers "$objects" --checkers "$objects" --multi-thread-streams 0 --ignore-checksum
    --ignore-times --no-traverse --no-check-dest --s3-no-check-bucket --s3-disable-checksum --s3-no-head --use-mmap --retries 1)
fetch=(curl -q --silent --fail --parallel --parallel-max "$objects" --parallel-immediate)

choose() { # CASE TOOL: sets `command`
    case "$1 $2" in
    "files ours") command=("$bucket" get "$url" "${keys[@]}" "${own[@]}" --to "$work/out" --no-hash) ;;
    "gather rclone") command=(rclone copy :s3:bench/gather "$work/out/gather" "${quick[@]}") ;;
    "gather curl") command=("${fetch[@]}" --create-dirs --config "$work/to") ;;
    "gather ours") command=("$bucket" get "$url" "${keys[@]}" "${own[@]}" --discard --no-hash --parallel "$objects") ;;
    "gather hashed") command=("$bucket" get "$url" "${keys[@]}" "${own[@]}" --discard --parallel "$objects") ;;
    "read curl") command=("${fetch[@]}" --config "$work/discard") ;;
    "upload ours") command=("$bucket" put "$url" "$work/in/0" upload "${own[@]}" --replace) ;;
    "upload rclone") command=(rclone copyto "$work/in/0" :s3:bench/upload "${quick[@]}") ;;
    "upload curl") command=(curl -q --silent --fail --config "$work/upload") ;;
    esac
}

# --- Measuring

server_cpu() { # seconds of the server's processes so far
    local name pid ticks=0 fields
    for name in mon osd rgw; do
        read -r pid _ <"$server/state/$name.pid"
        read -r fields <"/proc/$pid/stat"
        read -ra fields <<<"${fields##*) }"
        ticks=$((ticks + fields[11] + fields[12]))
    done
    awk "BEGIN { print $ticks / $(getconf CLK_TCK) }"
}

measure() { # CASE TOOL: a line "wall user system rss_kib server" to results/CASE.TOOL
    local begin end before after
    choose "$1" "$2"
    rm -rf "$work/out"
    before=$(server_cpu)
    begin=$EPOCHREALTIME
    if ! "$(type -P time)" -f '%U %S %M' -o "$work/used" "${command[@]}" >"$work/said" 2>&1 </dev/null; then
        echo "bench_s3: $1 by $2 failed:" >&2
        cat "$work/said" >&2
        exit 1
    fi
    end=$EPOCHREALTIME
    after=$(server_cpu)
    echo "$begin $end $(tail -n 1 "$work/used") $before $after" |
        awk '{ print $2 - $1, $3 + $4, $5 / 1024, $7 - $6 }' >>"$work/results/$1.$2"
    [ ! -d "$work/out" ] || for ((i = 0; i < objects; ++i)); do cmp "$work/in/$i" "$work/out/gather/$i"; done
}

median() { # COLUMN FILE
    awk "{ print \$$1 }" "$2" | sort -g |
        awk '{ a[NR] = $1 } END { print NR % 2 ? a[(NR + 1) / 2] : (a[NR / 2] + a[NR / 2 + 1]) / 2 }'
}

mkdir "$work/results"
for ((round = 0; round <= rounds; ++round)); do
    for pair in "gather ours" "gather hashed" "gather rclone" "gather curl" "files ours" "read curl" \
        "upload ours" "upload rclone" "upload curl"; do
        # shellcheck disable=SC2086
        measure $pair
    done
    [ $round != 0 ] || rm "$work"/results/*         # the first warms everything up
done

echo "$objects objects of $((bytes / 1000000)) MB, $(nproc) cores, medians of $rounds rounds, $(date -u +%F)"
printf '%-8s %-7s %8s %8s %13s %9s %13s %6s %11s\n' \
    case tool wall_s MB/s client_cpu_s rss_MiB server_cpu_s cores best/ours
for case in gather files read upload; do
    total=$((bytes * objects))
    [ $case != upload ] || total=$bytes
    [ $case = files ] || best=          # files are compared with the others' gather, which is to files
    for tool in rclone curl ours hashed; do     # ours last, beside the best of the others
        file=$work/results/$case.$tool
        [ -f "$file" ] || continue
        wall=$(median 1 "$file")
        [[ $tool = ours || $tool = hashed ]] || best=$(printf '%s\n' ${best:+"$best"} "$wall" | sort -g | head -n 1)
        echo "$case $tool $total $wall $(median 2 "$file") $(median 3 "$file") $(median 4 "$file") $best"
    done
done | awk '{ printf "%-8s %-7s %8.3f %8.0f %13.3f %9.1f %13.3f %6.2f %11s\n",
    $1, $2, $4, $3 / $4 / 1e6, $5, $6, $7, ($5 + $7) / $4, $2 == "ours" || $2 == "hashed" ? $8 == "" ? "" : sprintf("%.2f", $8 / $4) : "" }'
