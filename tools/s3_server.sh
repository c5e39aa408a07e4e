#!/bin/bash
# A throw-away S3 server on this machine: Ceph's radosgw over one monitor and one in-memory disk, on free
# loopback ports, its files under DIR. The objects live in memory and die with it.
#
#   s3_server.sh start DIR NAME...   start it, or leave it running; each NAME new to it gets a bucket NAME, a
#                                    user NAME with every right on that bucket alone, and a user NAME-read
#                                    whose key can only get objects (no list, no write). Prints endpoint=URL
#                                    and credentials=FILE, an AWS-style key file (mode 0600) with a section
#                                    for each user. A start that fails or is interrupted ends the server.
#   s3_server.sh stop DIR            end it; DIR/log stays until the next start
#
# Exit status: 0 good, 1 failed, 2 wrong use, 77 cannot run here: packages are missing (it installs none).
# S3_SERVER_BYTES: room for objects (4 GiB; writes hang when it is full).

set -u
umask 077
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
unset CDPATH CEPH_CONF CEPH_ARGS CEPH_KEYRING

say() { echo "s3_server: $*" >&2; }
wrong_use() {
    say "$1"
    say "usage: s3_server.sh start DIR NAME... | stop DIR"
    exit 2
}

need_programs() {
    local program
    for program in ceph-mon ceph-osd radosgw radosgw-admin ceph ceph-authtool monmaptool curl; do
        command -v $program >/dev/null && continue
        say "$program is missing; type: apt-get install --no-install-recommends" \
            "radosgw ceph-mon ceph-osd ceph-common curl"
        exit 77
    done
}

# --- Processes. state/NAME.pid holds "PID START-TIME": a number alone may be somebody else's by now.

start_time() { # PID; fails when there is no such process, or only its corpse
    local line
    { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
    read -ra line <<<"${line##*) }"
    [ "${line[0]}" != Z ] && echo "${line[19]}"
}

alive() { # NAME
    local pid born
    { read -r pid born <"state/$1.pid"; } 2>/dev/null && [ "$(start_time "$pid")" = "$born" ]
}

become() { # NAME COMMAND...: the process notes its own number first, so that none ever runs unnoted
    local pid=$BASHPID
    echo "$pid $(start_time "$pid")" >"state/$1.pid"
    shift
    exec setsid "$@" </dev/null 9<&-
}

spawn() { # NAME COMMAND...
    rm -f "state/$1.pid"
    become "$@" >>"log/$1.out" 2>&1 &
    until [ -s "state/$1.pid" ]; do sleep 0.01; done
}

do_step() { # COMMAND...: bounded in time, and interruptible by a signal
    local try
    spawn step "$@"
    for ((try = 0; try < 2000; ++try)); do
        alive step || break
        sleep 0.02
    done
    ! alive step && wait $!
}

end_all() { # -9: there is nothing to save
    local name pid
    disown -a
    for name in step rgw osd mon; do
        while alive $name; do
            read -r pid _ <state/$name.pid
            kill -9 "$pid" 2>/dev/null
            sleep 0.02
        done
    done
}

running() { alive mon && alive osd && alive rgw && [ -s credentials ]; }

abandon() { # WHY
    trap '' INT TERM HUP
    end_all
    rm -rf credentials keyring state
    say "$1; see $PWD/log"
    exit 1
}

# --- Ports

is_open() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null 9<&-; }

free_port() { # below the range the kernel takes ports for outgoing connections from
    local port=$((20000 + RANDOM % 12000))
    while is_open $port; do port=$((20000 + RANDOM % 12000)); done
    echo $port
}

until_open() { # PORT NAME
    local try
    for ((try = 0; try < 400; ++try)); do
        alive "$2" || return 1
        is_open "$1" && return
        sleep 0.05
    done
    return 1
}

# --- The cluster

configure() { # FSID MON_PORT
    cat >conf <<X
[global]
fsid = $1
mon_host = v2:127.0.0.1:$2
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_msgr1 = false
# cephx, though all is local: with "none" the gateway does not start.
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
auth_allow_insecure_global_id_reclaim = false
keyring = keyring
mon_data = mon
osd_data = osd
rgw_data = rgw
run_dir = state
pid_file =
admin_socket =
crash_dir = log
log_file = log/\$type.log
log_to_stderr = false
mon_cluster_log_file = log/cluster.log
mon_data_avail_crit = 0
mon_allow_pool_size_one = true
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
osd_objectstore = memstore
memstore_device_bytes = ${S3_SERVER_BYTES:-4294967296}
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
# S3 keys have up to 1024 bytes; the gateway adds to them.
osd_max_object_name_len = 2048
[client.rgw]
log_file = log/rgw.log
rgw_enable_apis = s3, admin
rgw_thread_pool_size = 64
rgw_gc_obj_min_wait = 30
rgw_gc_processor_period = 10
X
}

make_key() { # NAME CAPABILITIES...
    do_step ceph-authtool keyring --gen-key -n "$@"
}

start_cluster() {
    local fsid port osd
    fsid=$(</proc/sys/kernel/random/uuid)
    osd=$(</proc/sys/kernel/random/uuid)
    port=$(free_port)
    rm -rf keyring monmap mon osd rgw
    mkdir mon osd rgw
    configure "$fsid" "$port"
    # One keyring for all, given to the monitor too.
    : >keyring
    make_key mon. --cap mon 'allow *' &&
        make_key client.admin --cap mon 'allow *' --cap osd 'allow *' &&
        make_key osd.0 --cap mon 'allow profile osd' --cap osd 'allow *' &&
        make_key client.rgw --cap mon 'allow rwx' --cap osd 'allow rwx' &&
        do_step monmaptool --create --clobber --fsid "$fsid" --addv a "[v2:127.0.0.1:$port]" monmap &&
        do_step ceph-mon -c conf -i a --mkfs --monmap monmap --keyring keyring || return 1
    spawn mon ceph-mon -c conf -i a -f
    until_open "$port" mon || return 1
    # The disk starts only under the identity that the monitor was told.
    do_step ceph -c conf osd new "$osd" && do_step ceph-osd -c conf -i 0 --mkfs --osd-uuid "$osd" || return 1
    spawn osd ceph-osd -c conf -i 0 -f
}

start_gateway() {
    local port key
    port=$(free_port)
    key=$(new_key)
    echo "http://127.0.0.1:$port" >state/endpoint
    echo "$key" >state/administrator
    # Before the gateway starts: both make the zone's pools, and one of two at a time fails.
    do_step radosgw-admin -c conf -n client.rgw user create --uid=administrator --display-name=administrator \
        --caps='users=*' --access-key="${key%:*}" --secret-key="${key#*:}" || return 1
    spawn rgw radosgw -c conf -n client.rgw -f --rgw_frontends="beast endpoint=127.0.0.1:$port"
    until_open "$port" rgw
}

# --- Users and buckets

random_hex() { od -An -v -tx1 -N"$1" /dev/urandom | tr -d ' \n'; }
new_key() { echo "$(random_hex 10 | tr a-f A-F):$(random_hex 20)"; } # ID:SECRET

# True when the answer has that status. Users' keys stay off command lines.
request() { # STATUS METHOD PATH?QUERY KEY [BODY]
    local status=$1 method=$2 target=$3 key=$4 body=${5-} got
    got=$(curl -q --silent --max-time 20 --noproxy '*' --config - --output log/answer \
        --write-out '%{http_code}' --aws-sigv4 aws:amz:us-east-1:s3 --request "$method" --data-binary "$body" \
        -H "x-amz-content-sha256: $(printf %s "$body" | sha256sum | cut -d' ' -f1)" 9<&- <<X
url = "$(<state/endpoint)$target"
user = "$key"
X
    )
    [ "$got" = "$status" ] && return
    echo "$method ${target%%\?*}: expected $status, found $got: $(<log/answer)" >>log/step.out
    return 1
}

add_user() { # NAME KEY MAX-BUCKETS. The query is in the order in which it is signed.
    request 200 PUT "/admin/user?access-key=${2%:*}&display-name=$1&max-buckets=$3&secret-key=${2#*:}&uid=$1" \
        "$(<state/administrator)" || return 1
    printf '%s\n' "[$1]" "aws_access_key_id = ${2%:*}" "aws_secret_access_key = ${2#*:}" \
        "endpoint_url = $(<state/endpoint)" "region = us-east-1" "" >>credentials.new
}

# The reader's second statement lets it learn that an object is missing (404 instead of 403), as one does who
# may list; a list itself always has max-keys, and is refused.
add_bucket() { # NAME
    local name=$1 owner reader principal
    owner=$(new_key)
    reader=$(new_key)
    principal='"Effect":"Allow","Principal":{"AWS":"arn:aws:iam:::user/'$name-read'"}'
    add_user "$name" "$owner" 1 && add_user "$name-read" "$reader" -1 &&
        request 200 PUT "/$name" "$owner" &&
        request 204 PUT "/$name?policy=" "$owner" '{"Version":"2012-10-17","Statement":[
            {'"$principal"',"Action":"s3:GetObject","Resource":"arn:aws:s3:::'"$name"'/*"},
            {'"$principal"',"Action":"s3:ListBucket","Resource":"arn:aws:s3:::'"$name"'",
             "Condition":{"Null":{"s3:max-keys":"true"}}}]}' &&
        request 404 GET "/$name/probe" "$reader" && request 403 PUT "/$name/probe" "$reader" &&
        request 403 GET "/$name" "$reader" && request 400 PUT "/$name-other" "$owner"
}

add_buckets() { # NAME...
    local name
    cp credentials credentials.new 2>/dev/null || : >credentials.new
    for name in "$@"; do
        grep -qxF "[$name]" credentials.new || add_bucket "$name" || return 1
    done
    mv credentials.new credentials
}

# ---

enter() { # DIR: there, and alone
    cd "$1" && exec 9<. && flock 9
}

start() { # DIR NAME...
    local dir=$1 name try
    shift
    for name in "$@"; do
        [[ $name =~ ^[a-z0-9][a-z0-9-]{1,50}[a-z0-9]$ && $name != *-read ]] ||
            wrong_use "'$name' cannot be a bucket's name"
    done
    need_programs
    mkdir -p "$dir" && enter "$dir" || exit 1
    [ -f .s3_server ] || [ -z "$(ls -A)" ] || wrong_use "$dir holds other things; name a new folder"
    : >.s3_server
    trap 'abandon interrupted' INT TERM HUP
    if ! running; then
        end_all
        rm -rf credentials log state
        mkdir log state
        for try in 1 2 3; do            # again when another program has just taken a port
            start_cluster && start_gateway && break
            [ $try != 3 ] || abandon "it did not start"
            end_all
        done
    fi
    add_buckets "$@" || abandon "a bucket could not be made"
    echo "endpoint=$(<state/endpoint)"
    echo "credentials=$PWD/credentials"
}

stop() { # DIR
    [ -f "$1/.s3_server" ] || return 0
    enter "$1" || exit 1
    end_all
    rm -rf conf credentials credentials.new keyring mon monmap osd rgw state
}

case ${1-} in
start)
    [ $# -ge 3 ] || wrong_use "start wants a folder and names"
    shift
    start "$@"
    ;;
stop)
    [ $# = 2 ] || wrong_use "stop wants a folder"
    stop "$2"
    ;;
*) wrong_use "start or stop?" ;;
esac
