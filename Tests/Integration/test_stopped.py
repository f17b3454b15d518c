"""Storage processes that hang: they keep their connections and answer nothing."""

import json
import pathlib
import signal
import statistics
import time
import unittest

from cluster import Cluster

OBJECTS = 30
# What the loss of one process may cost a request, and how long a cluster without a majority may take to say so.
LONGEST = 2.0
# A peer that was away is called again after so long at most, and half a second for the call.
RECONNECT = 3.5


class StoppedTests(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster()
        self.addCleanup(self.cluster.remove)
        self.cluster.start()
        self.client = self.cluster.client()
        self.addCleanup(self.client.close)
        self.assertEqual(self.client("PUT", "/c").status, 201)

    def send(self, number, *processes):
        for process in processes:
            process.signal(number)
        # Its threads stop one by one.
        while number == signal.SIGSTOP and any(self.is_running(process) for process in processes):
            time.sleep(0.001)

    def is_running(self, process):
        tasks = pathlib.Path(f"/proc/{process.process.pid}/task").iterdir()
        return any((task / "stat").read_text().rsplit(") ", 1)[1][0] != "T" for task in tasks)

    def timed(self, *request):
        start = time.monotonic()
        answer = self.client(*request)
        return answer, time.monotonic() - start

    def read_all(self):
        """Reads every object; the times it took."""
        times = []
        for number in range(OBJECTS):
            answer, seconds = self.timed("GET", f"/c/o{number:02}")
            self.assertEqual((answer.status, answer.body), (200, b"%d" % number * 1000))
            times.append(seconds)
        return times

    def wait_until_back(self):
        # Two of three answer in any case: of the third only time tells.
        time.sleep(RECONNECT)
        deadline = time.monotonic() + 15
        while self.client("PUT", "/probe").status not in (201, 202) and time.monotonic() < deadline:
            time.sleep(0.1)

    def test_one_that_hangs_costs_little(self):
        for number in range(OBJECTS):
            self.assertEqual(self.client("PUT", f"/c/o{number:02}", b"%d" % number * 1000).status, 201)
        self.read_all()
        for stopped in self.cluster.storage[:2]:
            self.send(signal.SIGSTOP, stopped)
            try:
                times = self.read_all()
                self.assertLess(max(times), LONGEST)
                self.assertLess(statistics.median(times), 0.3, times)
                answer, seconds = self.timed("GET", "/c?format=json")
                self.assertEqual(len(json.loads(answer.body)), OBJECTS)
                self.assertLess(seconds, LONGEST)
                puts = [self.timed("PUT", f"/c/o{n:02}", b"%d" % n * 1000) for n in range(OBJECTS)]
                self.assertEqual({answer.status for answer, _ in puts}, {201})
                self.assertLess(max(seconds for _, seconds in puts), LONGEST + 1)
                self.assertLess(statistics.median(seconds for _, seconds in puts), 0.5)
            finally:
                self.send(signal.SIGCONT, stopped)
            self.wait_until_back()
        self.read_all()

    def test_without_a_majority_the_answer_is_503_soon(self):
        self.assertEqual(self.client("PUT", "/c/o", b"x").status, 201)
        stopped = self.cluster.storage[:2]
        self.send(signal.SIGSTOP, *stopped)
        try:
            # The first one finds out, the others know.
            for request in [("GET", "/c/o"), ("PUT", "/c/o", b"y"), ("DELETE", "/c/o"), ("GET", "/c"), ("GET", "/c/o")]:
                answer, seconds = self.timed(*request)
                self.assertEqual(answer.status, 503, request)
                self.assertLess(seconds, LONGEST, request)
        finally:
            self.send(signal.SIGCONT, *stopped)
        self.wait_until_back()
        self.assertEqual(self.client("PUT", "/c/o", b"z").status, 201)
        self.assertEqual(self.client("GET", "/c/o").body, b"z")

    def test_a_write_finds_out_as_soon(self):
        stopped = self.cluster.storage[1:]
        self.send(signal.SIGSTOP, *stopped)
        try:
            answer, seconds = self.timed("PUT", "/c/o", b"y")
            self.assertEqual(answer.status, 503)
            self.assertLess(seconds, LONGEST)
        finally:
            self.send(signal.SIGCONT, *stopped)


if __name__ == "__main__":
    unittest.main()
