#!/usr/bin/env python3
"""Configurations of test beds, where their hosts are placed, and the files that limit them: needs no root."""

import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench" / "cluster"))

from testbed import kernel  # noqa: E402
from testbed.cgroups import Version1, Version2, find_cgroups, quota_of  # noqa: E402
from testbed.config import Host, parse_config, place, read_config  # noqa: E402
from testbed.errors import Lacking, Wrong  # noqa: E402

TWO = 'name = "two"\nmbit = 100\nhosts = [{name = "a", speed = 1.0}, {name = "b", speed = 0.5}]\n'


class Config(unittest.TestCase):

    def test_the_configurations_in_the_tree_are_those_of_their_names(self):
        beds = {file.stem: read_config(file) for file in (ROOT / "configs" / "testbeds").glob("*.toml")}
        self.assertEqual(set(beds), {"equal3", "mixed4", "mixed4-slow-link", "pair", "zones8"})
        self.assertEqual([host.speed for host in beds["equal3"].hosts], [0.6] * 3)
        for name in ("mixed4", "mixed4-slow-link"):
            self.assertEqual([host.speed for host in beds[name].hosts], [1.0, 0.4, 0.2, 0.2])
        self.assertEqual(set(beds["mixed4"].mbit.values()), {200.0})
        slow = {pair for pair, rate in beds["mixed4-slow-link"].mbit.items() if rate == 40}
        self.assertEqual(slow, {("fast", "middle"), ("middle", "fast")})
        zones = beds["zones8"]
        self.assertEqual(len(zones.hosts), 8)
        for (a, b), rate in zones.mbit.items():
            self.assertEqual(rate, 200 if zones.host(a).zone == zones.host(b).zone else 40)
        self.assertEqual([bed.name for bed in beds.values()], list(beds))

    def test_every_ordered_pair_has_a_rate_and_later_links_overrule_earlier_ones(self):
        config = parse_config(TWO + '[[links]]\nbetween = ["a", "b"]\nmbit = 7\n[[links]]\nfrom = "b"\nto = "a"\nmbit = 9\n', "x")
        self.assertEqual(config.mbit, {("a", "b"): 7, ("b", "a"): 9})

    def test_hosts_have_addresses_of_their_own(self):
        config = parse_config('name = "many"\n[[hosts]]\nname = "h"\ncount = 64\nspeed = 0.1\n', "x")
        self.assertEqual(len({host.address for host in config.hosts}), 64)
        self.assertEqual(config.hosts[63].name, "h63")

    def test_each_mistake_gives_one_line_that_names_field_found_and_expected(self):
        cases = [
            ("name = ", r"^x: not valid TOML: "),
            ('hosts = [{name = "a", speed = 1}]', r"^x: name is missing, expected a string$"),
            ('name = "Two"\nhosts = []', r'^x: name: found \'Two\', expected small letters'),
            ('name = "two"\nhosts = []', r"^x: hosts: found 0, expected 1 to 64$"),
            ('name = "two"\nhosts = 3', r"^x: hosts: found 3, expected a list$"),
            ('name = "two"\nhosts = [3]', r"^x: hosts\[0\]: found 3, expected a table$"),
            ('name = "two"\nhosts = [{name = "a"}]', r"^x: hosts\[0\].speed is missing, expected a number$"),
            ('name = "two"\nhosts = [{name = "a", speed = "fast"}]', r"^x: hosts\[0\].speed: found 'fast', expected a number$"),
            ('name = "two"\nhosts = [{name = "a", speed = true}]', r"^x: hosts\[0\].speed: found True, expected a number$"),
            ('name = "two"\nhosts = [{name = "a", speed = 1.5}]', r"^x: hosts\[0\].speed: found 1.5, expected 0.01 to 1$"),
            ('name = "two"\nhosts = [{name = "a", speed = nan}]', r"^x: hosts\[0\].speed: found nan, expected 0.01 to 1$"),
            ('name = "two"\nhosts = [{name = "a", speed = 1, core = 1}]', r"^x: unknown key hosts\[0\].core, expected one of cores, count"),
            ('name = "two"\nhosts = [{name = "a", speed = 1, cores = ["x"]}]', r"^x: hosts\[0\].cores: found \['x'\], expected numbers of cores$"),
            ('name = "two"\nhosts = [{name = "a", speed = 1}, {name = "a", speed = 1}]', r'^x: hosts\[1\].name: found "a" again'),
            ('name = "two"\nhosts = [{name = "a", speed = 1, zone = "a"}]', r'^x: hosts: "a" is a host and a zone'),
            (TWO + "speed = 1", r"^x: unknown key speed, expected one of hosts, links, mbit, name, period_ms$"),
            (TWO + "period_ms = 0.5", r"^x: period_ms: found 0.5, expected 1 to 1000$"),
            (TWO + '[[links]]\nfrom = "a"\nto = "b"', r"^x: links\[0\].mbit is missing"),
            (TWO + '[[links]]\nfrom = "a"\nto = "c"\nmbit = 1', r'^x: links\[0\].to: found "c", expected a host or a zone: a, b$'),
            (TWO + '[[links]]\nbetween = ["a"]\nmbit = 1', r"^x: links\[0\].between: found \['a'\], expected two hosts or zones$"),
            (TWO + '[[links]]\nbetween = ["a", "b"]\nfrom = "a"\nmbit = 1', r"^x: unknown key links\[0\].from"),
            (TWO + '[[links]]\nbetween = ["a", "b"]\nmbit = -1', r"^x: links\[0\].mbit: found -1, expected 0 to 100000$"),
        ]
        for text, expected in cases:
            with self.subTest(text), self.assertRaisesRegex(Wrong, expected) as caught:
                parse_config(text, "x")
            self.assertNotIn("\n", str(caught.exception))

    def test_a_file_that_is_not_there_is_named(self):
        with self.assertRaisesRegex(Wrong, "^/nowhere.toml: cannot be read: No such file"):
            read_config(Path("/nowhere.toml"))


def hosts(*speeds, cores=None):
    return [Host(f"h{i}", speed, "", cores=cores) for i, speed in enumerate(speeds)]


class Placement(unittest.TestCase):

    def test_the_fast_host_has_a_core_of_its_own(self):
        self.assertEqual(place(hosts(0.2, 1.0, 0.4, 0.2), [4, 5]), {"h1": (4,), "h2": (5,), "h0": (5,), "h3": (5,)})

    def test_hosts_spread_where_there_are_cores_enough(self):
        self.assertEqual(len(set(place(hosts(0.6, 0.6, 0.6, 1.0), range(4)).values())), 4)

    def test_hosts_that_do_not_fit_one_core_each_share_what_is_left(self):
        self.assertEqual(set(place(hosts(0.6, 0.6, 0.6), [0, 1]).values()), {(0, 1)})
        placed = place(hosts(1.0, 0.6, 0.6, 0.6), [0, 1, 2])
        self.assertEqual(placed["h0"], (0,))
        self.assertEqual({placed[f"h{i}"] for i in (1, 2, 3)}, {(1, 2)})

    def test_no_core_is_lent_more_than_once_over_where_all_are_pinned(self):
        for speeds in ([0.5] * 4, [0.7, 0.3, 0.6, 0.4], [0.1] * 20):
            room = {0: 0.0, 1: 0.0}
            for name, cores in place(hosts(*speeds), [0, 1]).items():
                self.assertEqual(len(cores), 1)
                room[cores[0]] += speeds[int(name[1:])]
            self.assertTrue(all(load <= 1 + 1e-9 for load in room.values()), room)

    def test_cores_that_were_asked_for_are_given_or_refused(self):
        self.assertEqual(place(hosts(0.5, cores=(1,)), [0, 1]), {"h0": (1,)})
        with self.assertRaisesRegex(Wrong, "host h0: found core 7, expected one of 0, 1"):
            place(hosts(0.5, cores=(7,)), [0, 1])

    def test_too_many_hosts_for_the_machine_are_refused(self):
        with self.assertRaisesRegex(Wrong, "the hosts ask for 2.2 cores, this machine offers 2"):
            place(hosts(1.0, 1.0, 0.2), [0, 1])


class Cgroups(unittest.TestCase):
    """Both versions on folders that look like theirs: what is written where."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)

    def make(self, limits):
        for folder in limits.plan("bed", ["a", "b"]):
            folder.mkdir()

    def test_version_1_with_a_hierarchy_a_controller(self):
        (self.root / "cpu").mkdir()
        (self.root / "cpu" / "cpu.cfs_quota_us").write_text("-1")
        (self.root / "cpuacct").mkdir()
        limits = find_cgroups([(self.root / "cpu", "cgroup", {"rw", "cpu"}),
                               (self.root / "cpuacct", "cgroup", {"rw", "cpuacct"}),
                               (self.root / "unified", "cgroup2", {"rw"})])
        self.assertIsInstance(limits, Version1)
        self.make(limits)
        limits.limit("bed", "a", 0.25, 10000)
        limits.limit("bed", "b", None, 10000)
        group = self.root / "cpu" / "motley-bed"
        self.assertEqual((group / "a" / "cpu.cfs_quota_us").read_text(), "2500")
        self.assertEqual((group / "a" / "cpu.cfs_period_us").read_text(), "10000")
        self.assertEqual((group / "b" / "cpu.cfs_quota_us").read_text(), "-1")
        self.assertEqual(limits.join("bed", "a"), [group / "a" / "cgroup.procs",
                                                   self.root / "cpuacct" / "motley-bed" / "a" / "cgroup.procs"])
        (self.root / "cpuacct" / "motley-bed" / "a" / "cpuacct.usage").write_text("5000000\n")
        self.assertEqual(limits.used_us("bed", "a"), 5000)
        (self.root / "cpuacct" / "cpuacct.usage").write_text("7000000\n")
        self.assertEqual(limits.machine_used_us(), 7000)

    def test_version_1_with_both_controllers_in_one_hierarchy(self):
        (self.root / "cpu.cfs_quota_us").write_text("-1")
        limits = find_cgroups([(self.root, "cgroup", {"rw", "cpu", "cpuacct"})])
        self.assertEqual(len(limits.plan("bed", ["a"])), 2)
        self.assertEqual(len(limits.join("bed", "a")), 1)

    def test_a_small_share_gets_a_longer_period_since_quotas_have_a_least_size(self):
        for share in (0.01, 0.05, 0.0999, 0.1, 0.37, 1.0):
            quota, period = quota_of(share, 10000)
            self.assertGreaterEqual(quota, 1000)
            self.assertGreaterEqual(period, 10000)
            self.assertAlmostEqual(quota / period, share, delta=1e-4)

    def test_version_2_switches_the_controller_on_and_says_where(self):
        (self.root / "cgroup.controllers").write_text("cpuset cpu memory\n")
        (self.root / "cgroup.subtree_control").write_text("memory\n")
        limits = find_cgroups([(self.root, "cgroup2", {"rw"})])
        self.assertIsInstance(limits, Version2)
        self.make(limits)
        self.assertEqual(limits.to_switch_on(), self.root / "cgroup.subtree_control")
        limits.prepare("bed")
        self.assertEqual((self.root / "cgroup.subtree_control").read_text(), "+cpu")
        self.assertEqual((self.root / "motley-bed" / "cgroup.subtree_control").read_text(), "+cpu")
        limits.limit("bed", "a", 0.25, 10000)
        limits.limit("bed", "b", None, 10000)
        self.assertEqual((self.root / "motley-bed" / "a" / "cpu.max").read_text(), "2500 10000")
        self.assertEqual((self.root / "motley-bed" / "b" / "cpu.max").read_text(), "max 10000")
        (self.root / "motley-bed" / "a" / "cpu.stat").write_text("usage_usec 12\nthrottled_usec 3\n")
        self.assertEqual((limits.used_us("bed", "a"), limits.throttled_us("bed", "a")), (12, 3))

    def test_version_2_leaves_a_controller_alone_that_is_on_already(self):
        (self.root / "cgroup.controllers").write_text("cpu\n")
        (self.root / "cgroup.subtree_control").write_text("cpu\n")
        limits = find_cgroups([(self.root, "cgroup2", {"rw"})])
        self.make(limits)
        self.assertIsNone(limits.to_switch_on())
        limits.prepare("bed")
        self.assertEqual((self.root / "cgroup.subtree_control").read_text(), "cpu\n")

    def test_what_is_missing_is_said_with_what_to_do(self):
        with self.assertRaisesRegex(Lacking, "no cgroups: mount them"):
            find_cgroups([])
        (self.root / "cgroup.controllers").write_text("memory\n")
        with self.assertRaisesRegex(Lacking, "has no cpu controller: the kernel needs CONFIG_CFS_BANDWIDTH"):
            find_cgroups([(self.root, "cgroup2", {"rw"})])


class Kernel(unittest.TestCase):

    def test_the_first_trial_that_fails_is_told_with_its_words_and_what_to_do(self):
        trials = [(["true"], "a", "b"), (["sh", "-c", "echo no such thing >&2; exit 2"], "links are missing", "load them"),
                  (["false"], "c", "d")]
        (line,) = kernel.try_namespaces(trials)
        self.assertRegex(line, r"^links are missing \(.*: no such thing\): load them$")
        self.assertEqual(kernel.try_namespaces(trials[:1]), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
