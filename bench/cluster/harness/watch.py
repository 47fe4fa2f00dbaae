"""What the hosts of a bed do while a program runs on them: CPU time, bytes a link, CPU that others took."""

import json
import os
import threading
import time
from pathlib import Path

from testbed import kernel

POLL_S = 0.02


class Watch:
    """Follows `file`, to which the program adds a line of JSON after each step, and takes stock after the steps that open and
    close what counts. One program at a time."""

    def __init__(self, state, file, first, last, run=None):
        self.state, self.file, self.run = state, Path(file), run
        self.hosts = [host.name for host in state.config().hosts]
        self.limits = kernel.find_cgroups()
        self.at = {first: None, last: None}
        self.first, self.last = first, last
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.follow)

    def __enter__(self):
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.unlink(missing_ok=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def follow(self):
        read = 0
        while not self.ended.wait(POLL_S):
            try:
                with open(self.file) as file:
                    file.seek(read)
                    lines = file.read()
            except FileNotFoundError:
                continue
            whole = lines.rfind("\n") + 1
            read += whole
            for line in lines[:whole].splitlines():
                entry = json.loads(line)
                step = entry.get("step") if entry.get("kind") == "step" else None
                if step in self.at and self.at[step] is None and entry.get("run") == self.run:
                    self.at[step] = self.stock()

    def stock(self):
        cpu = {host: self.limits.used_us(self.state.name, host) or 0 for host in self.hosts}
        return {"time": time.monotonic(), "cpu_us": cpu, "main_us": {host: self.main_thread_us(host) for host in self.hosts},
                "sent": {host: self.sent(host) for host in self.hosts},
                "machine_us": machine_busy_us(self.limits)}

    def main_thread_us(self, host):
        """CPU time of the main thread that has used most on `host`: the program's own, which computes."""
        most = 0
        for process in Path(self.state.values["join"][host][0]).read_text().split():
            try:
                most = max(most, int(Path("/proc", process, "task", process, "schedstat").read_text().split()[0]) // 1000)
            except (OSError, IndexError):
                continue
        return most

    def sent(self, host):
        """Bytes sent so far to each other host: as the host's own processes see their interfaces."""
        for process in Path(self.state.values["join"][host][0]).read_text().split():
            try:
                lines = Path("/proc", process, "net", "dev").read_text().splitlines()[2:]
            except OSError:
                continue
            counts = {line.split(":")[0].strip(): line.split(":")[1].split() for line in lines}
            return {name: int(values[8]) for name, values in counts.items() if name != "lo"}
        return {}

    def result(self):
        """Per step; {} where the program ended too early."""
        a, b = self.at[self.first], self.at[self.last]
        if a is None or b is None:
            return {}
        steps, wall = self.last - self.first, b["time"] - a["time"]
        used = {host: (b["cpu_us"][host] - a["cpu_us"][host]) * 1e-6 for host in self.hosts}
        others = (b["machine_us"] - a["machine_us"]) * 1e-6 - sum(used.values())
        return {
            "cpu_s": {host: used[host] / steps for host in self.hosts},
            "main_thread_s": {host: (b["main_us"][host] - a["main_us"][host]) * 1e-6 / steps for host in self.hosts},
            "bytes": {f"{host} -> {to}": (count - a["sent"][host].get(to, 0)) / steps
                      for host in self.hosts for to, count in b["sent"][host].items()},
            # Of all cores; the kernel's own work for the bed's links is among it.
            "others_share": others / (wall * os.cpu_count()),
        }


def machine_busy_us(limits):
    """CPU time that all of the machine has used. /proc/stat looks once a tick who runs: it counts too much of a host that is
    cut off now and then, always at the same place between two ticks."""
    exact = limits.machine_used_us()
    if exact is not None:
        return exact
    user, nice, system, _idle, _wait, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    return (user + nice + system + irq + softirq) * 10_000
