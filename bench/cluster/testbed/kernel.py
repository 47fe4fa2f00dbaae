"""What this machine must offer for a test bed, each lack in one line with what to do about it."""

import os
import shutil
import subprocess
import sys

from .cgroups import find_cgroups
from .errors import Failed, Lacking

PROGRAMS = {"ip": "iproute2", "tc": "iproute2", "nsenter": "util-linux", "unshare": "util-linux", "umount": "util-linux"}


def call(*command):
    """stdout. Throws Failed with the command's own words."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Failed(f"{' '.join(command)}: {said[0] if said else f'exit code {done.returncode}'}")
    return done.stdout


def call_in(space, *command):
    """The same in the network namespace `space`. `ip -n` remounts /, which fails in a chroot."""
    return call("nsenter", f"--net=/run/netns/{space}", "--", *command)


# Each in a namespace that ends with the command, so that nothing is left whatever ends it.
TRIALS = [
    (["unshare", "--net", "true"],
     "network namespaces cannot be made", "be root, in a container with --privileged; the kernel needs CONFIG_NET_NS"),
    (["unshare", "--net", "ip", "link", "add", "name", "a", "type", "veth", "peer", "name", "b"],
     "links between namespaces cannot be made", "modprobe veth, or a kernel with CONFIG_VETH"),
    (["unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", "10mbit", "burst", "20kb", "limit", "1mb"],
     "links cannot be given a rate", "modprobe sch_tbf, or a kernel with CONFIG_NET_SCH_TBF"),
    (["unshare", "--uts", "true"],
     "hosts cannot have names of their own", "the kernel needs CONFIG_UTS_NS"),
]


def try_namespaces(trials=TRIALS):
    """What does not work: the first lack, as lines."""
    for command, lack, advice in trials:
        try:
            call(*command)
        except Failed as error:
            return [f"{lack} ({error}): {advice}"]
    return []


def findings():
    """(CPU limits or None, what is missing: lines)."""
    if not sys.platform.startswith("linux"):
        return None, [f"this is {sys.platform}: a test bed needs Linux"]
    missing = [f"{program} is not on PATH: apt-get install {package}" for program, package in PROGRAMS.items()
               if shutil.which(program) is None]
    if os.geteuid() != 0:
        missing.append("not root: namespaces, links and CPU quotas need it; call this with sudo")
    if missing:
        return None, missing
    limits = None
    try:
        limits = find_cgroups()
    except Lacking as lack:
        missing.append(str(lack))
    return limits, missing + try_namespaces()


def require():
    """The CPU limits of this machine. Throws Lacking with all that is missing, a line each."""
    limits, missing = findings()
    if missing:
        raise Lacking("; ".join(missing))
    return limits


def usable_cores():
    return tuple(sorted(os.sched_getaffinity(0)))
