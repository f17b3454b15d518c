"""Figures as one table: medians, the lowest and highest run, and the ratios that are promised."""

import statistics

NAMES = {"ringfort": "Ringfort", "openstack-swift": "OpenStack Swift", "ceph-rgw": "Ceph RGW", "nginx": "nginx"}


class Row:
    """One line. `better` is 1 where more is better, -1 where less is."""

    def __init__(self, label, row, figure, unit, better=1, floor=None, peers=None, digits=0):
        self.label, self.row, self.figure, self.unit, self.better = label, row, figure, unit, better
        # The least that Ringfort promises: a value, and a factor of a peer's value.
        self.floor, self.peers, self.digits = floor, peers or {}, digits


ROWS = [
    Row(
        "4 KiB PUT, 3 replicas, synced, 64 clients",
        "put",
        "per_second",
        "/s",
        floor=8000,
        peers={"openstack-swift": 100},
    ),
    Row("- CPU in all roles together", "put", "cpu_us", "us", -1, floor=100),
    Row("- p50", "put", "p50_ms", "ms", -1, digits=1),
    Row("- p99", "put", "p99_ms", "ms", -1, digits=1),
    Row("4 KiB GET, 64 clients", "get", "per_second", "/s", floor=25000, peers={"openstack-swift": 60, "nginx": 0.5}),
    Row("- CPU in all roles together", "get", "cpu_us", "us", -1),
    Row("- p50", "get", "p50_ms", "ms", -1, digits=1),
    Row("- p99", "get", "p99_ms", "ms", -1, digits=1),
    Row(
        "64 MiB GET, 1 client",
        "large-get",
        "mb_per_second",
        "MB/s",
        floor=900,
        peers={"nginx": 0.4, "openstack-swift": 2.5},
    ),
    Row(
        "64 MiB PUT, 3 replicas, synced, 1 client",
        "large-put",
        "mb_per_second",
        "MB/s",
        floor=250,
        peers={"openstack-swift": 1.5, "raw": 0.7},
    ),
    Row("1,000 names with a delimiter, p50", "list", "ms", "ms", -1, floor=10, digits=1),
    Row("memory, idle", "idle", "rss_mib", "MiB", -1, floor=60),
    Row("memory, filled", "filled", "rss_mib", "MiB", -1, floor=300),
    Row("- of that heap and stacks", "filled", "anonymous_mib", "MiB", -1),
    Row("memory, most during parallel large uploads", "uploads", "rss_mib", "MiB", -1, floor=400),
    Row("start on an empty directory", "start", "seconds", "s", -1, floor=1, digits=2),
    Row("restart after SIGKILL", "restart", "seconds", "s", -1, floor=2, digits=2),
]


def render(figures):
    """A Markdown table; rows and columns without a figure are left out."""
    systems = [name for name in NAMES if name in figures]
    head = ["", *(NAMES[name] for name in systems), "at least", "reached"]
    lines = [head, ["---"] * len(head)]
    for row in ROWS:
        if any(_values(figures, name, row) for name in systems):
            lines.append(
                [row.label, *(_cell(_values(figures, name, row), row) for name in systems), *_promise(figures, row)]
            )
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    notes = [_limits(figures), _errors(figures)]
    return "\n\n".join([text, *filter(None, notes)])


def _values(figures, system, row):
    return [run[row.figure] for run in figures.get(system, {}).get(row.row, []) if row.figure in run]


def _cell(values, row):
    if not values:
        return ""
    middle = f"{statistics.median(values):,.{row.digits}f} {row.unit}".replace(" /s", "/s")
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):,.{row.digits}f} to {max(values):,.{row.digits}f})"


def _promise(figures, row):
    """What is promised, and what was reached of it."""
    ours = _values(figures, "ringfort", row)
    promised, reached = [], []
    if row.floor is not None:
        promised.append(f"{row.floor:,} {row.unit}".replace(" /s", "/s"))
        if ours:
            reached.append("yes" if (statistics.median(ours) - row.floor) * row.better >= 0 else "NO")
    for peer, factor in row.peers.items():
        name = NAMES.get(peer, "of the machine")
        promised.append(f"{factor:g} x {name}" if peer in NAMES else f"{factor:g} {name}")
        theirs = [_raw_put_limit(figures)] if peer == "raw" else _values(figures, peer, row)
        if ours and theirs and theirs[0]:
            ratio = statistics.median(ours) / statistics.median(theirs)
            reached.append(f"{ratio:.2f}" + ("" if ratio >= factor else " NO"))
    return "; ".join(promised).replace("at least ", ""), "; ".join(reached)


def _raw_put_limit(figures):
    """MB/s that three synced copies can reach: MD5's pace, or the disk's."""
    runs = figures.get("raw", {}).get("limits", [])
    if not runs:
        return None
    return min(statistics.median(run[key] for run in runs) for key in ("md5", "disk, three copies"))


def _limits(figures):
    runs = figures.get("raw", {}).get("limits", [])
    if not runs:
        return ""
    parts = []
    for key in runs[0]:
        values = [run[key] for run in runs]
        parts.append(f"{key} {statistics.median(values):,.0f} MB/s ({min(values):,.0f} to {max(values):,.0f})")
    return "The machine in the same run, 64 MiB files with fdatasync: " + ", ".join(parts) + "."


def _errors(figures):
    found = [
        f"{NAMES[system]} {row}: {sum(run.get('errors', 0) for run in runs)}"
        for system, rows in figures.items()
        for row, runs in rows.items()
        if sum(run.get("errors", 0) for run in runs)
    ]
    return "Failed requests: " + ", ".join(found) if found else ""
