"""What more processes than one cost and bring, on one machine: `make bench-cluster` (see README.md)."""

import argparse
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "Tests/Integration"), str(ROOT / "benchmarks/Peers")]

import healing
import latency
import nodes
import peers
import requests_per_second

FLOORS = [
    # Row, figure, unit, what is promised, and whether the figure keeps it.
    ("4 KiB PUT, 3 storage processes and 2 proxies", "put", "/s", None),
    ("- of all in one process", "put_ratio", "", 0.6),
    ("- encrypted, of that", "put_encrypted_ratio", "", None),
    ("- with one storage process killed, of that", "put_killed_ratio", "", 0.8),
    ("4 KiB GET, 3 storage processes and 2 proxies", "get", "/s", None),
    ("- of all in one process", "get_ratio", "", 0.6),
    ("- encrypted, of that", "get_encrypted_ratio", "", None),
    ("- with one storage process killed, of that", "get_killed_ratio", "", 0.8),
    ("objects of an emptied device restored", "restored", "/s", 20_000),
    ("finding 1,000 differences", "found_seconds", "s", -2),
    ("- on the wire", "found_mib", "MiB", -5),
    ("4 KiB GET p99, all workers at work", "get_p99", "ms", None),
    ("- of that with all of them paused", "get_p99_ratio", "", -1.3),
    ("4 KiB PUT p99, all workers at work", "put_p99", "ms", None),
    ("- of that with all of them paused", "put_p99_ratio", "", -1.3),
    ("audit", "audited_mb", "MB/s", None),
    ("- of the disk's sequential read, or of 1.5 GB/s", "audited_ratio", "", 0.8),
    ("objects of an emptied device restored, OpenStack Swift", "peer_restored", "/s", None),
    ("- Ringfort", "own_restored", "/s", None),
    ("- of OpenStack Swift's", "restored_to_peer", "", None),
    ("audit of copies of 4 KiB, OpenStack Swift", "peer_audited_small", "/s", None),
    ("- Ringfort", "own_audited_small", "/s", None),
    ("- of OpenStack Swift's", "audited_small_to_peer", "", None),
    ("audit of copies of 64 MiB, OpenStack Swift", "peer_audited_large", "MB/s", None),
    ("- Ringfort", "own_audited_large", "MB/s", None),
    ("- of OpenStack Swift's", "audited_large_to_peer", "", None),
]


def render(figures):
    """A Markdown table; a promise below zero is a most, not a least."""
    lines = ["| | | promised | kept |", "|---|--:|--:|---|"]
    for label, key, unit, floor in FLOORS:
        if key not in figures:
            continue
        value = figures[key]
        digits = 0 if abs(value) >= 100 else 2
        promised = "" if floor is None else f"{'at most' if floor < 0 else 'at least'} {abs(floor):,} {unit}".strip()
        kept = "" if floor is None else "yes" if (value <= -floor if floor < 0 else value >= floor) else "NO"
        lines.append(f"| {label} | {value:,.{digits}f} {unit} | {promised} | {kept} |")
    return "\n".join(lines + [""] + figures.get("notes", []))


def main():
    parts = {
        "requests": requests_per_second.measure,
        "restore": healing.restore,
        "differences": healing.differences,
        "audit": healing.audit,
        "latency": latency.measure,
        "peers": peers.measure,
    }
    usual = [name for name in parts if name != "peers"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a look: short runs, a tenth of the objects")
    parser.add_argument("--only", help=f"parts, by commas ({','.join(usual)})")
    parser.add_argument("--with-openstack", action="store_true", help="also the part peers, which takes long")
    parser.add_argument("--seconds", type=int, help="of each run of PUT and GET (20)")
    parser.add_argument("--runs", type=int, help="of each kind, in turn; the medians count (3)")
    parser.add_argument("--objects", type=int, help="of 4 KiB in each part but requests (100,000)")
    parser.add_argument("--peer-objects", type=int, help="likewise in the part peers (as --objects)")
    options = parser.parse_args()
    options.seconds = options.seconds or (5 if options.quick else 20)
    options.runs = options.runs or (1 if options.quick else 3)
    options.large = 2 if options.quick else 16
    options.objects = options.objects or (10_000 if options.quick else 100_000)
    options.peer_objects = options.peer_objects or (2_000 if options.quick else options.objects)
    wanted = options.only.split(",") if options.only else usual
    if options.with_openstack and "peers" not in wanted:
        wanted.append("peers")
    for name in wanted:
        if name not in parts:
            parser.error(f"no part is called {name}; there are {', '.join(parts)}")
    nodes.own_network()
    figures = {"notes": []}
    for name in wanted:
        print(f"bench-cluster: {name}", file=sys.stderr, flush=True)
        parts[name](options, figures)
    print(render(figures))


if __name__ == "__main__":
    main()
