"""Marks of deleted objects go when nobody can have the object any more, and not before."""

import time
import unittest

from test_join import JoinTestCase, eventually

OBJECTS = 60
# Longer than what must not happen would take: passes are half a second apart, and marks are old after a second.
LONG = 6


class TombstoneTests(JoinTestCase):
    options = ["--replicate-every", "0.5", "--reclaim-after", "1"]

    def setUp(self):
        super().setUp()
        self.grow("two", "three")
        self.agree()
        self.client = self.nodes[0].client()
        self.addCleanup(self.client.close)
        self.assertEqual(self.client("PUT", "/c").status, 201)

    def counts(self, what):
        return sum(device[what] for device in self.nodes[0].status()["devices"])

    def put(self, names):
        for name in names:
            self.assertEqual(self.client("PUT", f"/c/{name}", name.encode()).status, 201)

    def delete(self, names):
        for name in names:
            self.assertEqual(self.client("DELETE", f"/c/{name}").status, 204)

    def test_they_go_from_all_replicas(self):
        names = [f"o{number:03}" for number in range(OBJECTS)]
        self.put(names)
        self.delete(names[::2])
        eventually(lambda: self.counts("tombstones") == 0, "no mark is left")
        self.assertEqual(self.counts("objects"), OBJECTS // 2 * 3)
        self.assertEqual(self.client.names("/c"), names[1::2])
        # What is deleted can come again, and go again.
        self.put(names[:10:2])
        self.delete(names[:10:2])
        eventually(lambda: self.counts("tombstones") == 0, "no mark is left again")
        for node in self.nodes[1:]:
            node.kill()
            node.again("up", *self.options)
        eventually(lambda: self.counts("objects") == OBJECTS // 2 * 3, "nothing comes back after a SIGKILL")
        self.assertEqual(self.client("GET", f"/c/{names[0]}").status, 404)

    def test_they_stay_while_a_node_is_away(self):
        names = [f"o{number:03}" for number in range(OBJECTS)]
        self.put(names)
        self.nodes[2].kill()
        self.delete(names)
        time.sleep(LONG)
        self.assertGreaterEqual(self.counts("tombstones"), OBJECTS)
        self.nodes[2].again("up", *self.options)
        eventually(lambda: self.counts("tombstones") == 0 and self.counts("objects") == 0, "objects and marks are gone", 40)
        for name in names[::7]:
            self.assertEqual(self.client("GET", f"/c/{name}").status, 404)


if __name__ == "__main__":
    unittest.main()
