"""A load on all proxies and a model of what they have acknowledged.

Each key has one writer. A write that failed is unknown: it or what was there before is right, until the next acknowledged
one. So an answer is right when it shows the last write acknowledged before the question or any later one that was begun
before the answer."""

import collections
import hashlib
import http.client
import json
import random
import threading
import time
import urllib.parse

CONTAINERS = [f"torture{number}" for number in range(8)]
SIZES = ((0, 0), (1, 4096), (1, 4096), (4096, 200_000), (4096, 200_000), (256 << 10, 1 << 20))
# Longer than any node is stopped.
TIMEOUT_SECONDS = 15
# Counted when a proxy that is in order needs longer.
SLOW_SECONDS = 3
# After a fault of a proxy its requests may still fail so long.
GRACE_SECONDS = 2

Operation = collections.namedtuple("Operation", "kind seed size")
Answer = collections.namedtuple("Answer", "status headers body")
NOTHING = Operation("DELETE", "", 0)


def content(seed, size):
    """Bytes that say whose they are, unlike any other's."""
    head = f"{seed}\n".encode()
    block = head + hashlib.sha512(head).digest() * 64
    return (block * (size // len(block) + 1))[:size]


class Key:
    """What was done to one object."""

    def __init__(self, container, name):
        self.container, self.name = container, name
        self.path = f"/{container}/{urllib.parse.quote(name)}"
        self.operations = [NOTHING]
        self.acknowledged = 0
        self.story = []
        # A request without an answer may still be carried out by a proxy that was stopped.
        self.waits_for = None
        self.waits_since = 0.0

    def begin(self, kind, size=0):
        seed = f"{self.name} {len(self.operations)}"
        self.operations.append(Operation(kind, seed, size))
        return len(self.operations) - 1

    @property
    def is_certain(self):
        """No write since the last acknowledged one has an unknown outcome."""
        return all(o.kind == "ABORT" for o in self.operations[self.acknowledged + 1 :])

    @property
    def is_deleted(self):
        """By the last write, whose outcome is known."""
        return self.acknowledged > 0 and self.is_certain and self.operations[self.acknowledged].kind == "DELETE"

    def wait_for(self, node):
        self.waits_for, self.waits_since = node, time.monotonic()

    def allowed(self, floor):
        return range(floor, len(self.operations))

    def may_be_absent(self, floor):
        return any(self.operations[number].kind == "DELETE" for number in self.allowed(floor))

    def tell(self, text):
        self.story.append(f"{time.time():.3f} {text}")


class Tally:
    """Counts and violations of all threads."""

    def __init__(self, say):
        self.say = say
        self.lock = threading.Lock()
        self.done = collections.Counter()
        self.errors = collections.Counter()
        self.excused = collections.Counter()
        self.slow = collections.Counter()
        self.slowest = 0.0
        self.violations = []

    def violation(self, text, key=None):
        with self.lock:
            self.violations.append(text)
            self.say("VIOLATION " + text)
            if key:
                for line in key.story[-14:]:
                    self.say("    " + line)

    @property
    def is_hopeless(self):
        """What follows tells nothing new."""
        return len(self.violations) >= 10

    @property
    def error_share(self):
        return sum(self.errors.values()) / max(1, sum(self.done.values()))


class Worker(threading.Thread):
    """Writes to keys of its own, reads and lists those of all."""

    def __init__(self, number, keys, cluster, tally, seed, pace):
        super().__init__(daemon=True)
        self.number, self.cluster, self.tally, self.pace = number, cluster, tally, pace
        containers = (CONTAINERS[index % len(CONTAINERS)] for index in range(keys))
        self.own = [Key(container, f"w{number}/k{index:03}") for index, container in enumerate(containers)]
        self.all = self.own
        self.random = random.Random(f"{seed} {number}")
        self.connections = {}
        self.ending = threading.Event()

    def run(self):
        try:
            while not self.ending.is_set():
                began = time.monotonic()
                self.step()
                rest = self.pace - (time.monotonic() - began)
                if rest > 0:
                    self.ending.wait(rest)
        except Exception as failure:
            self.tally.violation(f"worker {self.number} ended: {failure!r}")
            raise
        finally:
            self.close()

    def close(self):
        for _, connection in self.connections.values():
            connection.close()

    def step(self):
        choice = self.random.random()
        node = self.random.choice(self.cluster.proxies())
        # A node that stands still would soon have all workers wait for it.
        if node.fault_began is not None and self.random.random() < 0.9:
            return self.ending.wait(0.005)
        if choice < 0.3:
            self.put(node)
        elif choice < 0.36:
            self.post(node)
        elif choice < 0.4:
            self.abort(node)
        elif choice < 0.5:
            self.delete(node)
        elif choice < 0.97:
            self.read(node, self.pick(self.all), "GET" if choice < 0.85 else "HEAD")
        else:
            self.list(node, self.random.choice(self.cluster.workers), self.random.choice(CONTAINERS))

    def pick(self, keys):
        """Some more often than others."""
        return keys[int(len(keys) * self.random.random() ** 2)]

    def writable(self):
        key = self.pick(self.own)
        if key.waits_for is None:
            return key
        calm = time.monotonic() - 3 * GRACE_SECONDS
        if key.waits_since > calm or not key.waits_for.is_quiet(calm):
            return None
        key.waits_for = None
        return key

    def put(self, node):
        key = self.writable()
        if key is None:
            return
        low, high = self.random.choice(SIZES)
        number = key.begin("PUT", self.random.randint(low, high))
        operation = key.operations[number]
        body = content(operation.seed, operation.size)
        etag = hashlib.md5(body).hexdigest()
        answer = self.ask(node, "PUT", key.path, body, {"X-Object-Meta-Number": str(number)}, key)
        key.tell(f"PUT {number} of {operation.size} by {node.name}: {self.outcome(answer)}")
        if answer and answer.status == 201:
            key.acknowledged = number
            if answer.headers["ETag"].strip('"') != etag:
                self.tally.violation(f"{key.name}: PUT {number} has ETag {answer.headers['ETag']}, not {etag}", key)

    def post(self, node):
        """New metadata for the same bytes."""
        key = self.writable()
        if key is None or not key.is_certain or key.operations[key.acknowledged].kind != "PUT":
            return
        before = key.operations[key.acknowledged]
        key.operations.append(before)
        number = len(key.operations) - 1
        answer = self.ask(node, "POST", key.path, None, {"X-Object-Meta-Number": str(number)}, key)
        key.tell(f"POST {number} by {node.name}: {self.outcome(answer)}")
        if answer and answer.status == 202:
            key.acknowledged = number
        elif answer and answer.status < 500:
            self.tally.violation(f"{key.name}: POST {number} by {node.name} says {answer.status}", key)

    def abort(self, node):
        """An upload whose client goes away in the middle: it is never seen."""
        key = self.writable()
        if key is None:
            return
        number = key.begin("ABORT", self.random.choice((1000, 100_000, 900_000)))
        operation = key.operations[number]
        body = content(operation.seed, operation.size)
        connection = http.client.HTTPConnection(node.host, node.port, timeout=TIMEOUT_SECONDS)
        try:
            connection.putrequest("PUT", self.cluster.account + key.path)
            connection.putheader("X-Auth-Token", self.cluster.token)
            connection.putheader("X-Object-Meta-Number", str(number))
            connection.putheader("Content-Length", str(operation.size))
            connection.endheaders()
            connection.send(body[: self.random.randrange(operation.size)])
        except OSError:
            pass
        finally:
            connection.close()
        key.tell(f"PUT {number} by {node.name} broken off")

    def delete(self, node):
        key = self.writable()
        if key is None:
            return
        before = key.acknowledged
        number = key.begin("DELETE")
        answer = self.ask(node, "DELETE", key.path, None, {}, key)
        key.tell(f"DELETE {number} by {node.name}: {self.outcome(answer)}")
        if answer and answer.status in (204, 404):
            # What was there before this request: its own tombstone does not make a 404 right.
            was = [key.operations[earlier].kind for earlier in range(before, number)]
            if answer.status == 404 and "DELETE" not in was:
                self.tally.violation(f"{key.name}: DELETE {number} says 404, {before} was acknowledged", key)
            key.acknowledged = number

    def read(self, node, key, method):
        floor = key.acknowledged
        answer = self.ask(node, method, key.path)
        if answer is None or answer.status >= 500:
            return
        where = f"{key.name}: {method} by {node.name} ({answer.headers.get('X-Trans-Id')})"
        if answer.status == 404:
            if not key.may_be_absent(floor):
                self.tally.violation(f"{where} says 404, {floor} was acknowledged", key)
            return
        if answer.status != 200:
            self.tally.violation(f"{where} says {answer.status}", key)
            return
        number = int(answer.headers["X-Object-Meta-Number"])
        if number not in key.allowed(floor) or key.operations[number].kind != "PUT":
            self.tally.violation(f"{where} gives {number}, {floor} was acknowledged", key)
            return
        operation = key.operations[number]
        body = content(operation.seed, operation.size)
        if answer.headers["ETag"].strip('"') != hashlib.md5(body).hexdigest():
            self.tally.violation(f"{where} has a wrong ETag for {number}: {answer.headers['ETag']}", key)
        elif method == "GET" and answer.body != body:
            self.tally.violation(f"{where} has {len(answer.body)} wrong bytes for {number}", key)
        elif int(answer.headers["Content-Length"]) != operation.size:
            self.tally.violation(f"{where} has length {answer.headers['Content-Length']}", key)

    def list(self, node, worker, container):
        keys = [key for key in worker.own if key.container == container]
        floors = [key.acknowledged for key in keys]
        prefix = f"w{worker.number}/"
        where, rows, marker = f"listing of {container}/{prefix} by {node.name}", {}, ""
        limit = self.random.choice((10_000, 10_000, 3))
        while True:
            query = f"format=json&prefix={prefix}&limit={limit}&marker={urllib.parse.quote(marker)}"
            answer = self.ask(node, "GET", f"/{container}?{query}")
            if answer is None or answer.status >= 500:
                return
            where += f" ({answer.headers.get('X-Trans-Id')})"
            if answer.status != 200:
                self.tally.violation(f"{where} says {answer.status}")
                return
            page = json.loads(answer.body)
            rows |= {row["name"]: row for row in page}
            if len(page) < limit:
                break
            marker = page[-1]["name"]
        for key, floor in zip(keys, floors):
            row = rows.pop(key.name, None)
            if row is None:
                if not key.may_be_absent(floor):
                    self.tally.violation(f"{where}: {key.name} is missing, {floor} was acknowledged", key)
                continue
            puts = [key.operations[n] for n in key.allowed(floor) if key.operations[n].kind == "PUT"]
            etags = [hashlib.md5(content(o.seed, o.size)).hexdigest() for o in puts if o.size == row["bytes"]]
            if row["hash"] not in etags:
                text = f"{where}: {key.name} has {row['bytes']} bytes of {row['last_modified']}"
                self.tally.violation(f"{text}, {floor} was acknowledged", key)
        if rows:
            self.tally.violation(f"{where}: {sorted(rows)} were never written")

    def ask(self, node, method, path, body=None, headers=None, key=None):
        """The answer, or nil when there was none."""
        began = time.monotonic()
        pid, connection = self.connections.get(node.name, (0, None))
        if pid != node.process.pid:
            if connection:
                connection.close()
            connection = http.client.HTTPConnection(node.host, node.port, timeout=TIMEOUT_SECONDS)
            self.connections[node.name] = node.process.pid, connection
        answer, reason = None, ""
        try:
            headers = {"X-Auth-Token": self.cluster.token, **(headers or {})}
            connection.request(method, self.cluster.account + path, body, headers)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
            reason = str(answer.status)
        except (OSError, http.client.HTTPException) as failure:
            connection.close()
            reason = type(failure).__name__
            if isinstance(failure, TimeoutError) and key:
                key.wait_for(node)
        # Such a write may come out above later ones until the clocks of the others have passed it.
        if node.has_wrong_clock and key and (answer is None or answer.status >= 500):
            key.wait_for(node)
        self.count(node, method, began, answer, reason)
        return answer

    def count(self, node, method, began, answer, reason):
        took = time.monotonic() - began
        with self.tally.lock:
            self.tally.done[method] += 1
            if node.is_quiet(began - GRACE_SECONDS):
                self.tally.slowest = max(self.tally.slowest, took)
                if took > SLOW_SECONDS:
                    self.tally.slow[method] += 1
            if answer is None or answer.status >= 500:
                calm = began - GRACE_SECONDS
                excused = not node.is_quiet(calm) or not self.cluster.had_majority(calm)
                (self.tally.excused if excused else self.tally.errors)[f"{method} {reason}"] += 1
                if not excused:
                    detail = answer.body[:200].decode(errors="replace") if answer else ""
                    where = answer.headers.get("X-Trans-Id") if answer else path_of(node)
                    self.tally.say(f"error {method} by {node.name}: {reason} after {took:.2f} s {where} {detail}")

    @staticmethod
    def outcome(answer):
        return f"{answer.status} {answer.headers.get('X-Trans-Id')}" if answer else "no answer"


def path_of(node):
    return f"http://{node.host}:{node.port}"
