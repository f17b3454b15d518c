"""Deleted accounts answer no more, and what was in them leaves the disks, also when a node is away."""

import time
import unittest
import urllib.parse

import swiftclient

from cluster import Cluster
from ringfort import Client, Store, call, ringfort, ringfort_json, sign_in

SECONDS = 60
CONTAINERS = ["plain", "with space", "ünï%2F☃"]
OBJECTS = 100
ODD_NAMES = ["a/b", "a//b/", " ", "%2F", "?x#y", "é☃", "tab\there"]
LARGE = 700_000
DELAY = 10


def names():
    """300 objects in three containers."""
    for container in CONTAINERS:
        for number in range(OBJECTS):
            odd = ODD_NAMES[number] if number < len(ODD_NAMES) else f"o{number:03}"
            yield container, odd


def until(test, condition, message):
    deadline = time.monotonic() + SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)
    test.assertTrue(condition(), message)


def add_user(test, data, port, user, role):
    ringfort("user", "add", "--data", data, user, "--key", "k", "--role", role)
    until(test, lambda: sign_in(port, user, "k").status == 200, f"{user} can't sign in")
    client = Client(port, user, "k")
    test.addCleanup(client.close)
    return client


class StoreReaperTests(unittest.TestCase):
    def setUp(self):
        self.store = Store()
        self.addCleanup(self.store.remove)
        self.store.arguments += ["--replicate-every", "1"]
        self.store.start()
        self.root = add_user(self, self.store.data, self.store.port, "root:root", ".reseller_admin")
        self.bob = add_user(self, self.store.data, self.store.port, "acme:bob", ".admin")

    def on_account(self, method, path="/v1/AUTH_acme", body=None):
        """What a reseller admin asks of an account."""
        return call(self.store.port, method, path, body, {"X-Auth-Token": self.root.token})

    def objects(self):
        """Objects on the disks, each replica counted."""
        return sum(device["objects"] for device in ringfort_json("status", "--data", self.store.data)["devices"])

    def worker(self):
        workers = ringfort_json("workers", "list", "--data", self.store.data)["workers"]
        return next(worker for worker in workers if worker["name"] == "account-reaper")

    def fill(self):
        url, token = f"http://127.0.0.1:{self.store.port}{self.bob.account}", self.bob.token
        connection = swiftclient.Connection(preauthurl=url, preauthtoken=token, retries=0)
        self.addCleanup(connection.close)
        for container in CONTAINERS:
            connection.put_container(container)
        for container, name in names():
            body = bytes(LARGE) if (container, name) == ("plain", "o050") else name.encode()
            connection.put_object(container, name, body)

    def check_that_it_is_gone(self):
        for method in ("GET", "HEAD"):
            for answer in (self.bob(method), self.on_account(method)):
                self.assertEqual((answer.status, answer.headers["X-Account-Status"]), (410, "Deleted"), method)
        self.assertEqual(self.bob("GET").body, b"Recently deleted")
        answer = self.on_account("PUT")
        self.assertEqual((answer.status, answer.body), (403, b"Recently deleted"))
        self.assertEqual(self.bob("POST", headers={"X-Account-Meta-A": "b"}).status, 404)
        self.assertEqual(self.on_account("DELETE").status, 404)
        for method, path, body in (
            ("GET", "/plain", None), ("PUT", "/plain", None), ("PUT", "/new", None), ("DELETE", "/plain", None),
            ("GET", "/plain/o050", None), ("PUT", "/plain/o050", b"x"), ("DELETE", "/plain/o050", None),
        ):
            self.assertEqual(self.bob(method, path, body).status, 404, (method, path))

    def test_a_deleted_account_is_emptied(self):
        other = self.store.client()
        self.assertEqual(other("PUT", "/c").status, 201)
        self.assertEqual(other("PUT", "/c/kept", b"x").status, 201)
        self.assertEqual(self.objects(), 3)
        self.fill()
        self.assertEqual(self.objects(), 3 + 3 * 300)
        self.assertEqual(self.bob("POST", headers={"X-Account-Meta-A": "b"}).status, 204)

        self.assertEqual(call(self.store.port, "DELETE", self.bob.account).status, 401)
        self.assertEqual(self.bob("DELETE").status, 403)
        self.assertEqual(other("DELETE", "").status, 403)
        self.assertEqual(self.bob("PUT").status, 403)
        self.assertEqual(self.on_account("DELETE", "/v1/AUTH_nobody").status, 404)
        # Meant for something else, and not for everything.
        self.assertEqual(self.on_account("DELETE", "/v1/AUTH_acme?bulk-delete", b"/plain/o050").status, 400)
        self.assertEqual(self.bob("GET", "/plain/o060").body, b"o060")

        self.assertEqual(self.on_account("DELETE").status, 204)
        self.check_that_it_is_gone()
        until(self, lambda: self.objects() == 3, "objects are still on the disks")
        for container, name in list(names())[::17]:
            path = f"AUTH_acme/{container}/{name}"
            where = ringfort_json("object", "where", "--data", self.store.data, path)
            self.assertEqual({place["holds"]["state"] for place in where["primaries"]}, {"deleted"}, path)
        self.check_that_it_is_gone()
        self.assertEqual(self.worker()["errors"], 0, self.worker())
        self.assertEqual(other("GET", "/c/kept").body, b"x")

        carl = add_user(self, self.store.data, self.store.port, "acme:carl", ".admin")
        self.assertEqual(carl("PUT", "/c").status, 404)
        self.assertEqual(carl("GET").status, 410)
        self.assertEqual(self.store.stop(), 0)
        self.store.start()
        self.assertEqual(self.store.client("acme:carl", "k")("GET").status, 410)
        self.assertEqual(self.objects(), 3)

    def test_accounts_are_made_by_reseller_admins(self):
        self.assertEqual(self.on_account("PUT", "/v1/AUTH_new").status, 201)
        self.assertEqual(self.on_account("PUT", "/v1/AUTH_new").status, 202)
        self.assertEqual(self.on_account("DELETE", "/v1/AUTH_new").status, 204)
        self.assertEqual(self.on_account("GET", "/v1/AUTH_new").status, 410)

    def test_a_paused_reaper_removes_nothing(self):
        self.fill()
        ringfort("workers", "pause", "account-reaper", "--data", self.store.data)
        self.assertEqual(self.on_account("DELETE").status, 204)
        time.sleep(4)
        self.assertEqual(self.objects(), 900)
        # A restart neither begins nor forgets it.
        self.assertEqual(self.store.stop(), 0)
        self.store.start()
        time.sleep(3)
        self.assertEqual((self.objects(), self.worker()["state"]), (900, "paused"))
        # So slow that it can be seen at work, and paused then.
        ringfort("workers", "pace", "account-reaper", 5, "--data", self.store.data)
        ringfort("workers", "resume", "account-reaper", "--data", self.store.data)
        until(self, lambda: self.objects() < 900, "nothing is removed")
        ringfort("workers", "pause", "account-reaper", "--data", self.store.data)
        time.sleep(1)
        left = self.objects()
        self.assertGreater(left, 0)
        time.sleep(2)
        self.assertEqual(self.objects(), left)
        ringfort("workers", "pace", "account-reaper", 0, "--data", self.store.data)
        ringfort("workers", "resume", "account-reaper", "--data", self.store.data)
        until(self, lambda: self.objects() == 0, "objects are still on the disks")

    def test_data_is_kept_for_the_delay(self):
        self.store.stop()
        self.store.arguments += ["--delay-reaping", str(DELAY)]
        self.store.start()
        self.assertEqual(self.bob("PUT", "/c").status, 201)
        self.assertEqual(self.bob("PUT", "/c/o", b"x").status, 201)
        deleted = time.monotonic()
        self.assertEqual(self.on_account("DELETE").status, 204)
        while self.objects() == 3 and time.monotonic() < deleted + DELAY + SECONDS:
            time.sleep(0.2)
        self.assertEqual(self.objects(), 0)
        # A timestamp counts whole seconds here.
        self.assertGreater(time.monotonic(), deleted + DELAY - 1)


class ClusterReaperTests(unittest.TestCase):
    # So many that the node that goes away is the first primary of some and not of others.
    ACCOUNTS = [f"AUTH_acme{number}" for number in range(6)]

    def setUp(self):
        self.cluster = Cluster(replicate_every=1)
        self.addCleanup(self.cluster.remove)
        self.cluster.start()
        port = self.cluster.proxy.port
        self.root = add_user(self, self.cluster.shared, port, "root:root", ".reseller_admin")

    def ask(self, method, path, body=None):
        return call(self.cluster.proxy.port, method, "/v1/" + urllib.parse.quote(path), body, self.headers())

    def headers(self):
        return {"X-Auth-Token": self.root.token}

    def paths(self):
        return [f"{account}/c/{name}" for account in self.ACCOUNTS for name in [*ODD_NAMES, "large"]]

    def states(self):
        """What the primaries of all objects hold."""
        found = {}
        for path in self.paths():
            where = ringfort_json("object", "where", "--data", self.cluster.shared, path)
            for place in where["primaries"]:
                state = place["holds"]["state"]
                found[state] = found.get(state, 0) + 1
        return found

    def test_a_node_that_was_away_brings_nothing_back(self):
        for account in self.ACCOUNTS:
            self.assertEqual(self.ask("PUT", f"{account}/c").status, 201)
        for path in self.paths():
            body = bytes(LARGE) if path.endswith("large") else b"x"
            self.assertEqual(self.ask("PUT", path, body).status, 201)
        total = 3 * len(self.paths())
        self.assertEqual(self.states(), {"live": total})
        self.cluster.storage[0].kill()
        for account in self.ACCOUNTS:
            self.assertEqual(self.ask("DELETE", account).status, 204)
        until(self, lambda: "live" not in self.states(), "objects are still on the disks")
        self.cluster.storage[0].start()
        until(self, lambda: self.states() == {"deleted": total}, "what was removed is there on the node that was away")
        for account in self.ACCOUNTS:
            self.assertEqual(self.ask("GET", account).status, 410)
        time.sleep(5)
        self.assertEqual(self.states(), {"deleted": total})
        # Another node's word is enough by now.
        self.cluster.storage[1].kill()
        for account in self.ACCOUNTS:
            self.assertEqual(self.ask("GET", account).status, 410)

    def test_a_reaper_that_is_killed_goes_on(self):
        account = self.ACCOUNTS[0]
        self.assertEqual(self.ask("PUT", f"{account}/c").status, 201)
        paths = [path for path in self.paths() if path.startswith(account + "/")]
        for path in paths:
            self.assertEqual(self.ask("PUT", path, b"x").status, 201)
        self.assertEqual(self.ask("DELETE", account).status, 204)
        for storage in self.cluster.storage:
            storage.kill()
        for storage in self.cluster.storage:
            storage.start()

        def is_gone():
            found = [ringfort_json("object", "where", "--data", self.cluster.shared, path) for path in paths]
            return {place["holds"]["state"] for where in found for place in where["primaries"]} == {"deleted"}

        until(self, is_gone, "objects are still on the disks")
        self.assertEqual(self.ask("GET", account).status, 410)


if __name__ == "__main__":
    unittest.main()
