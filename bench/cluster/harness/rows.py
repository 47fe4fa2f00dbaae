"""The programs that are timed, each as a fresh start on the bed."""

import json
import os
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from testbed import bed

from .watch import Watch

ROOT = Path(__file__).resolve().parents[3]
MOTLEY = ROOT / "build" / "motley"
PEER = ROOT / "bench" / "cluster" / "peer.py"


class RowFailed(Exception):
    pass


@dataclass
class Row:
    """One line of the table. `runs` has an entry a repeat."""

    name: str
    group: str
    kind: str  # "motley" or "peer"
    plan: dict  # Motley's plan.json; a peer's has stages only
    run: str = ""  # of a peer: SCHEDULE:MICRO_BATCHES
    predicted: float | None = None
    bound: float | None = None
    predicted_again: float | None = None  # by the profiles between the repeats too
    bound_again: float | None = None
    runs: list = field(default_factory=list)

    def iteration(self):
        return statistics.median(run["iteration_s"] for run in self.runs)


@dataclass
class Setting:
    """What all rows share."""

    state: object
    model: str  # configuration
    batch: int
    heads: int
    rate: float
    warm_up: int
    steps: int
    folder: Path
    profile: Path
    assignments: list

    def hosts(self):
        return self.state.config().hosts

    def peer_words(self, plan, runs, out):
        layers = ",".join(str(end - first) for first, end in (stage["layers"] for stage in plan["stages"]))
        words = [sys.executable, str(PEER), "--export", str(self.folder / "export"), "--layers", layers, "--heads",
                 str(self.heads), "--rate", repr(self.rate), "--warm-up", str(self.warm_up), "--steps", str(self.steps),
                 "--out", str(out)]
        for run in runs:
            words += ["--run", run]
        return words


def hosts_of(setting, plan):
    """Names of the hosts by stage."""
    names = [host.name for host in setting.hosts()]
    return [names[stage["replicas"][0]["device"]] for stage in plan["stages"]]


def on_bed(setting, hosts, words, log, timeout_s):
    """mpirun of `words` on `hosts`, rank by rank. Raises RowFailed with the end of what it said."""
    state = setting.state
    address = state.config().host(hosts[0]).address
    command = [sys.executable, str(bed.PROGRAM), "--bed", state.name, "mpirun", "--hosts", ",".join(hosts), "--", "-x",
               f"PEER_MASTER={address}", "-x", "OMP_NUM_THREADS=1", *words]
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w") as file:
        child = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=ROOT,
                                 env=dict(os.environ))
        try:
            code = child.wait(timeout_s)
        except BaseException as error:
            child.terminate()
            child.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise RowFailed(f"{words[0]}: not done after {timeout_s:.0f} s, see {log}") from None
    if code != 0:
        tail = " | ".join(log.read_text(errors="replace").strip().splitlines()[-4:])
        raise RowFailed(f"exit code {code}, see {log}: {tail}")


def run_peer(setting, plan, runs, name, timeout_s=1800):
    """{run: entry} of one start."""
    out = setting.folder / "runs" / f"{name}.jsonl"
    watch = Watch(setting.state, out, setting.warm_up - 1, setting.warm_up + setting.steps - 1, runs[-1])
    with watch:
        on_bed(setting, hosts_of(setting, plan), setting.peer_words(plan, runs, out), out.with_suffix(".log"), timeout_s)
    entries = {}
    for line in map(json.loads, out.read_text().splitlines()):
        if line["kind"] == "summary":
            entries[line["run"]] = {
                "iteration_s": statistics.mean(line["iterations_s"]), "steps_s": line["iterations_s"],
                "losses": line["losses"], "ranks": line["ranks"]}
    entries[runs[-1]]["watched"] = watch.result()
    return entries


def run_motley(setting, plan, name, trace=False, timeout_s=1800):
    """One start of `motley train`; with one stage only, one process on the stage's host."""
    folder = setting.folder / "runs" / name
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier bench: its profile would pass for this one's
    folder.mkdir(parents=True)
    hosts = [host.name for host in setting.hosts()]
    types = device_types(setting.hosts())
    if len(plan["stages"]) == 1:
        only = plan["stages"][0]["replicas"][0]["device"]
        hosts, types = [hosts[only]], [types[only]]
        plan = json.loads(json.dumps(plan))
        plan["stages"][0]["replicas"][0]["device"] = 0
        for key in ("prediction", "certificate", "profile_fingerprint"):
            plan.pop(key, None)
    file = folder / "plan.json"
    file.write_text(json.dumps(plan))
    total = setting.warm_up + setting.steps
    words = [str(MOTLEY), "train", setting.model, "--plan", str(file), "--run", str(folder), "--steps", str(total),
             "--no-evaluation", *set_words(setting.assignments + device_assignments(types))]
    if trace and len(hosts) > 1:
        words += ["--trace", "--profile", str(setting.profile)]
    record = folder / "record.jsonl"
    watch = Watch(setting.state, record, setting.warm_up - 1, total - 1)
    with watch:
        on_bed(setting, hosts, words, folder / "log", timeout_s)
    walls, losses, summary = [], [], {}
    for line in map(json.loads, record.read_text().splitlines()):
        if line["kind"] == "step":
            walls.append(line["wall_s"])
            losses.append(line["loss"])
        elif line["kind"] == "summary":
            summary = line
    walls = walls[setting.warm_up:]
    return {"iteration_s": statistics.mean(walls), "steps_s": walls, "losses": losses,
            "ranks": summary.get("ranks", []), "watched": watch.result()}


def device_types(hosts):
    """Hosts of one speed are of one type."""
    return [f"share-{host.speed:g}" for host in hosts]


def device_assignments(types):
    return [f"devices.ranks={len(types)}", f"devices.types={json.dumps(types)}"]


def set_words(assignments):
    return [word for assignment in assignments for word in ("--set", assignment)]
