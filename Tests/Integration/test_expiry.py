"""Objects that cease to be leave the disks and the listing, unless they were written again."""

import time
import unittest

from cluster import Cluster
from ringfort import ringfort_json

SECONDS = 30


class ExpiryTests(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster(replicate_every=1)
        self.addCleanup(self.cluster.remove)
        self.cluster.start()
        self.client = self.cluster.client()
        self.addCleanup(self.client.close)
        self.assertEqual(self.client("PUT", "/c").status, 201)

    def live(self, names):
        """Replicas on the disks that are objects."""
        found = 0
        for name in names:
            where = ringfort_json("object", "where", "--data", self.cluster.shared, f"AUTH_admin/c/{name}")
            found += sum(place["holds"]["state"] == "live" for place in where["primaries"])
        return found

    def until(self, condition, message):
        deadline = time.monotonic() + SECONDS
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.2)
        self.assertTrue(condition(), message)

    def test_what_ceases_is_removed(self):
        soon = {"X-Delete-After": "2"}
        gone = [f"gone{number:02}" for number in range(20)]
        for number, name in enumerate(gone):
            body = bytes(400_000) if number % 10 == 0 else b"x"
            self.assertEqual(self.client("PUT", f"/c/{name}", body, soon).status, 201)
        for name in ("written-again", "kept-after-all"):
            self.assertEqual(self.client("PUT", f"/c/{name}", b"old", soon).status, 201)
        self.assertEqual(self.client("PUT", "/c/posted", b"x").status, 201)
        self.assertEqual(self.client("POST", "/c/posted", headers=soon).status, 202)
        self.assertEqual(self.client("PUT", "/c/written-again", b"new").status, 201)
        # A POST replaces all that may be changed, the time of the end too.
        self.assertEqual(self.client("POST", "/c/kept-after-all", headers={"X-Object-Meta-A": "b"}).status, 202)
        self.assertEqual(self.client("PUT", "/c/later", b"x", {"X-Delete-After": "3600"}).status, 201)
        kept = ["kept-after-all", "later", "written-again"]
        self.until(lambda: self.client.names("/c") == kept, "the listing still has what ceased")
        self.until(lambda: self.live(gone[::5]) == 0, "replicas are still on the disks")
        self.assertEqual(self.live(kept), 3 * len(kept))
        self.assertEqual(self.client("GET", "/c/written-again").body, b"new")
        self.assertEqual(self.client("GET", "/c/kept-after-all").body, b"old")
        self.assertEqual(self.client("GET", "/c/gone00").status, 404)
        self.assertEqual(self.client("HEAD", "/c").headers["X-Container-Object-Count"], "3")

    def test_without_the_first_primary_another_one_removes(self):
        for number in range(20):
            self.assertEqual(self.client("PUT", f"/c/o{number:02}", b"x", {"X-Delete-After": "2"}).status, 201)
        self.cluster.storage[0].kill()
        self.until(lambda: self.client.names("/c") == [], "the listing still has what ceased")
        self.cluster.storage[0].start()
        self.until(lambda: self.live(f"o{number:02}" for number in range(0, 20, 5)) == 0, "replicas are still there")


if __name__ == "__main__":
    unittest.main()
