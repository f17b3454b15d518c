"""How fast a cluster of three nodes heals and looks after itself: a device that was emptied, replicas that differ, the audit."""

import contextlib
import mmap
import os
import pathlib
import shutil
import tempfile
import time

from requests_per_second import SIZE, fill
from ringfort import Store, ringfort, ringfort_json
from test_join import Node, eventually

# The replicators' first pass comes so long after the start of a process.
FIRST_PASS = 2.0
DIFFERENCES = 1_000
# Seconds without a further copy after which the replicas count as alike.
QUIET = 5.0
# What the audit does at least on one core where the disk, or the page cache, is faster.
ENOUGH_MB = 1_500
BLOCK = 1 << 20


@contextlib.contextmanager
def three_nodes(options):
    """Three nodes with one device each, and the objects on all of them."""
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="ringfort-bench-cluster-", dir=os.environ.get("TMPDIR", "/var/tmp")))
    nodes = [Node(scratch, "one")]
    try:
        nodes[0].places += ["--replicate-every", "1"]
        nodes[0].up()
        for name in ("two", "three"):
            node = Node(scratch, name, nodes[0])
            nodes.append(node.join(nodes[0].token(), "--replicate-every", "1"))
        client = nodes[0].client()
        assert client("PUT", "/keys").status == 201
        yield nodes, client
    finally:
        for node in nodes:
            node.kill()
        shutil.rmtree(scratch, ignore_errors=True)


def objects(node, at):
    """Copies on the devices of a node, as another one sees it."""
    return sum(device["objects"] for device in at.status()["devices"] if device["node"] == node.name)


def wire_bytes():
    """Bytes over loopback since the machine started."""
    for line in pathlib.Path("/proc/net/dev").read_text().splitlines():
        name, _, fields = line.partition(":")
        if name.strip() == "lo":
            return int(fields.split()[0])
    raise SystemExit("bench-cluster: this machine has no loopback interface")


def restore(options, figures):
    with three_nodes(options) as (nodes, client):
        fill(nodes[0].port, client, "/keys", options.objects)
        lost = nodes[2]
        whole = eventually(lambda: objects(lost, nodes[0]), "the third node has objects")
        lost.stop()
        for device in (lost.data / "devices").iterdir():
            shutil.rmtree(device)
        lost.start()
        started = time.monotonic() + FIRST_PASS
        target = whole - whole // 1000
        eventually(lambda: objects(lost, nodes[0]) >= target, "the emptied device is filled", 900)
        figures["restored"] = whole / max(0.001, time.monotonic() - started)
        figures["notes"].append(f"Restored: {whole:,} copies of {SIZE} bytes on one emptied device.")


def differences(options, figures):
    with three_nodes(options) as (nodes, client):
        fill(nodes[0].port, client, "/keys", options.objects)
        away = nodes[2]
        before = objects(away, nodes[0])
        # So many that the node misses about a thousand: it has not a copy of each.
        written = DIFFERENCES * options.objects // before
        away.stop()
        for number in range(written):
            status = client("PUT", f"/keys/new-{number:04}", b"x").status
            if status != 201:
                raise SystemExit(f"bench-cluster: a PUT with one node away gave {status}")
        sent = wire_bytes()
        away.start()
        started = time.monotonic() + FIRST_PASS
        last, count, sent_until = started, before, sent
        while time.monotonic() < max(last, started) + QUIET:
            if (now := objects(away, nodes[0])) > count:
                last, count, sent_until = time.monotonic(), now, wire_bytes()
            time.sleep(0.02)
        if count == before:
            raise SystemExit("bench-cluster: the node got nothing of what it missed")
        figures["found_seconds"] = max(0.01, last - started)
        figures["found_mib"] = (sent_until - sent) / (1 << 20)
        figures["notes"].append(
            f"Differences: {count - before:,} beside {before:,} objects on the device; time and bytes are those until they were "
            "fetched too, with what else nodes say to each other meanwhile."
        )


def audit(options, figures):
    """One process alone, without a pace: the audit's rate over a pass, and what reading the same files takes."""
    store = Store(pathlib.Path(tempfile.mkdtemp(prefix="ringfort-bench-audit-", dir=os.environ.get("TMPDIR", "/var/tmp"))))
    try:
        client = store.start().client()
        assert client("PUT", "/keys").status == 201
        fill(store.port, client, "/keys", options.objects)
        body = os.urandom(64 << 20)
        for number in range(2 if options.quick else 16):
            assert client("PUT", f"/keys/large-{number}", body).status == 201
        disk = sequential_read(store.data / "devices")

        def auditor():
            workers = ringfort_json("workers", "list", "--data", store.data)["workers"]
            return next(worker for worker in workers if worker["name"] == "auditor")

        started = time.monotonic()
        # A change of the pace also begins the pass.
        ringfort("workers", "pace", "auditor", 0, "--data", store.data)
        eventually(lambda: auditor()["last_pass"], "the audit has read everything", 600)
        seconds = time.monotonic() - started
        figures["audited_mb"] = auditor()["done"] / 1e6 / seconds
        figures["audited_ratio"] = figures["audited_mb"] / min(disk, ENOUGH_MB)
        figures["notes"].append(
            f"Audit: {auditor()['done'] / 1e6:,.0f} MB in {seconds:.1f} s; the same files past the page cache: {disk:,.0f} MB/s."
        )
    finally:
        store.remove()


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
