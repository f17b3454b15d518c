"""What was acknowledged is there after SIGKILL; one directory has one owner; a stop is polite."""

import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

import raw
from ringfort import BINARY, STOP_SECONDS, Store, call, free_port

WRITERS = 8


class Writer(threading.Thread):
    """Puts and deletes its own keys until the store goes away; remembers what was acknowledged and what was not."""

    def __init__(self, store, number, seed):
        super().__init__()
        self.client, self.number, self.random = store.client(), number, random.Random(seed)
        self.acknowledged, self.pending = {}, None

    def run(self):
        round_ = 0
        while True:
            round_ += 1
            key = f"w{self.number}-{self.random.randrange(40):02}"
            size = self.random.choice([0, 1, 100, 4096, 70_000, 400_000])
            value = None if self.random.random() < 0.15 else (f"{key}.{round_}.".encode() + bytes(size))
            self.pending = (key, value)
            try:
                answer = self.client("DELETE" if value is None else "PUT", "/durable/" + key, value)
            except Exception:
                return
            if answer.status in (201, 204) or (value is None and answer.status == 404):
                self.acknowledged[key] = value
                self.pending = None
            elif answer.status != 503:
                self.error = answer.status
                return

    error = None


class KillTests(unittest.TestCase):
    def setUp(self):
        self.store = Store()
        self.addCleanup(self.store.remove)

    def test_acknowledged_writes_survive_sigkill(self):
        seed = random.randrange(1 << 32)
        expected = {}
        for round_ in range(4):
            self.store.start()
            client = self.store.client()
            client("PUT", "/durable")
            self.check(client, expected, f"seed {seed}, round {round_}")
            writers = [Writer(self.store, number, seed + round_ * 100 + number) for number in range(WRITERS)]
            for writer in writers:
                writer.start()
            time.sleep(1 + round_ / 3)
            self.store.kill()
            for writer in writers:
                writer.join(30)
                self.assertIsNone(writer.error)
                for key, value in writer.acknowledged.items():
                    expected[key] = {value}
                if writer.pending:
                    # It was not answered, so either outcome is right.
                    key, value = writer.pending
                    expected[key] = expected.get(key, {None}) | {value}
        self.store.start()
        self.check(self.store.client(), expected, f"seed {seed}, end")

    def check(self, client, expected, where):
        listed, unsettled = set(client.names("/durable")), {}
        for key, values in expected.items():
            answer = client("GET", "/durable/" + key)
            found = answer.body if answer.status == 200 else None
            self.assertIn(found, values, f"{where}: {key}: {answer.status}")
            if len(values) > 1:
                unsettled[key] = found
            else:
                self.assertEqual(key in listed, found is not None, f"{where}: {key} in the listing")
            # From now on that is the truth.
            expected[key] = {found}
        self.assertLessEqual(listed, set(expected), where)
        self.settle(client, unsettled, where)

    def settle(self, client, unsettled, where):
        """The listing catches up with writes that were cut off between object and row."""
        present = {key for key, found in unsettled.items() if found is not None}
        deadline = time.monotonic() + 10
        while present != (seen := set(client.names("/durable")) & set(unsettled)) and time.monotonic() < deadline:
            time.sleep(0.1)
        self.assertEqual(seen, present, where)

    def test_everything_is_as_before_after_a_restart(self):
        self.store.start()
        before, client = self.store.credentials(), self.store.client()
        client("PUT", "/c", headers={"X-Container-Meta-A": "1"})
        client("PUT", "/c/o", b"x" * 5000, {"X-Object-Meta-B": "2"})
        head = client("HEAD", "/c/o").headers
        self.assertEqual(self.store.stop(), 0)
        self.store.start()
        self.assertEqual(self.store.credentials()["ST_KEY"], before["ST_KEY"])
        # The token still counts: it is signed, not remembered.
        again = call(self.store.port, "GET", client.account + "/c/o", headers={"X-Auth-Token": client.token})
        self.assertEqual((again.status, again.body), (200, b"x" * 5000))
        for name in ("ETag", "X-Timestamp", "Last-Modified", "X-Object-Meta-B", "Content-Type"):
            self.assertEqual(again.headers[name], head[name], name)
        self.assertEqual(self.store.client()("HEAD", "/c").headers["X-Container-Meta-A"], "1")


class StopTests(unittest.TestCase):
    def setUp(self):
        self.store = Store()
        self.addCleanup(self.store.remove)
        self.store.start()

    def test_second_owner_is_refused(self):
        port = free_port()
        second = subprocess.run(
            [BINARY, "up", "--data", self.store.data, "--port", str(port)], capture_output=True, text=True, timeout=20
        )
        self.assertNotEqual(second.returncode, 0)
        self.assertIn("in use", second.stderr)
        self.assertIn(str(self.store.process.pid), second.stderr)
        self.assertEqual(call(self.store.port, "GET", "/healthcheck").status, 200)

    def test_port_that_is_taken_is_a_clear_error(self):
        with tempfile.TemporaryDirectory() as other:
            second = subprocess.run(
                [BINARY, "up", "--data", other, "--port", str(self.store.port), "--storage-port", "0"],
                capture_output=True,
                text=True,
                timeout=20,
            )
        self.assertNotEqual(second.returncode, 0)
        self.assertIn(str(self.store.port), second.stderr)

    def test_idle_store_stops_at_once(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            start = time.monotonic()
            self.store.signal(number)
            self.assertEqual(self.store.wait(), 0)
            self.assertLess(time.monotonic() - start, 5)
            self.store.start()

    def test_running_upload_is_finished(self):
        client = self.store.client()
        client("PUT", "/c")
        size = 2_000_000
        head = [f"X-Auth-Token: {client.token}", f"Content-Length: {size}"]
        with raw.Connection(self.store.port, STOP_SECONDS) as upload:
            upload.sendall(raw.request("PUT", client.account + "/c/o", head, bytes(1_000_000)))
            time.sleep(0.3)
            self.store.signal(signal.SIGTERM)
            for _ in range(10):
                time.sleep(0.1)
                upload.sendall(bytes(100_000))
            self.assertEqual(upload.answer()[0], 201)
        self.assertEqual(self.store.wait(), 0)
        self.store.start()
        self.assertEqual(self.store.client()("GET", "/c/o").body, bytes(size))

    def test_upload_that_never_ends_does_not_hold_up_the_stop(self):
        client = self.store.client()
        client("PUT", "/c")
        head = [f"X-Auth-Token: {client.token}", "Content-Length: 1000000"]
        with raw.Connection(self.store.port, STOP_SECONDS) as upload:
            upload.sendall(raw.request("PUT", client.account + "/c/o", head, bytes(1000)))
            time.sleep(0.3)
            self.store.signal(signal.SIGINT)
            time.sleep(0.3)
            # Somebody at a terminal who asks again does not want to wait.
            self.store.signal(signal.SIGINT)
            self.assertNotEqual(self.store.wait(5), 0)
        self.store.start()
        self.assertEqual(self.store.client()("GET", "/c/o").status, 404)


class DirectoryTests(unittest.TestCase):
    def test_secrets_are_the_owners_alone(self):
        store = Store()
        self.addCleanup(store.remove)
        store.start()
        key = store.credentials()["ST_KEY"].encode()
        self.assertGreaterEqual(len(key), 16)
        for path in store.data.rglob("*"):
            if path.is_file() and path.stat().st_size < 1 << 20 and (key in path.read_bytes() or "key" in path.name):
                self.assertEqual(path.stat().st_mode & 0o077, 0, path)
        self.assertNotIn(key.decode(), store.log.read_text())

    def test_disk_of_another_store_is_refused(self):
        stores = [Store(), Store()]
        for store in stores:
            self.addCleanup(store.remove)
            store.start()
            store.stop()
        facts = [sorted(store.data.rglob("device.json"))[0] for store in stores]
        shutil.copy(facts[1], facts[0])
        with self.assertRaises(AssertionError):
            stores[0].start()
        self.assertIn(str(pathlib.Path(facts[0]).parent.name), stores[0].tail())
