"""Clusters of a few processes and single stores for the measurements, and what can be seen of them from outside."""

import contextlib
import os
import pathlib
import shutil
import sys
import tempfile

from ringfort import Store, call, ringfort, ringfort_json
from test_join import Node

# Until the partitions have come to the nodes that joined.
SETTLE_SECONDS = 300
# Set where `own_network` is done.
OWN_NETWORK = "RINGFORT_BENCH_OWN_NETWORK"


def scratch():
    """A directory of its own on the disk that is measured."""
    return pathlib.Path(tempfile.mkdtemp(prefix="ringfort-bench-cluster-", dir=os.environ.get("TMPDIR", "/var/tmp")))


@contextlib.contextmanager
def cluster(*names):
    """Nodes, the first with four devices, the others with one, and a client of the first. There is a container `/keys`.

    Their replicators begin a pass each second, see `again`.
    """
    directory = scratch()
    every = ("--replicate-every", 1)
    nodes = [Node(directory, names[0])]
    try:
        nodes[0].up(*every)
        for name in names[1:]:
            nodes.append(Node(directory, name, nodes[0]))
            nodes[-1].join(nodes[0].token(), *every)
        settled = ("rebalance", "status", "--data", nodes[0].data, "--watch", "--timeout", SETTLE_SECONDS)
        ringfort(*settled, timeout=SETTLE_SECONDS + 10)
        yield nodes, ready(nodes[0].client())
    finally:
        for node in nodes:
            node.kill()
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def one_store():
    """All in one process, and its client. There is a container `/keys`."""
    store = Store(scratch())
    try:
        yield store, ready(store.start().client())
    finally:
        store.remove()


def ready(client):
    put(client, "/keys")
    return client


def put(client, path, body=b""):
    """Writes a container or an object, over a connection of its own: a kept one may have been idle for too long."""
    status = call(client.port, "PUT", client.account + path, body, {"X-Auth-Token": client.token}).status
    if status != 201:
        raise SystemExit(f"bench-cluster: PUT of {path}: {status}")


def again(node, replicate_every):
    """Stops and starts a node, with other seconds between two passes of its replicators."""
    node.stop()
    node.again("up", "--replicate-every", replicate_every)


def objects(node, at):
    """Copies on the devices of a node, as another one sees it."""
    return sum(device["objects"] for device in at.status()["devices"] if device["node"] == node.name)


def workers(node):
    """The background workers of a node by name."""
    return {worker["name"]: worker for worker in ringfort_json("workers", "list", "--data", node.data)["workers"]}


def wire_bytes():
    """Bytes that went over loopback so far."""
    for line in pathlib.Path("/proc/net/dev").read_text().splitlines():
        name, _, fields = line.partition(":")
        if name.strip() == "lo":
            return int(fields.split()[0])
    raise SystemExit("bench-cluster: there is no loopback interface")


def own_network():
    """Goes on in a network of its own, where others on the machine say nothing over loopback and take no ports."""
    if os.environ.get(OWN_NETWORK):
        return
    user = [] if os.getuid() == 0 else ["--map-current-user", "--keep-caps"]
    up = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, *sys.argv]
    os.environ[OWN_NETWORK] = "1"
    os.execvp("unshare", ["unshare", "--net", *user, *up])
