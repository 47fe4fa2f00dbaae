"""What a bed reaches of what it was asked for: speeds and rates, each alone and with all of them busy."""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from .bed import start
from .errors import Failed

PROBE = [sys.executable, "-I", str(Path(__file__).with_name("probe.py"))]
WORK_S, STREAM_S = 1.0, 0.6
BURST_S, PAUSE_S, BURSTS = 0.02, 0.05, 11  # of a core's time; as a rank computes between two messages
LEAD_S = 0.1  # from an order to its start, for the slowest host to read it


class Probes:
    """A probe on every host of the bed, and one on no host, which nothing limits."""

    def __init__(self, state):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.hosts = state.config().hosts
        self.running = {host.name: start(state, host, PROBE, **pipes) for host in self.hosts}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for probe in self.running.values():
            probe.stdin.close()
        for probe in self.running.values():
            probe.wait()
            probe.stdout.close()

    def order(self, orders):
        """{host: order} to all at once; {host: answer}."""
        for name, order in orders.items():
            self.running[name].stdin.write(json.dumps(order) + "\n")
            self.running[name].stdin.flush()
        answers = {}
        for name in orders:
            line = self.running[name].stdout.readline()
            if not line:
                raise Failed(f"the probe on host {name} ended")
            answers[name] = json.loads(line)
        return answers

    def listen(self):
        self.ports = {name: answer["port"] for name, answer in
                      self.order({host.name: {"listen": True} for host in self.hosts}).items()}

    def work(self, names, seconds=WORK_S):
        at = time.monotonic() + LEAD_S
        return self.order({name: {"work": seconds, "at": at} for name in names})

    def bursts(self, name, unit):
        """Speed of a host that rests before each piece of work: a quota that was not used up lets it begin unlimited."""
        units = max(1, round(BURST_S * unit))
        walls = self.order({name: {"bursts": BURSTS, "units": units, "pause": PAUSE_S}})[name]["wall_s"]
        return units / statistics.median(walls) / unit

    def stream(self, links, seconds=STREAM_S):
        """{(from, to): Mbit/s of payload} of links that are used at once."""
        at = time.monotonic() + LEAD_S * (1 + len(links) / 10)
        index = {host.name: i for i, host in enumerate(self.hosts)}
        address = {host.name: host.address for host in self.hosts}
        orders = {}
        for name in {end for link in links for end in link}:
            orders[name] = {"at": at, "seconds": seconds, "stream": {
                "to": [[address[b], self.ports[b]] for a, b in links if a == name],
                "from": sum(b == name for _, b in links), "me": index[name]}}
        answers = self.order(orders)
        return {(a, b): answers[b]["bytes"][str(index[a])] * 8e-6 / answers[b]["seconds"] for a, b in links}


def reference(cores, repeats=3):
    """Units per second of a core's time, by a probe that nothing limits."""
    found = []
    for core in cores:
        order = json.dumps({"work": 0.3, "at": 0})
        done = subprocess.run(PROBE, input="\n".join([order] * repeats) + "\n", capture_output=True, text=True, check=True,
                              preexec_fn=lambda: os.sched_setaffinity(0, [core]))
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        found += [answer["units"] / answer["cpu_s"] for answer in answers]
    return statistics.median(found)


def measure(state, repeats=3, tell=lambda text: None):
    """The measurement as a value for JSON. Speeds are shares of what a core does for a process that nothing limits, per
    second of its time; a host's share of a core's time stands beside it. Rates are of payload."""
    config = state.config()
    names = [host.name for host in config.hosts]
    tell("speed of an unlimited core")
    unit = reference(sorted({core for host in config.hosts for core in host.cores}))
    result = {"bed": config.name, "units_per_s": unit, "load_before": os.getloadavg()[0], "hosts": [], "links": []}

    def shares(answers):
        return {name: (a["units"] / a["wall_s"] / unit, a["cpu_s"] / a["wall_s"]) for name, a in answers.items()}

    with Probes(state) as probes:
        probes.listen()
        probes.work(names, 0.1)
        tell("hosts, one by one")
        alone = {name: [shares(probes.work([name], WORK_S / 2))[name] for _ in range(repeats)] for name in names}
        burst = {name: probes.bursts(name, unit) for name in names}
        tell("hosts, all busy")
        busy = [shares(probes.work(names)) for _ in range(repeats)]
        links = [(a, b) for a in names for b in names if a != b]
        tell("links, one by one")
        rate_alone = {link: probes.stream([link])[link] for link in links}
        tell("links, all busy")
        rate_busy = [probes.stream(links, 2 * STREAM_S) for _ in range(repeats)] if links else []
    for host in config.hosts:
        of_all = [each[host.name] for each in busy]
        result["hosts"].append({
            "host": host.name, "asked": host.speed, "cores": list(host.cores),
            "alone": statistics.median(speed for speed, _ in alone[host.name]),
            "bursts": burst[host.name], "busy": statistics.median(speed for speed, _ in of_all),
            "busy_least": min(speed for speed, _ in of_all), "busy_most": max(speed for speed, _ in of_all),
            "cpu_share_busy": statistics.median(share for _, share in of_all)})
    for link in links:
        of_all = [each[link] for each in rate_busy]
        result["links"].append({"from": link[0], "to": link[1], "asked": config.mbit[link], "alone": rate_alone[link],
                                "busy": statistics.median(of_all), "busy_least": min(of_all), "busy_most": max(of_all)})
    return result


def in_words(result):
    lines = [f"bed {result['bed']}: speeds as shares of an unlimited core, rates in Mbit/s of payload",
             f"  {'host':<16}{'cores':>8}{'asked':>8}{'alone':>8}{'bursts':>8}{'all busy':>10}{'[least, most]':>18}{'CPU share':>11}"]
    for h in result["hosts"]:
        spread = f"[{h['busy_least']:.3f}, {h['busy_most']:.3f}]"
        lines.append(f"  {h['host']:<16}{','.join(map(str, h['cores'])):>8}{h['asked']:>8.2f}{h['alone']:>8.3f}"
                     f"{h['bursts']:>8.3f}{h['busy']:>10.3f}{spread:>18}{h['cpu_share_busy']:>11.3f}")
    if result["links"]:
        lines.append(f"  {'link':<24}{'asked':>8}{'alone':>8}{'all busy':>10}{'[least, most]':>18}")
    for link in result["links"]:
        spread = f"[{link['busy_least']:.1f}, {link['busy_most']:.1f}]"
        asked = f"{link['asked']:.1f}" if link["asked"] else "any"
        name = f"{link['from']} -> {link['to']}"
        lines.append(f"  {name:<24}{asked:>8}{link['alone']:>8.1f}{link['busy']:>10.1f}{spread:>18}")
    return "\n".join(lines + doubts(result)) + "\n"


def doubts(result):
    """Lines about what falls short by so much that figures from this bed would mislead."""
    lines = []
    for h in result["hosts"]:
        if h["cpu_share_busy"] < 0.93 * h["asked"]:
            lines.append(f"  note: {h['host']} got {h['cpu_share_busy']:.2f} of a core where {h['asked']:.2f} was asked: "
                         f"something else uses core {','.join(map(str, h['cores']))} (load {result['load_before']:.1f})")
    for link in result["links"]:
        if link["asked"] and link["alone"] < 0.9 * link["asked"]:
            lines.append(f"  note: {link['from']} -> {link['to']} carried {link['alone']:.1f} Mbit/s where "
                         f"{link['asked']:.1f} was asked")
    return lines
