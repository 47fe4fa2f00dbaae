#!/usr/bin/env python3
"""PyTorch's pipelines train the same transformer from the same weights to Motley's losses. Exit code 77 (skipped) without
scripts/setup --peer."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = 77
STEPS = 5
ARGUMENTS = None

CONFIG = """
run_directory = "{folder}"
workload = "transformer"
[workload_options]
width = 32
heads = 4
blocks = 4
sequence = 16
vocabulary = 64
samples = 256
[train]
steps = 8
global_batch = 16
optimizer = "sgd"
learning_rate = 0.5
min_rate_ratio = 1.0
weight_decay = 0.0
clip_norm = 0.0
[devices]
ranks = {ranks}
"""


def call(*command, environment=None):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=200,
                          env={**os.environ, **(environment or {})})
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}\nexit code {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def on_ranks(ranks, *command):
    as_root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    return call(ARGUMENTS.mpiexec, *as_root, "--oversubscribe", "--bind-to", "none", "-n", ranks, *command,
                environment={"GLOO_SOCKET_IFNAME": "lo"})


class Peer(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="motley-peer-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.config = cls.folder / "model.toml"
        cls.config.write_text(CONFIG.format(folder=cls.folder, ranks=1))
        call(ARGUMENTS.motley, "export", cls.config, "--steps", STEPS, "--out", cls.folder / "export")
        cls.losses = {count: cls.motley_losses(count) for count in (2, 4, 8)}

    @classmethod
    def motley_losses(cls, count):
        plan, run = cls.folder / f"plan-{count}.json", cls.folder / f"run-{count}"
        plan.write_text(json.dumps({"motley": "plan", "version": 1, "micro_batches": count, "micro_batch_size": 16 // count,
                                    "stages": [{"layers": [0, 6], "replicas": [{"device": 0}], "warm_up": 1}]}))
        call(ARGUMENTS.motley, "train", cls.config, "--plan", plan, "--run", run, "--steps", STEPS, "--no-evaluation")
        lines = map(json.loads, (run / "record.jsonl").read_text().splitlines())
        return [line["loss"] for line in lines if line["kind"] == "step"]

    def peer(self, layers, *runs):
        out = self.folder / "peer.jsonl"
        words = [sys.executable, ROOT / "bench" / "cluster" / "peer.py", "--export", self.folder / "export", "--layers",
                 ",".join(map(str, layers)), "--heads", 4, "--rate", 0.5, "--warm-up", 1, "--steps", STEPS - 1, "--out", out]
        for run in runs:
            words += ["--run", run]
        on_ranks(len(layers), *words)
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        return {line["run"]: line for line in lines if line["kind"] == "summary"}

    def expect_equal(self, found, expected):
        self.assertEqual(len(found), STEPS)
        for mine, theirs in zip(expected, found):
            self.assertLessEqual(abs(theirs - mine), 1e-5 * abs(mine), f"{found} instead of {expected}")

    def test_losses_tell_apart_what_must_not_be_confused(self):
        self.assertEqual(len(set(self.losses[4])), STEPS)
        self.assertGreater(abs(self.losses[4][0] - self.losses[4][1]), 1e-3)
        self.assertNotEqual(self.losses[4], self.losses[8])

    def test_one_process_agrees_with_motley(self):
        for run, summary in self.peer([6], "1f1b:2", "1f1b:4", "1f1b:8").items():
            self.expect_equal(summary["losses"], self.losses[int(run.split(":")[1])])

    def test_every_schedule_agrees_with_motley_on_an_uneven_split(self):
        runs = [f"{schedule}:{count}" for schedule in ("1f1b", "gpipe", "zero-bubble") for count in (4, 8)]
        found = self.peer([1, 3, 2], *runs)
        self.assertEqual(list(found), runs)
        for run, summary in found.items():
            self.expect_equal(summary["losses"], self.losses[int(run.split(":")[1])])
            self.assertEqual(len(summary["iterations_s"]), STEPS - 1)
            for rank in summary["ranks"]:
                self.assertGreater(rank["busy_cpu_s"], 0)
                self.assertLessEqual(rank["busy_cpu_s"], rank["cpu_s"])

    def test_a_wrong_split_or_schedule_is_named(self):
        for words, expected in ((["--layers", "3,3", "--run", "1f1b:4"], "found 2 stages, mpirun started 1 ranks"),
                                (["--layers", "6", "--run", "2f2b:4"], "found 2f2b:4, expected SCHEDULE:MICRO_BATCHES")):
            done = subprocess.run([sys.executable, ROOT / "bench" / "cluster" / "peer.py", "--export", self.folder / "export",
                                   "--heads", "4", "--rate", "0.5", "--out", self.folder / "x", *words],
                                  capture_output=True, text=True)
            self.assertEqual(done.returncode, 2)
            self.assertIn(expected, done.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--motley", type=Path, required=True)
    parser.add_argument("--mpiexec", required=True)
    ARGUMENTS = parser.parse_args()
    if not list((ROOT / ".deps").glob("peer-*.done")):
        print("SKIPPED: nothing was compared with PyTorch: scripts/setup --peer installs it", file=sys.stderr)
        sys.exit(SKIPPED)
    unittest.main(argv=sys.argv[:1], verbosity=2)
