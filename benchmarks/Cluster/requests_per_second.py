"""Small PUTs and GETs against all in one process, three storage processes with two proxies, the same encrypted, and with one storage
process killed."""

import statistics

from cluster import Cluster
from generators import SIZE, fill, load, rate
from ringfort import Store

KEYS = 10_000


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
