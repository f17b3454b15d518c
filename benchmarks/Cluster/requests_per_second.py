"""Small PUTs and GETs against all in one process, three storage processes with two proxies, the same encrypted, and with one storage
process killed."""

import json
import pathlib
import re
import statistics
import subprocess

from cluster import Cluster
from ringfort import Store

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "Peers/op.lua"
CLIENTS = 64
SIZE = 4096
KEYS = 10_000
FILL_SLICE = 5


class Target:
    """Something that answers on some ports, with a container for each kind of request."""

    def __init__(self, client, ports):
        self.client, self.ports, self.runs = client, ports, 0
        for container in ("/keys", "/put"):
            assert client("PUT", container).status == 201

    def fill(self):
        fill(self.ports[0], self.client, "/keys", KEYS)

    def put(self, seconds):
        self.runs += 1
        base = f"{self.client.account}/put"
        return rate(load(self.ports, self.client.token, seconds, op="put", base=base, size=SIZE, seed=f"r{self.runs}"))

    def get(self, seconds):
        base = f"{self.client.account}/keys"
        return rate(load(self.ports, self.client.token, seconds, op="get", base=base, keys=KEYS))


def load(ports, token, seconds, **operation):
    """One generator per port, the clients shared out among them."""
    running = []
    for port in ports:
        command = ["wrk", "-t", "2" if len(ports) == 1 else "1", "-c", str(CLIENTS // len(ports)), "-d", f"{seconds}s"]
        command += ["--timeout", "30s", "-s", SCRIPT, f"http://127.0.0.1:{port}", "--", f"token={token}"]
        # Each generator makes names of its own.
        values = {**operation, **({"seed": f"{operation['seed']}-{port}"} if "seed" in operation else {})}
        command += [f"{key}={value}" for key, value in values.items()]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    results = []
    for process in running:
        out, error = process.communicate()
        found = re.search(r"^@@(.*)$", out, re.M)
        if not found:
            raise SystemExit(f"bench-cluster: wrk failed: {out}{error}")
        results.append(json.loads(found.group(1)))
    return {key: sum(result[key] for result in results) for key in ("requests", "bad_status", "errors", "good")} | {
        "seconds": max(result["seconds"] for result in results),
        "n": [count for result in results for count in result["n"]],
    }


def fill(port, client, container, count):
    """Writes objects obj-00000000 and so on."""
    start = 0
    while start < count:
        # wrk runs for its whole time, so there are slices; each goes on where the last one ended.
        left = (count - start + 1) // 2
        base = f"{client.account}{container}"
        result = load([port], client.token, FILL_SLICE, op="fill", base=base, size=SIZE, start=start, threads=2, limit=left)
        if result["bad_status"] + result["errors"] > CLIENTS + result["requests"] // 100:
            raise SystemExit(f"bench-cluster: {result['bad_status']} of {result['requests']} objects could not be written")
        done = min(result["n"])
        if done >= left - 1 and result["good"] >= 2 * left - CLIENTS:
            break
        # What was under way when the slice ended is written again.
        start += 2 * max(0, done - CLIENTS // 2 - 1)


def rate(result):
    failed = result["bad_status"] + result["errors"]
    if failed > result["requests"] // 1000:
        raise SystemExit(f"bench-cluster: {failed} of {result['requests']} requests failed")
    return (result["requests"] - result["bad_status"]) / result["seconds"]


def measure(options, figures):
    store, cluster = Store(), Cluster(proxies=2, replicate_every=3600)
    private = Cluster(proxies=2, replicate_every=3600, options=["--encrypt"])
    try:
        single = Target(store.start().client(), [store.port])
        several = Target(cluster.start().client(), [proxy.port for proxy in cluster.proxies])
        encrypted = Target(private.start().client(), [proxy.port for proxy in private.proxies])
        rates = {}

        def run(name, target):
            for kind in ("put", "get"):
                rates.setdefault(f"{name} {kind}", []).append(getattr(target, kind)(options.seconds))

        for target in (single, several, encrypted):
            target.fill()
        # In turn, so that what else runs on the machine meets all.
        for _ in range(options.runs):
            run("single", single)
            run("several", several)
            run("encrypted", encrypted)
        cluster.storage[0].kill()
        for _ in range(options.runs):
            run("killed", several)
    finally:
        store.remove()
        cluster.remove()
        private.remove()
    middle = {name: statistics.median(values) for name, values in rates.items()}
    for kind in ("put", "get"):
        figures[kind] = middle[f"several {kind}"]
        figures[f"{kind}_ratio"] = middle[f"several {kind}"] / middle[f"single {kind}"]
        figures[f"{kind}_encrypted_ratio"] = middle[f"encrypted {kind}"] / middle[f"several {kind}"]
        figures[f"{kind}_killed_ratio"] = middle[f"killed {kind}"] / middle[f"several {kind}"]
        spread = ", ".join(
            f"{name} {min(rates[f'{name} {kind}']):,.0f} to {max(rates[f'{name} {kind}']):,.0f}/s"
            for name in ("single", "several", "encrypted", "killed")
        )
        figures["notes"].append(f"{kind.upper()}: {spread}.")
