#!/bin/bash
# Ceph with an object gateway from Debian's packages, without systemd: one monitor, one manager, three OSDs (bluestore, each on
# a sparse file), pools of size three, the gateway on 127.0.0.1. Needs root. STATE and PORT come from the caller.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

for tool in ceph-mon ceph-mgr ceph-osd radosgw jq; do
    command -v $tool >/dev/null || missing=1
done
if [ -n "${missing:-}" ]; then
    # Nothing is to be started by the packages themselves.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
        trap 'rm -f $policy' EXIT
    fi
    apt-get -q update
    DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=900 install --no-install-recommends \
        ceph-mon ceph-mgr ceph-osd radosgw ceph-common jq
fi

mkdir -p "$STATE"/{run,log,keyring,crash}
[ -s "$STATE/fsid" ] || cat /proc/sys/kernel/random/uuid >"$STATE/fsid"
FSID=$(cat "$STATE/fsid")
sed -e "s|@STATE@|$STATE|g" -e "s|@FSID@|$FSID|g" -e "s|@OSD_BYTES@|$OSD_BYTES|g" \
    -e "s|@OSD_MEMORY@|$OSD_MEMORY|g" -e "s|@PORT@|$PORT|g" -e "s|@NODELAY@|$NODELAY|g" "$HERE/ceph.conf.in" >"$CONF"
K=$STATE/keyring

if [ ! -e "$STATE/mon.a/done" ]; then
    log "creating the monitor"
    rm -rf "$STATE/mon.a"; mkdir -p "$STATE/mon.a"
    ceph-authtool --create-keyring "$K/ceph.mon.keyring" --gen-key -n mon. --cap mon 'allow *' >/dev/null
    ceph-authtool --create-keyring "$K/ceph.client.admin.keyring" --gen-key -n client.admin \
        --cap mon 'allow *' --cap osd 'allow *' --cap mds 'allow *' --cap mgr 'allow *' >/dev/null
    ceph-authtool "$K/ceph.mon.keyring" --import-keyring "$K/ceph.client.admin.keyring" >/dev/null
    rm -f "$STATE/monmap"
    monmaptool --create --addv a "[v2:127.0.0.1:3300,v1:127.0.0.1:6789]" --fsid "$FSID" "$STATE/monmap" >/dev/null
    ceph-mon -c "$CONF" --mkfs -i a --monmap "$STATE/monmap" --keyring "$K/ceph.mon.keyring" >>"$STATE/log/mkfs.out" 2>&1
    touch "$STATE/mon.a/done"
fi
start mon.a ceph-mon -c "$CONF" -i a -f
for i in $(seq 60); do c --connect-timeout 2 mon stat >/dev/null 2>&1 && break; sleep 0.5; done
c mon enable-msgr2 >/dev/null 2>&1 || true

if [ ! -e "$K/ceph.mgr.x.keyring" ]; then
    mkdir -p "$STATE/mgr.x"
    c auth get-or-create mgr.x mon 'allow profile mgr' osd 'allow *' mds 'allow *' -o "$K/ceph.mgr.x.keyring"
fi
start mgr.x ceph-mgr -c "$CONF" -i x -f

for n in $(seq 0 $((OSDS - 1))); do
    d=$STATE/osd.$n
    if [ ! -e "$d/done" ]; then
        log "creating OSD $n"
        mkdir -p "$d"
        [ -s "$d.uuid" ] || cat /proc/sys/kernel/random/uuid >"$d.uuid"
        secret=$(ceph-authtool --gen-print-key)
        printf '{"cephx_secret": "%s"}' "$secret" | c osd new "$(cat "$d.uuid")" "$n" -i - >/dev/null
        ceph-authtool --create-keyring "$K/ceph.osd.$n.keyring" -n "osd.$n" --add-key "$secret" >/dev/null
        ceph-osd -c "$CONF" -i "$n" --mkfs --osd-uuid "$(cat "$d.uuid")" >>"$STATE/log/mkfs.out" 2>&1
        touch "$d/done"
    fi
    start "osd.$n" ceph-osd -c "$CONF" -i "$n" -f
done
for i in $(seq 120); do
    [ "$(c osd stat -f json 2>/dev/null | jq -r .num_up_osds)" = "$OSDS" ] && break
    sleep 0.5
done

if [ ! -e "$K/ceph.client.rgw.a.keyring" ]; then
    c auth get-or-create client.rgw.a mon 'allow rw' osd 'allow rwx' mgr 'allow rw' -o "$K/ceph.client.rgw.a.keyring"
fi
start rgw.a radosgw -c "$CONF" -n client.rgw.a -f
for i in $(seq 240); do curl -s -o /dev/null "http://127.0.0.1:$PORT/" && break; sleep 0.5; done

user() { timeout 120 radosgw-admin -c "$CONF" "$@" >/dev/null; }
if [ ! -e "$STATE/bench-user.done" ]; then
    user user create --uid=bench --display-name=Bench --email=bench@example.com
    user subuser create --uid=bench --subuser=bench:bench --access=full
    user key create --subuser=bench:bench --key-type=swift --secret-key=benchmark
    touch "$STATE/bench-user.done"
fi

log "ready on http://127.0.0.1:$PORT"
