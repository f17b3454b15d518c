"""Storage and proxy as separate processes, one of which dies in the middle."""

import concurrent.futures
import hashlib
import os
import threading
import time
import unittest

from cluster import Cluster

UPLOADS = 300
SIZES = [0, 1, 4096, 100_000, 600_000, 3_000_000]


class ClusterTests(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster()
        self.addCleanup(self.cluster.remove)
        self.cluster.start()
        self.local = threading.local()

    def client(self):
        """One connection per thread."""
        if not hasattr(self.local, "client"):
            self.local.client = self.cluster.client()
            self.addCleanup(self.local.client.close)
        return self.local.client

    def body(self, number):
        return hashlib.sha256(str(number).encode()).digest()[:1] * SIZES[number % len(SIZES)]

    def test_uploads_go_on_when_a_storage_process_dies(self):
        self.assertEqual(self.client()("PUT", "/c").status, 201)

        def upload(number):
            if number == UPLOADS // 3:
                self.cluster.storage[1].kill()
            return self.client()("PUT", f"/c/o{number:04}", self.body(number)).status

        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            statuses = list(pool.map(upload, range(UPLOADS)))
        self.assertEqual(statuses, [201] * UPLOADS)
        self.check(range(UPLOADS))
        # It comes back with what it had, and nothing old wins over what it missed.
        self.cluster.storage[1].start()
        for number in range(0, UPLOADS, 10):
            self.assertEqual(self.client()("PUT", f"/c/o{number:04}", self.body(number)).status, 201)
        self.check(range(UPLOADS))

    def test_body_under_way_when_a_storage_process_dies(self):
        self.assertEqual(self.client()("PUT", "/c").status, 201)
        piece, count = os.urandom(1 << 20), 32

        def pieces():
            for number in range(count):
                if number == count // 2:
                    self.cluster.storage[2].kill()
                yield piece

        self.assertEqual(self.client()("PUT", "/c/big", pieces()).status, 201)
        self.assertEqual(self.client()("GET", "/c/big").body, piece * count)

    def test_minority_is_refused_not_answered_with_old_bytes(self):
        self.client()("PUT", "/c")
        self.client()("PUT", "/c/o", b"x")
        for process in self.cluster.storage[:2]:
            process.kill()
        self.assertEqual(self.client()("PUT", "/c/o", b"y").status, 503)
        self.assertEqual(self.client()("GET", "/c?format=json").status, 503)
        for process in self.cluster.storage[:2]:
            process.start()
        # The proxy finds out within seconds that they are back.
        deadline = time.monotonic() + 10
        while (answer := self.client()("GET", "/c/o")).status == 503 and time.monotonic() < deadline:
            time.sleep(0.1)
        self.assertIn(answer.body, (b"x", b"y"))

    def check(self, numbers):
        for number in numbers:
            answer = self.client()("GET", f"/c/o{number:04}")
            self.assertEqual((answer.status, answer.body), (200, self.body(number)), number)
        self.assertEqual(self.client().names("/c"), [f"o{number:04}" for number in numbers])
