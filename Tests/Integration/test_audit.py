"""Damage on a disk of a running store: the auditor finds it, `verify` tells, reads never show it."""

import json
import os
import shutil
import time
import unittest

from cluster import Cluster
from ringfort import Store, call, ringfort, ringfort_json

ACCOUNT = "AUTH_admin"


def flip(file, offset):
    """One bit of a file, as a disk does it."""
    with open(file, "r+b") as disk:
        disk.seek(offset)
        old = disk.read(1)[0]
        disk.seek(offset)
        disk.write(bytes([old ^ 0x10]))
        os.fsync(disk.fileno())


class AuditTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.store = Store()
        cls.addClassCleanup(cls.store.remove)
        cls.store.start()

    def setUp(self):
        self.client = self.store.client()
        self.container = "/c-" + self.id().rsplit(".", 1)[1]
        self.assertEqual(self.client("PUT", self.container).status, 201)

    def worker(self, name="auditor"):
        workers = ringfort_json("workers", "list", "--data", self.store.data)["workers"]
        return next(worker for worker in workers if worker["name"] == name)

    def audit(self):
        """One pass that began after this call."""
        before = self.worker()["done"], self.worker()["last_pass"]
        ringfort("workers", "pace", "auditor", 0, "--data", self.store.data)
        deadline = time.monotonic() + 20
        while True:
            worker = self.worker()
            is_over = worker["state"] == "idle" and worker["last_pass"] is not None
            if is_over and (worker["done"], worker["last_pass"]) != before:
                return worker
            self.assertLess(time.monotonic(), deadline, worker)
            time.sleep(0.2)

    def verify(self, name):
        done = ringfort("verify", f"{ACCOUNT}{name}", "--data", self.store.data, check=False)
        return done.returncode, done.stdout.splitlines()

    def quarantined(self):
        return sum(device["quarantined"] for device in ringfort_json("status", "--data", self.store.data)["devices"])

    def metric(self, name):
        lines = call(self.store.port, "GET", "/metrics").body.decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    def test_a_damaged_body_is_found_and_never_served(self):
        body = os.urandom(1 << 20)
        before = {file for file in self.store.data.glob("devices/*/blobs/*/*")}
        self.assertEqual(self.client("PUT", self.container + "/large", body).status, 201)
        self.assertEqual(self.verify(self.container)[0], 0)
        quarantined, damaged = self.quarantined(), self.metric("ringfort_auditor_damaged_total")
        file = next(file for file in self.store.data.glob("devices/*/blobs/*/*") if file not in before)
        flip(file, 700_000)
        self.audit()
        self.assertEqual(self.quarantined(), quarantined + 1)
        self.assertEqual(self.metric("ringfort_auditor_damaged_total"), damaged + 1)
        self.assertIn("The audit found a damaged copy", self.store.tail())
        device = file.relative_to(self.store.data / "devices").parts[0]
        code, lines = self.verify(self.container)
        self.assertEqual(code, 1)
        self.assertEqual(lines[0].split(), ["damaged", device, f"{ACCOUNT}{self.container}/large"])
        self.assertIn("2 ok", lines[-1])
        self.assertEqual(self.client("GET", self.container + "/large").body, body)

    def test_verify_finds_a_damaged_record_by_itself(self):
        needle = os.urandom(64).hex().encode()
        self.assertEqual(self.client("PUT", self.container + "/small", needle * 20).status, 201)
        answer = ringfort_json("verify", f"{ACCOUNT}{self.container}", "--data", self.store.data)
        self.assertEqual([copy["state"] for copy in answer["objects"][0]["copies"]], ["ok"] * 3)
        self.assertEqual((answer["sums"]["objects"], answer["sums"]["ok"]), (1, 3))
        for file in self.store.data.glob("devices/*/log/*.segment"):
            place = file.read_bytes().find(needle)
            if place >= 0:
                flip(file, place + 100)
                break
        done = ringfort("verify", f"{ACCOUNT}{self.container}/small", "--data", self.store.data, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("2 ok, 0 missing, 0 older, 1 damaged", done.stdout)
        self.assertEqual(self.client("GET", self.container + "/small").body, needle * 20)

    def test_what_is_not_there_is_told(self):
        for name in (f"{ACCOUNT}/none", f"{ACCOUNT}{self.container}/none", "AUTH_nobody"):
            done = ringfort("verify", name, "--data", self.store.data, check=False)
            self.assertEqual(done.returncode, 1, name)
            self.assertIn(f"there is no {name}", done.stderr)
        code, lines = self.verify(self.container)
        self.assertEqual((code, lines[0][:29]), (0, "0 objects, 0 copies: 0 ok, 0 "))
        done = ringfort("workers", "pause", "nobody", "--data", self.store.data, check=False)
        self.assertIn("there is no worker nobody", done.stderr)
        self.assertNotEqual(done.returncode, 0)


class ClusterVerifyTests(unittest.TestCase):
    def test_what_a_node_lost_is_told(self):
        cluster = Cluster()
        self.addCleanup(cluster.remove)
        cluster.start()
        client = cluster.client()
        self.addCleanup(client.close)
        self.assertEqual(client("PUT", "/c").status, 201)
        for number in range(12):
            self.assertEqual(client("PUT", f"/c/{number}", b"x" * 1000 * number).status, 201)
        self.assertEqual(client("DELETE", "/c/3").status, 204)

        def verify(code):
            done = ringfort("verify", f"{ACCOUNT}/c", "--data", cluster.shared, "--json", check=False)
            self.assertEqual(done.returncode, code, done.stdout + done.stderr)
            return json.loads(done.stdout)["sums"]

        sums = verify(0)
        self.assertEqual((sums["objects"], sums["ok"]), (11, 33))
        cluster.storage[0].kill()
        sums = verify(1)
        self.assertEqual((sums["ok"], sums["unreachable"], sums["unread_listings"]), (22, 11, 1))
        shutil.rmtree(cluster.scratch / "node0" / "devices")
        cluster.storage[0].start()
        sums = verify(1)
        self.assertEqual((sums["objects"], sums["ok"], sums["missing"]), (11, 22, 11))
        # What is written since then is there again.
        self.assertEqual(client("PUT", "/c/4", b"newer").status, 201)
        sums = verify(1)
        self.assertEqual((sums["ok"], sums["missing"]), (23, 10))


class SteeringTests(unittest.TestCase):
    def test_what_an_operator_sets_outlives_the_process(self):
        store = Store()
        self.addCleanup(store.remove)
        store.start()
        ringfort("workers", "pause", "auditor", "--data", store.data)
        ringfort("workers", "pace", "auditor", 12345, "--data", store.data)
        store.stop()
        store.start()
        workers = ringfort_json("workers", "list", "--data", store.data)["workers"]
        auditor = next(worker for worker in workers if worker["name"] == "auditor")
        self.assertEqual((auditor["state"], auditor["pace"]), ("paused", 12345))
        resumed = ringfort_json("workers", "resume", "auditor", "--data", store.data)["workers"][0]
        self.assertIn(resumed["state"], ("idle", "running"))
        # A worker that waits for its pace does not hold up a stop.
        began = time.monotonic()
        self.assertEqual(store.stop(), 0)
        self.assertLess(time.monotonic() - began, 10)
