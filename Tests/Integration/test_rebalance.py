"""Data that follows the rings: nodes join, a device is drained and removed, while objects are read through every node."""

import array
import concurrent.futures
import gzip
import hashlib
import json
import random
import struct
import sys
import threading
import time
import unittest

from ringfort import ringfort, ringfort_json
from test_join import JoinTestCase

OBJECTS = 300
PART_POWER = 10
SIZES = [0, 1, 4096, 50_000, 300_000, 700_000]
REPLICATE = ["--replicate-every", "1"]
# What moves compared with what has to.
MOST_MOVES = 1.05
SETTLE_SECONDS = 50


def body(number):
    return hashlib.sha256(str(number).encode()).digest() * (SIZES[number % len(SIZES)] // 32) + b"x" * (number % 3)


def path(number):
    return f"/c{number % 3}/o{number:04}"


def make_builders(data):
    """Rings that a store is made from: smaller ones than its own, which a slow machine takes seconds for."""
    data.mkdir()
    for name in ("account", "container", "object"):
        builder = data / f"{name}.builder"
        ringfort("ring", "create", builder, "--part-power", PART_POWER, "--replicas", 3, "--min-part-hours", 1)
        for zone in range(1, 5):
            place = ["--zone", zone, "--ip", "127.0.0.1", "--port", 6200, "--device", f"d{zone}", "--weight", 100]
            ringfort("ring", "add", builder, *place)
        ringfort("ring", "rebalance", builder)
        (data / f"{name}.ring.gz").unlink()


def assignment(data):
    """Of each ring, the device of every replica: one row per replica, from the file beside the map."""
    rows = {}
    for name in ("account", "container", "object"):
        bytes_ = gzip.decompress((data / f"{name}.ring.gz").read_bytes())
        magic, version, length = struct.unpack(">4sHI", bytes_[:10])
        assert (magic, version) == (b"R1NG", 1), (magic, version)
        facts = json.loads(bytes_[10 : 10 + length])
        numbers = array.array("H", bytes_[10 + length :])
        if facts.get("byteorder", sys.byteorder) != sys.byteorder:
            numbers.byteswap()
        partitions = 1 << (32 - facts["part_shift"])
        rows[name] = [numbers[at : at + partitions] for at in range(0, len(numbers), partitions)]
    return rows


def moves(before, after):
    """How many replicas have another device, and how many had to: no device gets more without somebody giving it."""
    moved = least = 0
    for name in before:
        held = [{}, {}]
        for old, new in zip(zip(*before[name]), zip(*after[name])):
            moved += len(set(new) - set(old))
            for counts, devices in zip(held, (old, new)):
                for device in devices:
                    counts[device] = counts.get(device, 0) + 1
        least += sum(max(0, count - held[0].get(device, 0)) for device, count in held[1].items())
    return moved, least


class RebalanceTestCase(JoinTestCase):
    options = REPLICATE

    def prepare(self, first):
        make_builders(first.data)

    def watch(self, node=None):
        """Follows until all is settled; the reports on the way."""
        data = (node or self.nodes[0]).data
        done = ringfort(
            "rebalance", "status", "--data", data, "--watch", "--timeout", SETTLE_SECONDS, "--json",
            timeout=SETTLE_SECONDS + 10,
        )
        reports = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertTrue(reports[-1]["settled"])
        self.assertEqual(reports[-1]["obstacles"], [])
        self.assertTrue(all(device["settled"] for device in reports[-1]["devices"]))
        return reports

    def upload(self, client, numbers):
        for container in range(3):
            self.assertIn(client("PUT", f"/c{container}").status, (201, 202))
        for number in numbers:
            self.assertEqual(client("PUT", path(number), body(number)).status, 201)

    def check(self, numbers):
        """Every object through every node, byte for byte."""

        def read(node):
            client = node.client()
            try:
                for number in numbers:
                    answer = client("GET", path(number))
                    if answer.status != 200 or answer.body != body(number):
                        return f"{path(number)} through {node.name}: {answer.status}, {len(answer.body)} bytes"
                return None
            finally:
                client.close()

        with concurrent.futures.ThreadPoolExecutor(len(self.nodes)) as pool:
            self.assertEqual([found for found in pool.map(read, self.nodes) if found], [])

    def check_places(self, numbers):
        """All copies are where the rings say, and nowhere else."""
        for number in numbers:
            found = ringfort_json("object", "where", "--data", self.nodes[0].data, f"AUTH_admin{path(number)}")
            held = [(place["device"]["device"], place["holds"]["state"]) for place in found["primaries"]]
            self.assertEqual([state for _, state in held], ["live"] * 3, (number, held))
            elsewhere = [place["holds"]["state"] for place in found["handoffs"]]
            self.assertEqual(set(elsewhere) - {"absent"}, set(), number)


class Readers:
    """Reads objects through all nodes until it is stopped, and keeps what went wrong."""

    def __init__(self, case, numbers):
        self.case, self.numbers = case, list(numbers)
        self.failures, self.reads, self.stopped = [], 0, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()

    def run(self):
        clients = {}
        while not self.stopped.is_set():
            number = random.choice(self.numbers)
            for node in list(self.case.nodes):
                if node.name not in clients:
                    clients[node.name] = node.client()
                answer = clients[node.name]("GET", path(number))
                self.reads += 1
                if answer.status != 200 or answer.body != body(number):
                    self.failures.append(f"{path(number)} through {node.name}: {answer.status}, {len(answer.body)} bytes")
            time.sleep(0.02)
        for client in clients.values():
            client.close()


class RebalanceTests(RebalanceTestCase):
    def test_join_drain_and_remove(self):
        first = self.nodes[0]
        client = first.client()
        self.addCleanup(client.close)
        self.upload(client, range(OBJECTS))
        before = assignment(first.data)

        with Readers(self, range(OBJECTS)) as readers:
            self.grow("two", "three")
            reports = self.watch()
            self.assertTrue(any(report["total"]["behind_partitions"] > 0 for report in reports))
            joined = assignment(first.data)
            moved, least = moves(before, joined)
            self.assertGreater(least, 0)
            self.assertLessEqual(moved, MOST_MOVES * least)
            self.agree()
            self.check_places(range(0, OBJECTS, 15))

            # In use: not to be removed. Drained and settled: gone without force.
            refused = ringfort("device", "remove", "--data", first.data, "one/d2", check=False)
            self.assertNotEqual(refused.returncode, 0)
            self.assertIn("drain it", refused.stderr)
            ringfort("device", "drain", "--data", first.data, "one/d2")
            self.watch(self.nodes[1])
            drained = assignment(first.data)
            moved, least = moves(joined, drained)
            self.assertGreater(least, 0)
            self.assertLessEqual(moved, MOST_MOVES * least)
            ringfort("device", "remove", "--data", self.nodes[2].data, "one/d2")
            self.watch()
        self.assertEqual(readers.failures, [])
        self.assertGreater(readers.reads, 100)
        self.assertNotIn("d2", [device["name"] for device in first.status()["devices"] if device["node"] == "one"])
        self.agree()
        self.check(range(OBJECTS))
        self.check_places(range(0, OBJECTS, 15))
        status = first.status()
        self.assertTrue(all(device["misplaced_objects"] == 0 for device in status["devices"]))
        self.assertTrue(all(device["settled"] == status["map_version"] for device in status["devices"]))


class HoldTests(RebalanceTestCase):
    def workers(self, *arguments):
        found = ringfort_json("workers", *arguments)["workers"]
        return {(w["node"], w["name"]): w for w in found if w["name"].endswith("replicator")}

    def test_nothing_settles_while_it_is_held_or_a_node_is_away(self):
        first = self.nodes[0]
        client = first.client()
        self.addCleanup(client.close)
        self.grow("two", "three")
        self.watch()
        self.upload(client, range(0, 60))
        ringfort("rebalance", "pause", "--data", self.nodes[1].data)
        held = self.workers("list", "--data", first.data, "--all")
        self.assertEqual(len(held), 6)
        self.assertEqual({worker["state"] for worker in held.values()}, {"paused"})
        ringfort("rebalance", "pace", "--data", first.data, "1000")
        paced = self.workers("list", "--data", first.data, "--node", "two", "--node", "three")
        self.assertEqual({worker["pace"] for worker in paced.values()}, {1000})
        self.assertEqual({node for node, _ in paced}, {"two", "three"})

        ringfort("device", "drain", "--data", first.data, "one/d1")
        time.sleep(3)
        report = ringfort_json("rebalance", "status", "--data", first.data)
        self.assertFalse(report["settled"])
        self.assertEqual(report["paused"], ["one", "two", "three"])
        version = report["map_version"]
        refused = ringfort("device", "remove", "--data", first.data, "one/d1", check=False)
        self.assertNotEqual(refused.returncode, 0)

        # A node that is away may have anything.
        self.nodes[2].kill()
        failed = ringfort("rebalance", "resume", "--data", first.data, check=False)
        self.assertNotEqual(failed.returncode, 0)
        self.assertIn("three", failed.stderr)
        gave_up = ringfort("rebalance", "status", "--data", first.data, "--watch", "--timeout", 4, check=False)
        self.assertNotEqual(gave_up.returncode, 0)
        self.assertIn("node three does not answer", gave_up.stderr)
        self.assertEqual(ringfort_json("rebalance", "status", "--data", first.data)["map_version"], version)
        self.nodes[2].again("up", *REPLICATE)
        ringfort("rebalance", "resume", "--data", first.data)
        ringfort("rebalance", "pace", "--data", first.data, "0")
        self.watch(self.nodes[2])
        ringfort("device", "remove", "--data", first.data, "one/d1")
        self.check(range(0, 60))


if __name__ == "__main__":
    unittest.main()
