"""The same load for every system: wrk for small objects, curl for large ones."""

import http.client
import json
import os
import pathlib
import random
import re
import subprocess
import time
import urllib.parse

from machine import PeakMemory

HERE = pathlib.Path(__file__).resolve().parent
CLIENTS = 64
SMALL = 4096
LARGE = 64 << 20
FILL_SLICE = 10


class Load:
    """Drives one system. Every method returns a dictionary with the figures of one run."""

    def __init__(self, system, options):
        self.system, self.options = system, options
        self.seed = f"{random.randrange(1 << 32):08x}"
        self.runs = 0

    def put_small(self):
        self.runs += 1
        base = self.system.container(f"put-{self.seed}-{self.runs}")
        return self._small(op="put", base=base, size=SMALL, seed=self.seed)

    def get_small(self):
        if self.system.static:
            return self._small(op="static", base="/4k")
        return self._small(op="get", base=self.system.container("keys"), keys=self.system.objects)

    def put_large(self):
        return self._large("PUT")

    def get_large(self):
        return self._large("GET")

    def listing(self):
        """The time of one page of 1,000 names somewhere in the container, with a delimiter, at the client."""
        base, count = self.system.container(self.system.listed), self.system.names
        connection = http.client.HTTPConnection("127.0.0.1", self.system.port)
        times = []
        deadline = time.monotonic() + self.options.seconds
        while len(times) < 20 or (time.monotonic() < deadline and len(times) < 2000):
            marker = random.randrange(max(1, count - 1001))
            path = f"{base}?format=json&limit=1000&delimiter=/&marker=obj-{marker:08d}"
            start = time.monotonic()
            connection.request("GET", path, headers={"X-Auth-Token": self.system.token})
            answer = connection.getresponse()
            body = answer.read()
            times.append((time.monotonic() - start) * 1e3)
            rows = len(json.loads(body)) if answer.status == 200 else 0
            if rows != min(1000, count - marker - 1):
                raise SystemExit(f"{self.system.name}: listing gave {answer.status} with {rows} rows")
        connection.close()
        times.sort()
        return {"ms": times[len(times) // 2], "p99_ms": times[int(len(times) * 0.99)], "errors": 0}

    def parallel_uploads(self, count, size):
        """Peak memory while many large uploads run at once."""
        source = self._source(size)
        base = self.system.container("parallel")
        with PeakMemory(self.system.processes) as watch:
            curls = [self._curl("PUT", f"{base}/p{number}", source) for number in range(count)]
            failed = sum(not self._succeeded(curl) for curl in curls)
        for number in range(count):
            self.system.call("DELETE", f"{base}/p{number}")
        return {"rss_mib": watch.peak[0], "anonymous_mib": watch.peak[1], "errors": failed}

    def fill(self):
        """Writes the key set; objects per second."""
        return self._all_keys("fill", size=SMALL)

    def walk(self):
        """Reads the key set once, so that `get` measures a working set that has been in use; objects per second."""
        return self._all_keys("walk")

    def _all_keys(self, op, **more):
        base, count, start = self.system.container("keys"), self.system.objects, 0
        begun = time.monotonic()
        while start < count:
            # wrk runs for its whole time, so there are slices; each goes on where the last one ended.
            left = (count - start + 1) // 2
            result = self._wrk(FILL_SLICE, op=op, base=base, start=start, threads=2, limit=left, **more)
            done = min(result["n"])
            if result["bad"] > CLIENTS + result["good"] // 100:
                raise SystemExit(
                    f"{self.system.name}: {result['bad']} of {result['bad'] + result['good']} requests failed"
                )
            if done >= left - 1 and result["good"] >= 2 * left - CLIENTS:
                break
            # What was under way when the slice ended is asked for again.
            start += 2 * max(0, done - CLIENTS // 2 - 1)
        return count / (time.monotonic() - begun)

    def _small(self, **operation):
        before = self.system.processes.cpu_seconds()
        result = self._wrk(self.options.seconds, **operation)
        cpu = self.system.processes.cpu_seconds() - before
        good = result["requests"] - result["bad_status"]
        return {
            "per_second": good / result["seconds"],
            "cpu_us": cpu * 1e6 / max(1, good),
            "p50_ms": result["p50_ms"],
            "p99_ms": result["p99_ms"],
            "errors": result["errors"] + result["bad_status"],
        }

    def _wrk(self, seconds, **operation):
        command = ["wrk", "-t", "2", "-c", str(CLIENTS), "-d", f"{seconds}s", "--timeout", "60s", "-s", HERE / "op.lua"]
        command += [f"http://127.0.0.1:{self.system.port}", "--", f"token={self.system.token}"]
        done = subprocess.run([*command, *(f"{k}={v}" for k, v in operation.items())], capture_output=True, text=True)
        found = re.search(r"^@@(.*)$", done.stdout, re.M)
        if not found:
            raise SystemExit(f"wrk failed: {done.stdout}{done.stderr}")
        return json.loads(found.group(1))

    def _large(self, method):
        """One client, a few objects one after the other."""
        source, base = self._source(LARGE), self.system.container("large")
        if method == "GET" and not self._succeeded(self._curl("PUT", f"{base}/o", source)):
            raise SystemExit(f"{self.system.name}: cannot put 64 MiB")
        before, start, count = self.system.processes.cpu_seconds(), time.monotonic(), self.options.large
        failed = 0
        for number in range(count):
            path = f"{base}/o{number}" if method == "PUT" else f"{base}/o"
            failed += not self._succeeded(self._curl(method, path, source))
        seconds = time.monotonic() - start
        cpu = self.system.processes.cpu_seconds() - before
        for number in range(count if method == "PUT" else 0):
            self.system.call("DELETE", f"{base}/o{number}")
        return {"mb_per_second": count * LARGE / 1e6 / seconds, "cpu_ms": cpu * 1e3 / count, "errors": failed}

    def _source(self, size):
        path = self.system.state / f"source-{size}"
        if not path.exists():
            with open(path, "wb") as file:
                for _ in range(size >> 20):
                    file.write(os.urandom(1 << 20))
        return path

    def _curl(self, method, path, source):
        command = [
            "curl",
            "-sS",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "-H",
            "Expect:",
            "-H",
            f"X-Auth-Token: {self.system.token}",
        ]
        command += ["-T", source] if method == "PUT" else []
        url = f"http://127.0.0.1:{self.system.port}{urllib.parse.quote(path)}"
        return subprocess.Popen([*command, url], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    @staticmethod
    def _succeeded(curl):
        text = curl.communicate()[0]
        return curl.returncode == 0 and text.startswith("2")
