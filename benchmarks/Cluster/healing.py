"""How fast a cluster of three nodes heals and looks after itself: a device that was emptied, replicas that differ, the audit."""

import mmap
import os
import shutil
import time

from generators import SIZE, fill
from nodes import again, cluster, objects, one_store, put, wire_bytes, workers
from ringfort import ringfort
from test_join import eventually

# The replicators' first pass comes so long after the start of a process.
FIRST_PASS = 2.0
# No second pass while the first one after a start is measured.
NEVER = 86_400
DIFFERENCES = 1_000
# Seconds with nothing to find, which tell what the polling and the nodes' other talk cost.
QUIET = 10
POLL = 0.05
# What the audit does at least on one core where the disk, or the page cache, is faster.
ENOUGH_MB = 1_500
BLOCK = 1 << 20
LARGE = 64 << 20
PATIENCE = 900


def restore(options, figures):
    whole, figures["restored"] = restored(options.objects)
    figures["notes"].append(f"Restored: {whole:,} copies of {SIZE} bytes on one emptied device.")


def restored(count):
    """Of three nodes with so many objects one has its device emptied: its copies, and how many a second come back."""
    with cluster("one", "two", "three") as (nodes, client):
        fill(nodes[0].port, client, "/keys", count)
        lost = nodes[2]
        whole = eventually(lambda: objects(lost, nodes[0]), "the third node has objects")
        lost.stop()
        for device in (lost.data / "devices").iterdir():
            shutil.rmtree(device)
        lost.start()
        started = time.monotonic() + FIRST_PASS
        target = whole - whole // 1000
        eventually(lambda: objects(lost, nodes[0]) >= target, "the emptied device is filled", PATIENCE)
        return whole, whole / max(0.001, time.monotonic() - started)


def differences(options, figures):
    with cluster("one", "two", "three") as (nodes, client):
        fill(nodes[0].port, client, "/keys", options.objects)
        for node in nodes:
            # What a busy replica did not take of the filling it fetches now.
            again(node, replicate_every=NEVER)
            first_pass(node)
        away = nodes[2]
        before = objects(away, nodes[0])
        talk = quiet_bytes_per_second(away)
        away.stop()
        # So many that the node misses about a thousand: it has not a copy of each.
        for number in range(DIFFERENCES * options.objects // before):
            put(client, f"/keys/new-{number:04}", b"x")
        away.start()
        ready, sent = time.monotonic(), wire_bytes()
        figures["found_seconds"] = first_pass(away)
        talk, sent = talk * (time.monotonic() - ready), wire_bytes() - sent
        gained = objects(away, nodes[0]) - before
    if gained < 0.9 * DIFFERENCES:
        raise SystemExit(f"bench-cluster: the pass brought {gained} of about {DIFFERENCES} objects")
    figures["found_mib"] = max(0, sent - talk) / (1 << 20)
    figures["notes"].append(
        f"Differences: {gained:,} beside {before:,} objects on the device, of {options.objects:,}; time and bytes are "
        f"those of the pass that finds and fetches them. {talk / (1 << 20):.2f} MiB of other talk and polling were taken off."
    )


def first_pass(node):
    """Waits for the end of a node's first pass of replication since its start; the seconds that it took, or a few more."""
    began = time.monotonic()
    deadline = began + PATIENCE
    while True:
        asked = time.monotonic()
        replicator = workers(node)["object-replicator"]
        if replicator["last_pass"] is not None:
            return time.monotonic() - began
        if replicator["state"] == "idle":
            began = asked
        if asked > deadline:
            raise SystemExit(f"bench-cluster: the replicator of node {node.name} does not come to an end")
        time.sleep(POLL)


def quiet_bytes_per_second(node):
    """What goes over loopback while nothing differs and a node is asked as `first_pass` does."""
    started, sent = time.monotonic(), wire_bytes()
    while time.monotonic() < started + QUIET:
        workers(node)
        time.sleep(POLL)
    return (wire_bytes() - sent) / (time.monotonic() - started)


def audit(options, figures):
    """One process alone, without a pace: the audit's rate over a pass, and what reading the same files takes."""
    with one_store() as (store, client):
        fill(store.port, client, "/keys", options.objects)
        put_large(client, options.large)
        disk = sequential_read(store.data / "devices")
        done, seconds = audit_pass(store)
        figures["audited_mb"] = done / 1e6 / seconds
        figures["audited_ratio"] = figures["audited_mb"] / min(disk, ENOUGH_MB)
        figures["notes"].append(
            f"Audit: {done / 1e6:,.0f} MB in {seconds:.1f} s; the same files past the page cache: {disk:,.0f} MB/s."
        )


def put_large(client, count):
    body = os.urandom(LARGE)
    for number in range(count):
        put(client, f"/keys/large-{number}", body)


def audit_pass(store):
    """Bytes and seconds of one pass of a store's auditor without a pace; the first one since the store's start."""
    started = time.monotonic()
    # A change of the pace also begins the pass.
    ringfort("workers", "pace", "auditor", 0, "--data", store.data)
    eventually(lambda: workers(store)["auditor"]["last_pass"], "the audit has read everything", PATIENCE)
    return workers(store)["auditor"]["done"], time.monotonic() - started


def sequential_read(directory):
    """MB/s of reading all files of a directory past the page cache, in large pieces, one after the other."""
    buffer = mmap.mmap(-1, BLOCK)
    total, started = 0, time.monotonic()
    for path in sorted(directory.rglob("*")):
        if not path.is_file() or path.stat().st_size < BLOCK:
            continue
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
        except OSError:
            raise SystemExit(f"bench-cluster: the file system of {directory} knows no O_DIRECT; name another by TMPDIR")
        try:
            while (count := os.readv(descriptor, [buffer])) > 0:
                total += count
        finally:
            os.close(descriptor)
    return total / 1e6 / (time.monotonic() - started)
