#!/bin/sh
# Installs what building, testing and the demo need on Debian or Ubuntu. Asks nothing when run as root;
# otherwise prints the one line to type. Does nothing when everything is there.
#   install_deps.sh       what building needs
#   install_deps.sh s3    also a real S3 server for tests and demos (tools/s3_server.sh)
set -eu

packages="g++ make cmake libfmt-dev nlohmann-json3-dev libcli11-dev libssl-dev libcurl4-openssl-dev libdnnl-dev doctest-dev zlib1g-dev libzstd-dev libutf8proc-dev"
case "$#-${1-}" in
0-) ;;
1-s3) packages="$packages radosgw ceph-mon ceph-osd ceph-common curl" ;;
*)
    echo "usage: install_deps.sh [s3]" >&2
    exit 2
    ;;
esac

missing=""
for package in $packages; do
    if [ "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" != "install ok installed" ]; then
        missing="$missing $package"
    fi
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "install_deps: this is not Debian or Ubuntu; please install:$missing" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "install_deps: some packages are missing; type this line, then the same make again:" >&2
    echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends$missing" >&2
    exit 1
fi
echo "install_deps: installing$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null
