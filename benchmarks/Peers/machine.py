"""What processes cost, and what the machine can do at all."""

import os
import re
import statistics
import subprocess
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")


class Processes:
    """Some processes and all their descendants."""

    def __init__(self, roots):
        self.roots = list(roots)

    def ids(self):
        children = {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            stat = _read(f"/proc/{name}/stat")
            if stat:
                children.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(int(name))
        waiting, seen = list(self.roots), set()
        while waiting:
            process = waiting.pop()
            if process not in seen and os.path.exists(f"/proc/{process}"):
                seen.add(process)
                waiting += children.get(process, [])
        return seen

    def cpu_seconds(self):
        """User and system time of those that are alive."""
        total = 0
        for process in self.ids():
            fields = _read(f"/proc/{process}/stat").rsplit(")", 1)[-1].split()
            if len(fields) > 12:
                total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def memory_mib(self):
        """(in memory, of that heap and stacks), both added up."""
        resident = anonymous = 0
        for process in self.ids():
            status = _read(f"/proc/{process}/status")
            for name, text in re.findall(r"(VmRSS|RssAnon):\s+(\d+)", status):
                if name == "VmRSS":
                    resident += int(text)
                else:
                    anonymous += int(text)
        return resident / 1024, anonymous / 1024


class PeakMemory:
    """The most memory of some processes while a block runs."""

    def __init__(self, processes):
        self.processes, self.peak, self.over = processes, (0, 0), threading.Event()

    def __enter__(self):
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def _watch(self):
        while not self.over.wait(0.1):
            self.peak = max(self.peak, self.processes.memory_mib())


def raw_limits(directory, runs):
    """For each run MB/s of MD5 on one core, and of 64 MiB files written and synced, one or three at a time."""
    size = 64 << 20
    block = os.urandom(1 << 20)

    def write(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for _ in range(size >> 20):
            os.write(descriptor, block)
        os.fdatasync(descriptor)
        os.close(descriptor)

    def rate(copies):
        paths = [os.path.join(directory, f"raw{i}") for i in range(copies)]
        writers = [threading.Thread(target=write, args=(path,)) for path in paths]
        start = time.monotonic()
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        seconds = time.monotonic() - start
        for path in paths:
            os.unlink(path)
        return size / 1e6 / seconds

    rate(1)
    return [
        {"md5": _md5(), "disk": _median_of_five(rate, 1), "disk, three copies": _median_of_five(rate, 3)}
        for _ in range(runs)
    ]


def _median_of_five(rate, copies):
    return statistics.median(rate(copies) for _ in range(5))


def _md5():
    done = subprocess.run(
        ["openssl", "speed", "-seconds", "1", "-bytes", "1048576", "-evp", "md5"],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1].rstrip("k")) * 1000 / 1e6


def _read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
