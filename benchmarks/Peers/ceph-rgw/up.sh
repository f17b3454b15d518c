#!/bin/bash
# Ceph with an object gateway from Debian packages, without systemd: 1 mon, 1
# mgr, 3 OSDs (bluestore, each on a sparse file), pools of size 3, radosgw
# (beast) on 127.0.0.1. Running it again starts what is not running.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

install_packages() {
    local want=(ceph-mon ceph-mgr ceph-osd radosgw ceph-common curl jq) missing=() p
    for p in "${want[@]}"; do
        dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || missing+=("$p")
    done
    [ ${#missing[@]} -eq 0 ] && return
    local made_policy=
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; made_policy=1
    fi
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=900 install -y --no-install-recommends "${missing[@]}"
    if [ -n "$made_policy" ]; then rm -f /usr/sbin/policy-rc.d; fi
}

install_packages
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
if [ ! -e "$STATE/users.done" ]; then
    log "creating users"
    user user create --uid=test --display-name=Tester --email=tester@example.com \
        --access-key=testaccess --secret-key=testsecret
    user subuser create --uid=test --subuser=test:tester --access=full
    user key create --subuser=test:tester --key-type=swift --secret-key=testing
    user user create --uid=test2 --display-name=Tester2 --email=tester2@example.com \
        --access-key=testaccess2 --secret-key=testsecret2
    user subuser create --uid=test2 --subuser=test2:tester2 --access=full
    user key create --subuser=test2:tester2 --key-type=swift --secret-key=testing2
    touch "$STATE/users.done"
fi
if [ ! -e "$STATE/bench-user.done" ]; then
    # The measurements have a user of their own: functional suites empty theirs.
    user user create --uid=bench --display-name=Bench --email=bench@example.com \
        --access-key=benchaccess --secret-key=benchsecret
    user subuser create --uid=bench --subuser=bench:bench --access=full
    user key create --subuser=bench:bench --key-type=swift --secret-key=benchmark
    touch "$STATE/bench-user.done"
fi

pids=$(for p in mon.a mgr.x $(seq -f 'osd.%g' 0 $((OSDS - 1))) rgw.a; do printf '%s ' "$STATE/run/$p.pid"; done)
cat >"$ENV_FILE" <<END
# Ceph object gateway anchor: Swift API (auth v1) and S3 API on one port.
NAME=ceph-rgw
ST_AUTH=http://127.0.0.1:$PORT/auth/v1.0
ST_USER=test:tester
ST_KEY=testing
ST_USER2=test2:tester2
ST_KEY2=testing2
S3_ENDPOINT=http://127.0.0.1:$PORT
S3_REGION=default
S3_ACCESS_KEY=testaccess
S3_SECRET_KEY=testsecret
S3_ACCESS_KEY2=testaccess2
S3_SECRET_KEY2=testsecret2
SERVER_PIDFILES="${pids% }"
DATA_DIR=$STATE
END
sed -e 's/^ST_USER=.*/ST_USER=bench:bench/' -e 's/^ST_KEY=.*/ST_KEY=benchmark/' -e 's/^S3_ACCESS_KEY=.*/S3_ACCESS_KEY=benchaccess/' \
    -e 's/^S3_SECRET_KEY=.*/S3_SECRET_KEY=benchsecret/' "$ENV_FILE" >"${ENV_FILE%.env}-bench.env"
"$HERE/../openstack-swift/verify.sh" "${ENV_FILE%.env}-bench.env"
touch "$READY_FILE"
log "ready on http://127.0.0.1:$PORT"
