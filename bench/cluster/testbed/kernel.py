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


def try_namespaces():
    """Makes and removes two namespaces, a link between them and a rate on it. Returns what does not work."""
    one, other = (f"motley-probe-{os.getpid()}-{end}" for end in "ab")
    made = []
    try:
        for name in (one, other):
            try:
                call("ip", "netns", "add", name)
            except Failed as error:
                return [f"network namespaces cannot be made ({error}): be root, in a container with --privileged; the "
                        "kernel needs CONFIG_NET_NS"]
            made.append(name)
        try:
            call("ip", "-n", one, "link", "add", "name", "b", "type", "veth", "peer", "name", "a", "netns", other)
        except Failed as error:
            return [f"links between namespaces cannot be made ({error}): modprobe veth, or a kernel with CONFIG_VETH"]
        try:
            call("tc", "-n", one, "qdisc", "add", "dev", "b", "root", "tbf", "rate", "10mbit", "burst", "20kb", "limit",
                 "1mb")
        except Failed as error:
            return [f"links cannot be given a rate ({error}): modprobe sch_tbf, or a kernel with CONFIG_NET_SCH_TBF"]
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
    try:
        call("unshare", "--uts", "true")
    except Failed as error:
        return [f"hosts cannot have names of their own ({error}): the kernel needs CONFIG_UTS_NS"]
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
