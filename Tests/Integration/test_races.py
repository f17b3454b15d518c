"""Clients that get into each other's way."""
import threading
import time

from ringfort import StoreTestCase


class ContainerRaceTests(StoreTestCase):
    def test_container_that_an_upload_keeps_alive_stays_listed(self):
        first, second, live = self.store.client(), self.store.client(), set()
        for number in range(30):
            container = f"/race-{number}"
            first("PUT", container)
            threads = [
                threading.Thread(target=first, args=("PUT", container + "/o", b"x")),
                threading.Thread(target=second, args=("DELETE", container)),
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if self.client("HEAD", container).status == 204:
                live.add(container[1:])
        deadline = time.monotonic() + 10
        while live != (listed := {n for n in self.client.names("") if n.startswith("race-")}):
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        self.assertEqual(listed, live)

    def test_emptied_container_can_be_deleted_at_once(self):
        wrong = []

        def work(number):
            client = self.store.client()
            for turn in range(20):
                container = f"/emptied-{number}-{turn}"
                client("PUT", container)
                client("PUT", container + "/o", b"y")
                client("DELETE", container + "/o")
                status = client("DELETE", container).status
                if status != 204:
                    wrong.append((container, status))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
