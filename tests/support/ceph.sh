#!/usr/bin/env bash
# ceph.sh FOLDER PORT: a small Ceph with its S3 gateway on 127.0.0.1:PORT, until it is told to stop.
# One monitor (on PORT + 10), one store in memory; what is written is gone afterwards. The keys are
# AKIATEST and secretsecret.
set -euo pipefail
folder=$1
port=$2
mkdir -p "$folder"/{mon,osd,run,log}
cd "$folder"
keys=$folder/keyring
id=$(cat /proc/sys/kernel/random/uuid)
cat >ceph.conf <<END
[global]
fsid = $id
mon host = v2:127.0.0.1:$((port + 10))
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = $keys
auth allow insecure global id reclaim = true
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data avail warn = 1
mon data avail crit = 1
mon initial members = a
mon max pg per osd = 1000
paxos propose interval = 0.01
osd objectstore = memstore
memstore device bytes = 2147483648
run dir = $folder/run
crash dir = $folder/run
admin socket = $folder/run/\$name.asok
pid file = $folder/run/\$name.pid
log file = $folder/log/\$name.log
log to stderr = false
err to stderr = true
mon cluster log file = $folder/log/cluster.log
[mon.a]
mon data = $folder/mon
[osd.0]
osd data = $folder/osd
[client.rgw.a]
rgw data = $folder/run
rgw frontends = beast endpoint=127.0.0.1:$port
rgw enable usage log = false
rgw enable ops log = false
rgw dynamic resharding = false
rgw gc max objs = 4
rgw lc max objs = 2
rgw num control oids = 1
rgw data log num shards = 1
rgw md log max shards = 1
rgw objexp hints num shards = 2
END
ceph-authtool -C "$keys" --gen-key -n mon. --cap mon 'allow *' >/dev/null
for name in client.admin client.rgw.a; do
    ceph-authtool "$keys" --gen-key -n $name --cap mon 'allow *' --cap osd 'allow *' >/dev/null
done
ceph-authtool "$keys" --gen-key -n osd.0 \
    --cap mon 'allow profile osd' --cap mgr 'allow profile osd' --cap osd 'allow *' >/dev/null
monmaptool --create --clobber --fsid "$id" --addv a "[v2:127.0.0.1:$((port + 10))]" monmap >/dev/null

processes=()
stop() {
    trap - TERM INT EXIT
    kill -9 "${processes[@]}" 2>/dev/null || true # all of it was in memory
    exit 0
}
trap stop TERM INT EXIT
ceph-mon -i a --mkfs --monmap monmap -c ceph.conf --keyring "$keys"
ceph-mon -i a -c ceph.conf -f &
processes+=($!)
store=$(cat /proc/sys/kernel/random/uuid)
echo "{\"cephx_secret\": \"$(ceph-authtool "$keys" -n osd.0 -p)\"}" |
    ceph -c ceph.conf osd new "$store" -i - >/dev/null
ceph-osd -i 0 --mkfs --osd-uuid "$store" -c ceph.conf --keyring "$keys" 2>/dev/null
ceph-osd -i 0 -c ceph.conf --keyring "$keys" -f &
processes+=($!)
until ceph -c ceph.conf osd stat 2>/dev/null | grep -q '1 up'; do sleep 0.1; done
radosgw-admin -c ceph.conf --name client.rgw.a user create --uid test --display-name test \
    --access-key AKIATEST --secret-key secretsecret >/dev/null
radosgw -n client.rgw.a -c ceph.conf -f &
processes+=($!)
wait
