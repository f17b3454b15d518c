"""wrk with `op.lua` of the side-by-side comparison: how it is started, what it counted, and key sets that it writes."""

import json
import pathlib
import re
import subprocess

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "Peers/op.lua"
CLIENTS = 64
SIZE = 4096
FILL_SLICE = 5


def generator(port, token, seconds, connections=CLIENTS, cores=2, **operation):
    """One that runs; `result` waits for its end."""
    command = ["wrk", "-t", str(cores), "-c", str(connections), "-d", f"{seconds}s", "--timeout", "30s", "-s", SCRIPT]
    command += [f"http://127.0.0.1:{port}", "--", f"token={token}"]
    command += [f"{key}={value}" for key, value in operation.items()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result(process):
    """What the script counted."""
    out, error = process.communicate()
    found = re.search(r"^@@(.*)$", out, re.M)
    if not found:
        raise SystemExit(f"bench-cluster: wrk failed: {out}{error}")
    return json.loads(found.group(1))


def load(ports, token, seconds, **operation):
    """One generator per port, the clients shared out among them."""
    sharing = {"connections": CLIENTS // len(ports), "cores": 2 if len(ports) == 1 else 1}
    running = []
    for port in ports:
        # Each generator makes names of its own.
        own = {"seed": f"{operation['seed']}-{port}"} if "seed" in operation else {}
        running.append(generator(port, token, seconds, **sharing, **{**operation, **own}))
    results = [result(process) for process in running]
    return {key: sum(part[key] for part in results) for key in ("requests", "bad_status", "errors", "good")} | {
        "seconds": max(part["seconds"] for part in results),
        "n": [count for part in results for count in part["n"]],
    }


def fill(port, client, container, count, size=SIZE, **more):
    """Writes objects obj-00000000 and so on."""
    _all_keys("fill", port, client, container, count, size=size, **more)


def walk(port, client, container, count):
    """Reads them."""
    _all_keys("walk", port, client, container, count)


def _all_keys(op, port, client, container, count, **more):
    start = 0
    while start < count:
        # wrk runs for its whole time, so there are slices; each goes on where the last one ended.
        left = (count - start + 1) // 2
        keys = {"base": f"{client.account}{container}", "start": start, "threads": 2, "limit": left}
        done = load([port], client.token, FILL_SLICE, op=op, **keys, **more)
        if done["bad_status"] + done["errors"] > CLIENTS + done["requests"] // 100:
            raise SystemExit(f"bench-cluster: {done['bad_status']} of {done['requests']} objects failed: {op}")
        reached = min(done["n"])
        if reached >= left - 1 and done["good"] >= 2 * left - CLIENTS:
            break
        # What was under way when the slice ended is asked for again.
        start += 2 * max(0, reached - CLIENTS // 2 - 1)


def check(done):
    """Ends the run when more than one request in a thousand failed."""
    failed = done["bad_status"] + done["errors"]
    if failed > done["requests"] // 1000:
        raise SystemExit(f"bench-cluster: {failed} of {done['requests']} requests failed")
    return done


def rate(done):
    check(done)
    return (done["requests"] - done["bad_status"]) / done["seconds"]
