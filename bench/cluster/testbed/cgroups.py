"""CPU shares by cgroup quota, in version 1 and version 2 hierarchies.

A bed gets a group, each host a group in it: `motley-BED/HOST`. Time is counted in microseconds.
"""

from pathlib import Path

from .errors import Lacking

PREFIX = "motley-"
LEAST_QUOTA_US = 1000


def mounts(file="/proc/self/mounts"):
    """(folder, kind, options) of every mount."""
    for line in Path(file).read_text().splitlines():
        _, folder, kind, options, *_ = line.split()
        yield Path(folder.replace("\\040", " ")), kind, set(options.split(","))


class Version1:
    """The controllers cpu (quotas) and cpuacct (what was used), which may have a hierarchy each."""

    def __init__(self, cpu, account):
        self.cpu, self.account = cpu, account

    def describe(self):
        return f"cgroup v1, {self.cpu}"

    def roots(self):
        return [self.cpu] if self.account in (None, self.cpu) else [self.cpu, self.account]

    def plan(self, bed, hosts):
        """Folders to make, in order."""
        groups = [root / (PREFIX + bed) for root in self.roots()]
        return groups + [group / host for group in groups for host in hosts]

    def to_switch_on(self):
        return None

    def prepare(self, bed):
        pass

    def prefer(self, bed):
        """The bed's processes run before all others of the machine that are no kernel threads."""
        (self.cpu / (PREFIX + bed) / "cpu.shares").write_text("262144")

    def limit(self, bed, host, share, period_us):
        folder = self.cpu / (PREFIX + bed) / host
        quota, period = quota_of(share, period_us) if share else (-1, period_us)
        (folder / "cpu.cfs_period_us").write_text(str(period))
        (folder / "cpu.cfs_quota_us").write_text(str(quota))

    def join(self, bed, host):
        """Files that a process writes its id to."""
        return [root / (PREFIX + bed) / host / "cgroup.procs" for root in self.roots()]

    def used_us(self, bed, host):
        if self.account is None:
            return None
        return int((self.account / (PREFIX + bed) / host / "cpuacct.usage").read_text()) // 1000

    def machine_used_us(self):
        """Of all groups together, counted as exactly; None where it is not known."""
        return None if self.account is None else int((self.account / "cpuacct.usage").read_text()) // 1000

    def throttled_us(self, bed, host):
        return read_stat(self.cpu / (PREFIX + bed) / host / "cpu.stat").get("throttled_time", 0) // 1000


class Version2:
    def __init__(self, root):
        self.root = root

    def describe(self):
        return f"cgroup v2, {self.root}"

    def plan(self, bed, hosts):
        group = self.root / (PREFIX + bed)
        return [group, *(group / host for host in hosts)]

    def to_switch_on(self):
        """The file in which prepare() lets all groups of the tree have quotas; None where they may already."""
        control = self.root / "cgroup.subtree_control"
        return None if "cpu" in control.read_text().split() else control

    def prepare(self, bed):
        """Lets the groups have quotas."""
        if (control := self.to_switch_on()) is not None:
            try:
                control.write_text("+cpu")
            except OSError as error:
                raise Lacking(f"cgroup v2: {control} does not take +cpu ({error.strerror}): start in a cgroup that is "
                              "delegated and holds no process itself, e.g. systemd-run --scope -p Delegate=yes") from None
        (self.root / (PREFIX + bed) / "cgroup.subtree_control").write_text("+cpu")

    def prefer(self, bed):
        (self.root / (PREFIX + bed) / "cpu.weight").write_text("10000")

    def limit(self, bed, host, share, period_us):
        quota, period = quota_of(share, period_us) if share else ("max", period_us)
        (self.root / (PREFIX + bed) / host / "cpu.max").write_text(f"{quota} {period}")

    def join(self, bed, host):
        return [self.root / (PREFIX + bed) / host / "cgroup.procs"]

    def used_us(self, bed, host):
        return read_stat(self.root / (PREFIX + bed) / host / "cpu.stat")["usage_usec"]

    def machine_used_us(self):
        return None  # the root group repeats /proc/stat

    def throttled_us(self, bed, host):
        return read_stat(self.root / (PREFIX + bed) / host / "cpu.stat").get("throttled_usec", 0)


def quota_of(share, period_us):
    """(quota, period): the kernel takes no quota below a millisecond, so a small share gets a longer period."""
    period = max(period_us, round(LEAST_QUOTA_US / share))
    return round(share * period), period


def read_stat(file):
    return {key: int(value) for key, value in (line.split() for line in file.read_text().splitlines())}


def find_cgroups(mounted=None):
    """The hierarchy that has CPU quotas here. Throws Lacking."""
    mounted = list(mounts()) if mounted is None else mounted
    cpu = account = unified = None
    for folder, kind, options in mounted:
        if kind == "cgroup":
            cpu = folder if "cpu" in options else cpu
            account = folder if "cpuacct" in options else account
        elif kind == "cgroup2" and unified is None:
            unified = folder
    if cpu is not None:
        if not (cpu / "cpu.cfs_quota_us").exists() and not list(cpu.glob("*/cpu.cfs_quota_us")):
            # The root group of a whole machine has no quota file: ask a group of our own.
            probe = cpu / (PREFIX + "probe")
            try:
                probe.mkdir(exist_ok=True)
                quotas = (probe / "cpu.cfs_quota_us").exists()
                probe.rmdir()
            except OSError as error:
                raise Lacking(f"cgroup v1: {cpu} cannot be written ({error.strerror}): be root, in a container with "
                              "--privileged") from None
            if not quotas:
                raise Lacking(f"cgroup v1: {cpu} has no quotas: the kernel needs CONFIG_CFS_BANDWIDTH")
        return Version1(cpu, account)
    if unified is None:
        raise Lacking("no cgroups: mount them with mount -t cgroup2 none /sys/fs/cgroup, in a container with --privileged")
    if "cpu" not in (unified / "cgroup.controllers").read_text().split():
        raise Lacking(f"cgroup v2: {unified} has no cpu controller: the kernel needs CONFIG_CFS_BANDWIDTH and the parent "
                      "group +cpu in its cgroup.subtree_control")
    return Version2(unified)
