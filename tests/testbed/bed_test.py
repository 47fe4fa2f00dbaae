#!/usr/bin/env python3
"""Test beds that are really made, used and removed. Exit code 77 (skipped) where there is no root or the kernel lacks something."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench" / "cluster"))

from testbed import bed, cgroups, kernel  # noqa: E402

SKIPPED = 77
MOTLEY = None  # the program, where it can train
PROGRAM = ROOT / "scripts" / "testbed"
BED = f"test{os.getpid()}"
CONFIG = f"""
name = "{BED}"
mbit = 100
period_ms = 20

[[hosts]]
name = "one"
speed = 0.5

[[hosts]]
name = "two"
speed = 0.25

[[links]]
from = "two"
to = "one"
mbit = 40
"""

MODEL = """
workload = "transformer"
[workload_options]
width = 128
heads = 4
blocks = 2
sequence = 128
vocabulary = 64
samples = 64
[train]
global_batch = 16
[devices]
ranks = 2
"""
PLAN = {"motley": "plan", "version": 1, "micro_batches": 4, "micro_batch_size": 4,
        "stages": [{"layers": [0, 2], "replicas": [{"device": 0}], "warm_up": 2},
                   {"layers": [2, 4], "replicas": [{"device": 1}], "warm_up": 1}]}


def testbed(*words, expect=0, **options):
    """The finished process of `scripts/testbed --bed BED words...`."""
    done = subprocess.run([PROGRAM, "--bed", BED, *map(str, words)], capture_output=True, text=True, timeout=120, **options)
    if expect is not None and done.returncode != expect:
        raise AssertionError(f"testbed {' '.join(map(str, words))}: exit code {done.returncode}, expected {expect}\n"
                             f"{done.stdout}\n{done.stderr}")
    return done


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def of_this_bed():
    """All that a bed of this test's name has on the machine."""
    found = [line for line in output("ip", "netns", "list").splitlines() if BED in line]
    found += [str(folder) for root, kind, _ in cgroups.mounts() if kind.startswith("cgroup")
              for folder in root.glob(f"{cgroups.PREFIX}{BED}*")]
    found += [str(folder) for folder, _, _ in cgroups.mounts() if BED in str(folder)]
    found += [str(path) for path in bed.STATES.glob(f"{BED}*")]
    return found


class Case(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="motley-testbed-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.config = cls.folder / "bed.toml"
        cls.config.write_text(CONFIG)
        cls.addClassCleanup(lambda: testbed("down", BED, expect=None))


class Up(Case):
    """What a bed that is up is like."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.links_before = output("ip", "-o", "link").splitlines()
        testbed("up", cls.config, "--no-measure")

    def on(self, host, *command, **options):
        return testbed("exec", host, "--", *command, **options).stdout

    def test_a_host_has_a_name_an_address_and_a_link_to_each_other_host(self):
        self.assertEqual(self.on("two", "hostname").strip(), "two")
        links = json.loads(self.on("two", "ip", "-j", "address", "show", "dev", "one"))
        inet = [entry for entry in links[0]["addr_info"] if entry["family"] == "inet"]
        self.assertEqual([(entry["local"], entry["address"]) for entry in inet], [("10.77.0.2", "10.77.0.1")])

    def test_each_directed_link_has_its_own_rate(self):
        for near, far, rate in (("one", "two", 100e6), ("two", "one", 40e6)):
            (queue,) = json.loads(self.on(near, "tc", "-j", "qdisc", "show", "dev", far))
            self.assertEqual((queue["kind"], queue["options"]["rate"] * 8), ("tbf", rate))
            self.assertLessEqual(queue["options"]["burst"], 20480)

    def test_a_host_has_its_share_of_a_core_and_so_have_its_children(self):
        limits = kernel.require()
        for host, quota in (("one", "10000"), ("two", "5000")):
            (cores,) = json.loads(self.on(host, sys.executable, "-c", "import os; print(list(os.sched_getaffinity(0)))")),
            self.assertEqual(len(cores), 1)
            (process,) = self.on(host, "sh", "-c", f"sh -c 'grep -c {cgroups.PREFIX}{BED}/{host} /proc/self/cgroup'").split()
            self.assertEqual(int(process), len(limits.join(BED, host)))
            folder = limits.join(BED, host)[0].parent
            if isinstance(limits, cgroups.Version1):
                self.assertEqual((folder / "cpu.cfs_quota_us").read_text().strip(), quota)
                self.assertEqual((folder / "cpu.cfs_period_us").read_text().strip(), "20000")
            else:
                self.assertEqual((folder / "cpu.max").read_text().split(), [quota, "20000"])

    def test_a_program_keeps_its_input_folder_and_exit_code(self):
        self.assertEqual(self.on("one", "cat", input="words"), "words")
        self.assertEqual(self.on("one", "pwd", cwd=self.folder).strip(), str(self.folder))
        testbed("exec", "one", "--", "sh", "-c", "exit 5", expect=5)

    def test_hosts_reach_each_other_and_nothing_else(self):
        self.assertIn("dev one", self.on("two", "ip", "route", "get", "10.77.0.1"))
        said = testbed("exec", "two", "--", "ip", "route", "get", "192.0.2.1", expect=None)
        self.assertNotEqual(said.returncode, 0)
        self.assertIn("unreachable", said.stderr)
        # The machine's own network has gained no interface.
        self.assertEqual(output("ip", "-o", "link").splitlines(), self.links_before)

    @unittest.skipIf(shutil.which("mpirun") is None, "no mpirun on PATH")
    def test_a_run_records_what_its_messages_took_on_the_links(self):
        if MOTLEY is None:
            self.skipTest("no motley that trains")
        model, plan, run = (self.folder / name for name in ("model.toml", "plan.json", "run"))
        model.write_text(MODEL)
        plan.write_text(json.dumps(PLAN))
        testbed("mpirun", "--", MOTLEY, "train", model, "--plan", plan, "--run", run, "--steps", "6", "--no-evaluation")
        summary = json.loads((run / "record.jsonl").read_text().splitlines()[-1])
        rates = {(0, 1): 100e6 / 8, (1, 0): 40e6 / 8}
        self.assertEqual({(sends["from"], sends["to"]) for sends in summary["sends"]}, set(rates))
        for sends in summary["sends"]:
            # tbf lets the first 20 kB pass at once, and a host without its share looks late at the beginning too; what
            # the sender takes to hand them over is a hundredth of it.
            on_wire = sends["bytes"] / rates[sends["from"], sends["to"]]
            self.assertGreater(sends["time_s"], 0.6 * on_wire, sends)

    @unittest.skipIf(shutil.which("mpirun") is None, "no mpirun on PATH")
    def test_mpirun_puts_rank_r_on_host_r(self):
        print_rank = ["sh", "-c", "echo $OMPI_COMM_WORLD_RANK $(hostname)"]
        for words, hosts in ((["mpirun", *print_rank], ["one", "two"]),
                             (["mpirun", "--hosts", "two,one", *print_rank], ["two", "one"]),
                             (["exec", "one", "--", "mpirun", "-n", "2", *print_rank], ["one", "two"])):
            ranks = dict(line.split() for line in testbed(*words).stdout.splitlines())
            self.assertEqual(ranks, {str(rank): host for rank, host in enumerate(hosts)}, words)
        testbed("mpirun", "--hosts", "two", "sh", "-c", "exit 7", expect=7)

    def test_status_tells_hosts_and_links(self):
        said = testbed("status").stdout
        for words in ("10.77.0.1", "10.77.0.2", "40 Mbit/s: two -> one", "100 Mbit/s: one -> two"):
            self.assertIn(words, said)

    def test_it_measures_itself(self):
        file = self.folder / "measured.json"
        said = testbed("measure", "--out", file).stdout
        result = json.loads(file.read_text())
        self.assertEqual([host["host"] for host in result["hosts"]], ["one", "two"])
        self.assertEqual({(link["from"], link["to"]): link["asked"] for link in result["links"]},
                         {("one", "two"): 100, ("two", "one"): 40})
        self.assertTrue(all(host["bursts"] > 0 for host in result["hosts"]))
        for each in result["hosts"] + result["links"]:
            self.assertGreater(each["alone"], 0)
            self.assertGreater(each["busy"], 0)
        for words in ("asked", "all busy", "two -> one"):
            self.assertIn(words, said)

    def test_a_second_bed_of_the_same_name_is_refused_and_changes_nothing(self):
        before = of_this_bed()
        self.assertIn("is up, or was left behind", testbed("up", self.config, "--no-measure", expect=2).stderr)
        self.assertEqual(of_this_bed(), before)

    def test_wrong_hosts_and_missing_programs_are_named(self):
        self.assertIn('found host "three", expected one of one, two', testbed("exec", "three", "--", "true", expect=2).stderr)
        self.assertIn("testbed exec: a program is missing", testbed("exec", "one", expect=2).stderr)


class Down(Case):
    """What is left of a bed, however it ends: nothing."""

    def tearDown(self):
        testbed("down", BED, expect=None)
        self.assertEqual(of_this_bed(), [])

    def test_down_ends_what_runs_on_the_hosts(self):
        testbed("up", self.config, "--no-measure")
        # One that ends when asked, one that does not.
        for command in ("sleep 1000", "trap '' TERM; echo up; while :; do sleep 1; done"):
            running = subprocess.Popen([PROGRAM, "--bed", BED, "exec", "one", "--", "sh", "-c", f"echo up; {command}"],
                                       stdout=subprocess.PIPE, text=True)
            self.assertEqual(running.stdout.readline(), "up\n")
            self.addCleanup(running.stdout.close)
            self.addCleanup(running.kill)
            self.addCleanup(running.wait)
        testbed("down")
        self.assertEqual(of_this_bed(), [])
        self.assertIn("is not up", testbed("down", BED, expect=2).stderr)

    def end_up_with(self, sig, after_s):
        up = subprocess.Popen([PROGRAM, "up", self.config, "--no-measure"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(after_s)
        os.killpg(up.pid, sig)
        return up.wait()

    def test_up_that_is_killed_at_any_time_leaves_nothing_that_down_does_not_find(self):
        start = time.monotonic()
        testbed("up", self.config, "--no-measure")
        whole = time.monotonic() - start
        testbed("down")
        left = 0
        for i in range(12):
            self.end_up_with(signal.SIGKILL, whole * (0.2 + 0.8 * i / 12))
            left += bool(of_this_bed())
            testbed("down", BED, expect=None)
            self.assertEqual(of_this_bed(), [])
        self.assertGreater(left, 0, "never killed while it was at work")

    def test_up_that_is_interrupted_removes_what_it_made_itself(self):
        for sig in (signal.SIGINT, signal.SIGTERM):
            for after_s in (0.3, 0.6, 0.9):
                if self.end_up_with(sig, after_s) == 0:
                    testbed("down")
                self.assertEqual(of_this_bed(), [])

    def test_what_it_did_not_make_is_neither_used_nor_removed(self):
        space = f"{cgroups.PREFIX}{BED}-two"
        output("ip", "netns", "add", space)
        self.addCleanup(subprocess.run, ["ip", "netns", "del", space], capture_output=True)
        self.assertIn("not of a test bed's making", testbed("up", self.config, "--no-measure", expect=2).stderr)
        self.assertEqual({Path(line.split()[0]).name for line in of_this_bed()}, {space})
        output("ip", "netns", "del", space)

        folder = kernel.require().plan(BED, [])[0]
        folder.mkdir()
        try:
            self.assertIn("not of a test bed's making", testbed("up", self.config, "--no-measure", expect=2).stderr)
            self.assertEqual(of_this_bed(), [str(folder)])
        finally:
            folder.rmdir()

    def test_a_bed_that_is_not_complete_is_said_to_be_so(self):
        (bed.STATES / BED).mkdir(parents=True)
        self.assertIn("is not complete", testbed("exec", "one", "--", "true", expect=2).stderr)
        self.assertIn("not complete", testbed("status").stdout)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--motley", type=Path)
    MOTLEY = parser.parse_args().motley
    _, missing = kernel.findings()
    if missing:
        for line in missing:
            print(f"SKIPPED: no test bed was made: {line}", file=sys.stderr)
        sys.exit(SKIPPED)
    unittest.main(argv=sys.argv[:1], verbosity=2)
