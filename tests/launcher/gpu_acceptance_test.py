#!/usr/bin/env python3
"""scripts/gpu_acceptance on a machine without a GPU, and played on fakes.

Usage: gpu_acceptance_test.py --source=FOLDER --build=FOLDER --fake=LIBRARY
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

WORDS = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:] if word.startswith("--") and "=" in word)
SOURCE = Path(WORDS["source"])


def acceptance(record, *words, path=None, script=None):
    environment = {**os.environ, **({"PATH": path} if path else {}), **({"MOTLEY_FAKE_SCRIPT": script} if script else {})}
    return subprocess.run([sys.executable, SOURCE / "scripts/gpu_acceptance", "--no-build", "--record", record, *words],
                          capture_output=True, text=True, timeout=280, check=False, env=environment)


class GpuAcceptance(unittest.TestCase):
    def test_without_a_gpu_it_says_that_nothing_was_proved(self):
        with tempfile.TemporaryDirectory() as folder:
            record = Path(folder) / "record"
            done = acceptance(record, path=folder)  # where there is no nvidia-smi
            self.assertEqual(done.returncode, 2)
            self.assertIn("no GPU", done.stderr)
            self.assertIn("nothing was proved", done.stderr)
            steps = json.loads(record.with_suffix(".json").read_text())["steps"]
            self.assertEqual([step["result"] for step in steps], ["skipped"])

    @unittest.skipUnless(Path(WORDS["build"]).resolve() == (SOURCE / "build").resolve(), "the script uses the folder build")
    def test_on_fakes_it_trains_compares_and_owns_up(self):
        with tempfile.TemporaryDirectory() as folder:
            record = Path(folder) / "record"
            done = acceptance(record, "--fake", WORDS["fake"])
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            results = {step["step"]: step["result"] for step in json.loads(record.with_suffix(".json").read_text())["steps"]}
            self.assertEqual(results["kernels"], "skipped")
            for step in ("NCCL and staged edges", "training on 1 GPUs", "training on 2 GPUs", "training on 1 GPU in bfloat16",
                         "the router on 1 GPU", "the router on 1 GPU in bfloat16", "two ranks on one GPU by way of the host",
                         "two ranks on one GPU, int8 between them", "one GPU and two ranks on the host"):
                self.assertEqual(results[step], "passed", step)
            self.assertIn("nothing here comes from a GPU", record.with_suffix(".md").read_text())

    @unittest.skipUnless(Path(WORDS["build"]).resolve() == (SOURCE / "build").resolve(), "the script uses the folder build")
    def test_one_check_that_fails_is_named_and_is_the_exit_code(self):
        with tempfile.TemporaryDirectory() as folder:
            record = Path(folder) / "record"
            # Only jobs under mpirun have a rank 1, and only over NCCL has it transfers to fail.
            done = acceptance(record, "--fake", WORDS["fake"], script="rank1:nccl.async@4=6")
            self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
            steps = {step["step"]: step for step in json.loads(record.with_suffix(".json").read_text())["steps"]}
            self.assertEqual(steps["training on 2 GPUs"]["result"], "failed")
            self.assertIn("NCCL, edge from rank ", steps["training on 2 GPUs"]["text"])
            self.assertEqual([name for name, step in steps.items() if step["result"] == "failed"], ["training on 2 GPUs"])
            self.assertIn("| training on 2 GPUs | failed |", record.with_suffix(".md").read_text())


unittest.main(argv=sys.argv[:1])
