"""Making, entering and removing a test bed.

Everything made is written down before it exists, in /run/motley-testbed/BED/state.json, so that `down` finds it whatever
ended `up`. Nothing else is ever removed. A host is a network namespace `motley-BED-HOST`, a UTS namespace held by a file
beside the state, and a cgroup. Each pair of hosts has a veth pair of its own, named in either namespace after the host at the
other end; a host has one address, on all its interfaces, and a route to each other host over the link to it.
"""

import contextlib
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from . import cgroups, kernel
from .config import BedConfig, Host, place
from .errors import Failed, Wrong

STATES = Path("/run/motley-testbed")
BURST = "20kb"  # a larger one lets a whole activation pass unthrottled
QUEUE = "4mb"  # never the cause of a loss: a socket keeps far less in it
# Packets of the network stack no larger than the burst, which tbf would cut up again, at a cost.
PACKET = "16000"
PROGRAM = Path(__file__).resolve().parents[3] / "scripts" / "testbed"


def namespace(bed, host):
    return f"{cgroups.PREFIX}{bed}-{host}"


def uts_file(bed, host):
    return STATES / bed / f"{host}.uts"


class State:
    """state.json of one bed."""

    def __init__(self, name, values):
        self.name, self.values = name, values

    @property
    def folder(self):
        return STATES / self.name

    @classmethod
    def claim(cls, config, placement):
        """A new one. Throws Wrong where a bed of this name is up or was left behind."""
        STATES.mkdir(parents=True, exist_ok=True)
        try:
            (STATES / config.name).mkdir()
        except FileExistsError:
            raise Wrong(f"bed {config.name}: is up, or was left behind by an `up` that was ended; "
                        f"scripts/testbed down {config.name} removes it") from None
        state = cls(config.name, {
            "hosts": [{"name": host.name, "speed": host.speed, "zone": host.zone, "address": host.address,
                       "cores": list(placement[host.name])} for host in config.hosts],
            "mbit": [[a, b, rate] for (a, b), rate in config.mbit.items()],
            "period_us": config.period_us, "ready": False, "made": []})
        state.write()
        return state

    @classmethod
    def read(cls, name):
        try:
            return cls(name, json.loads((STATES / name / "state.json").read_text()))
        except (FileNotFoundError, NotADirectoryError):
            if (STATES / name).is_dir():  # ended between making the folder and the file: nothing was made
                return cls(name, {"hosts": [], "mbit": [], "period_us": 0, "ready": False, "made": []})
            raise Wrong(f"bed {name}: is not up; found {', '.join(beds()) or 'none'}") from None

    def write(self):
        file = self.folder / "state.json"
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(self.values))
        fresh.rename(file)

    def note(self, kind, what):
        """Before `what` is made."""
        self.values["made"].append([kind, str(what)])
        self.write()

    def config(self):
        hosts = tuple(Host(h["name"], h["speed"], h["address"], h["zone"], tuple(h["cores"])) for h in self.values["hosts"])
        return BedConfig(self.name, hosts, {(a, b): rate for a, b, rate in self.values["mbit"]},
                         self.values["period_us"])


def beds():
    return sorted(entry.name for entry in STATES.iterdir() if entry.is_dir()) if STATES.is_dir() else []


def only(name=None):
    """`name`, or that of the only bed. Throws Wrong."""
    found = beds()
    if name is None:
        if len(found) != 1:
            raise Wrong(f"which bed? found {', '.join(found) if found else 'none that is up'}"
                        + ("; name one with --bed" if found else "; scripts/testbed up CONFIG makes one"))
        name = found[0]
    return name


def find(name=None):
    return State.read(only(name))


def ready(state):
    if not state.values["ready"]:
        raise Wrong(f"bed {state.name}: is not complete; scripts/testbed down {state.name} removes it")
    return state


@contextlib.contextmanager
def lock():
    """One bed is made or removed at a time; the next waits."""
    STATES.mkdir(parents=True, exist_ok=True)
    with open(STATES / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def ignore_endings():
    """From here on it is too late to be interrupted."""
    for one in ENDINGS:
        signal.signal(one, signal.SIG_IGN)


def up(config, first=False, then=lambda state: None):
    """Makes the bed; with `first` its hosts go before all else that runs on the machine. Calls `then(state)`. When anything
    of this fails or is interrupted, what was made is removed. Throws Wrong, Lacking, Failed."""
    limits = kernel.require()
    placement = place(config.hosts, kernel.usable_cores())
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
    try:
        state = State.claim(config, placement)
    except BaseException:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        raise
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        with lock():
            make(state, config, limits, placement)
            if first:
                limits.prefer(config.name)
        then(state)
        ignore_endings()
    except BaseException:
        ignore_endings()
        with lock():
            down(state)
        raise


def make(state, config, limits, placement):
    names = [host.name for host in config.hosts]
    taken = {line.split()[0] for line in kernel.call("ip", "netns", "list").splitlines() if line.strip()}
    for name in names:
        if namespace(config.name, name) in taken:
            raise Wrong(f"network namespace {namespace(config.name, name)} is there already and not of a test bed's "
                        "making: remove or rename it")
    for folder in limits.plan(config.name, names):
        if folder.exists():
            raise Wrong(f"cgroup {folder} is there already and not of a test bed's making: remove or rename it")
    for folder in limits.plan(config.name, names):
        state.note("cgroup", folder)
        folder.mkdir()
    if (control := limits.to_switch_on()) is not None:
        state.note("subtree_control", control)
    limits.prepare(config.name)
    for host in config.hosts:
        own_core = len(placement[host.name]) == 1 and host.speed > 1 - 1e-9
        limits.limit(config.name, host.name, None if own_core else host.speed, config.period_us)
        space, uts = namespace(config.name, host.name), uts_file(config.name, host.name)
        state.note("netns", space)
        kernel.call("ip", "netns", "add", space)
        state.note("uts", uts)
        uts.touch()
        kernel.call("unshare", f"--uts={uts}", "sh", "-c", "echo \"$0\" > /proc/sys/kernel/hostname", host.name)
        kernel.call_in(space, "ip", "link", "set", "lo", "up")
    if len(config.hosts) == 1:
        kernel.call_in(namespace(config.name, names[0]), "ip", "address", "add", config.hosts[0].address, "dev", "lo")
    for i, a in enumerate(config.hosts):
        for b in config.hosts[i + 1:]:
            kernel.call_in(namespace(config.name, a.name), "ip", "link", "add", "name", b.name, "type", "veth", "peer", "name",
                           a.name, "netns", namespace(config.name, b.name))
            for near, far in ((a, b), (b, a)):
                connect(config, near, far)
    (state.folder / "hostfile").write_text("".join(f"{host.address} slots=1\n" for host in config.hosts))
    state.values["version"] = limits.describe()
    state.values["join"] = {name: [str(file) for file in limits.join(config.name, name)] for name in names}
    state.values["ready"] = True
    state.write()


def connect(config, near, far):
    space = namespace(config.name, near.name)
    kernel.call_in(space, "ip", "address", "add", near.address, "peer", far.address, "dev", far.name)
    kernel.call_in(space, "ip", "link", "set", "dev", far.name, "gso_max_size", PACKET, "up")
    rate = config.mbit[near.name, far.name]
    if rate > 0:
        kernel.call_in(space, "tc", "qdisc", "add", "dev", far.name, "root", "tbf", "rate", f"{round(rate * 1e6)}bit",
                    "burst", BURST, "limit", QUEUE)


def processes(folder):
    try:
        return [int(line) for line in (folder / "cgroup.procs").read_text().split()]
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV):
            return []
        raise


def end_processes(folders, patience_s=2.0):
    """Ends all that runs in `folders`: asked first, then killed."""
    asked, start = set(), time.monotonic()
    while running := {pid for folder in folders for pid in processes(folder)} - {os.getpid()}:
        late = time.monotonic() - start
        if late > patience_s + 10:
            raise Failed(f"processes {sorted(running)} do not end")
        for pid in running:
            if late > patience_s or pid not in asked:
                asked.add(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if late > patience_s else signal.SIGTERM)
        time.sleep(0.02)


def down(state):
    """Removes what `up` made, the last first; what is gone already does not matter. Throws Failed at what stays."""
    stays = []
    made = state.values["made"]
    try:
        end_processes([Path(what) for kind, what in made if kind == "cgroup"])
    except Failed as error:
        stays.append(str(error))
    for kind, what in reversed(made):
        try:
            remove(kind, what)
        except (OSError, Failed) as error:
            stays.append(str(error))
    if stays:
        raise Failed(f"bed {state.name}: not all of it could be removed: {'; '.join(stays)}")
    for file in state.folder.iterdir():
        file.unlink()
    state.folder.rmdir()


def remove(kind, what):
    if kind == "netns":
        if Path("/run/netns", what).exists():
            kernel.call("ip", "netns", "del", what)
    elif kind == "uts":
        if is_mounted(what):
            kernel.call("umount", what)
        Path(what).unlink(missing_ok=True)
    elif kind == "cgroup":
        with contextlib.suppress(FileNotFoundError):
            Path(what).rmdir()
    elif kind == "subtree_control":
        with contextlib.suppress(OSError):  # somebody else uses it by now
            Path(what).write_text("-cpu")


def is_mounted(file):
    return any(str(folder) == file for folder, _, _ in cgroups.mounts())


def environment(state, host):
    """What a program in `host` finds beside its own environment: a plain mpirun there spans the bed."""
    config = state.config()
    return {
        "TESTBED": state.name,
        "TESTBED_HOST": host.name,
        "TESTBED_ADDRESS": host.address,
        "OMPI_MCA_orte_default_hostfile": str(state.folder / "hostfile"),
        "OMPI_MCA_plm_rsh_agent": f"{sys.executable} {PROGRAM} agent {state.name}",
        "OMPI_MCA_plm_rsh_no_tree_spawn": "1",
        "OMPI_MCA_hwloc_base_binding_policy": "none",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "OMPI_MCA_btl": "tcp,self",
        # All interfaces carry the same address; one is enough to be reached at.
        "OMPI_MCA_btl_tcp_links": "1",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    } | ({"GLOO_SOCKET_IFNAME": next(h.name for h in config.hosts if h.name != host.name)} if len(config.hosts) > 1 else {})


def enter(state, host, command):
    """Becomes `command` on `host`. Does not return."""
    cores = host.cores
    for file in state.values["join"][host.name]:
        Path(file).write_text(str(os.getpid()))
    os.sched_setaffinity(0, cores)
    os.environ.update(environment(state, host))
    space, uts = namespace(state.name, host.name), uts_file(state.name, host.name)
    os.execvp("nsenter", ["nsenter", f"--net=/run/netns/{space}", f"--uts={uts}", "--", *command])


def start(state, host, command, **options):
    """A child on `host`, as subprocess.Popen."""
    return subprocess.Popen([sys.executable, str(PROGRAM), "--bed", state.name, "exec", host.name, "--", *command], **options)
