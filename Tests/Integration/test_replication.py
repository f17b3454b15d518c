"""Replicas that were away, wiped or written elsewhere come to agree again, without a client's help."""

import hashlib
import shutil
import time
import unittest

from cluster import Cluster
from ringfort import ringfort_json

OBJECTS = 120
SIZES = [0, 10, 4096, 200_000, 700_000]
# Passes of the replicator are a second apart here.
AGREE_SECONDS = 30


class ReplicationTests(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster(nodes=4, replicate_every=1)
        self.addCleanup(self.cluster.remove)
        self.cluster.start()
        self.client = self.cluster.client()
        self.addCleanup(self.client.close)
        self.assertEqual(self.client("PUT", "/c").status, 201)

    def body(self, number, version=0):
        return hashlib.sha256(f"{number} {version}".encode()).digest()[:1] * SIZES[number % len(SIZES)]

    def upload(self, numbers, version=0):
        for number in numbers:
            self.assertEqual(self.client("PUT", f"/c/o{number:04}", self.body(number, version)).status, 201)

    def where(self, number):
        return ringfort_json("object", "where", "--data", self.cluster.shared, f"AUTH_admin/c/o{number:04}")

    def disagreement(self, numbers):
        """The first object whose replicas are not all alike, or that is still somewhere else."""
        for number in numbers:
            found = self.where(number)
            states = [place["holds"] for place in found["primaries"]]
            if any(state != states[0] or state["state"] == "unknown" for state in states):
                return number, states
            if any(place["holds"]["state"] != "absent" for place in found["handoffs"]):
                return number, found["handoffs"]
        return None

    def agree(self, numbers):
        deadline = time.monotonic() + AGREE_SECONDS
        while (left := self.disagreement(numbers)) is not None:
            self.assertLess(time.monotonic(), deadline, left)
            time.sleep(0.5)

    def check(self, numbers, version=0):
        for number in numbers:
            answer = self.client("GET", f"/c/o{number:04}")
            self.assertEqual((answer.status, answer.body), (200, self.body(number, version)), number)

    def test_a_node_that_was_away_gets_what_it_missed(self):
        self.upload(range(OBJECTS))
        self.cluster.storage[1].kill()
        self.upload(range(0, 40), version=1)
        for number in range(40, 60):
            self.assertEqual(self.client("DELETE", f"/c/o{number:04}").status, 204)
        for number in range(60, 80):
            self.assertEqual(self.client("POST", f"/c/o{number:04}", headers={"X-Object-Meta-A": "b"}).status, 202)
        self.upload(range(OBJECTS, OBJECTS + 40))
        self.cluster.storage[1].start()
        self.agree(range(0, OBJECTS + 40, 3))
        # Now the two others may go for those objects that it has.
        self.cluster.storage[2].kill()
        self.check(range(0, 40), version=1)
        self.check([*range(60, OBJECTS + 40)])
        for number in range(40, 60):
            self.assertEqual(self.client("GET", f"/c/o{number:04}").status, 404)
        for number in range(60, 80):
            self.assertEqual(self.client("HEAD", f"/c/o{number:04}").headers["X-Object-Meta-A"], "b")
        names = [f"o{number:04}" for number in range(OBJECTS + 40) if not 40 <= number < 60]
        self.assertEqual(self.client.names("/c"), names)

    def test_an_emptied_disk_is_filled_again(self):
        self.upload(range(OBJECTS))
        self.cluster.storage[2].stop()
        shutil.rmtree(self.cluster.scratch / "node2" / "devices")
        self.cluster.storage[2].start()
        self.agree(range(0, OBJECTS, 3))
        self.cluster.storage[0].kill()
        self.check(range(OBJECTS))
        self.assertEqual(self.client.names("/c"), [f"o{number:04}" for number in range(OBJECTS)])


if __name__ == "__main__":
    unittest.main()
