#!/usr/bin/env python3
"""The example of every command's --help, run as it is printed: by bash, in a folder that looks like Motley's tree but has a
smaller configs/quickstart.toml. The commands are those that `motley --help` lists.

Usage: help_test.py --program MOTLEY --source FOLDER
"""

import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from small_job import motley, read_arguments

ARGUMENTS = None
# What one leaves the next one reads; every other command needs none of them.
FIRST = ["profile", "plan", "check", "simulate", "train", "evaluate"]
SMALLER = {"steps": "4", "warmup_steps": "1", "blocks": "4", "width": "32", "hidden": "32", "micro_batch_sizes": "[64]",
           "repeats": "3", "speeds": None}
# Files that examples write, by the words that name them.
WRITES = {"--out plan.json": "plan.json", "--trace trace.json": "trace.json", "--out report.html": "report.html",
          "--out router": "router/model.safetensors", "--out model.json": "model.json"}


def smaller(config):
    """The same configuration with these values, each of which it must have."""
    for key, value in SMALLER.items():
        config, count = re.subn(rf"(?m)^{key} = .*\n", f"{key} = {value}\n" if value else "", config)
        if count == 0:
            raise AssertionError(f"configs/quickstart.toml has no {key}")
    return config


class Help(unittest.TestCase):

    def test_every_example_runs_as_printed(self):
        listed, _ = motley(ARGUMENTS.program, ARGUMENTS.source, "--help")
        commands = re.findall(r"(?m)^  ([a-z]+)  ", listed)
        self.assertGreaterEqual(set(commands), set(FIRST))
        self.assertGreaterEqual(len(commands), 15)
        with tempfile.TemporaryDirectory(prefix="motley-help-") as name:
            folder = Path(name)
            (folder / "configs").mkdir()
            (folder / "configs/quickstart.toml").write_text(smaller((ARGUMENTS.source / "configs/quickstart.toml").read_text()))
            (folder / "data").symlink_to(ARGUMENTS.source / "data")
            (folder / "examples").symlink_to(ARGUMENTS.source / "examples")
            # mpirun refuses root, and more ranks than there are cores, unless told: the machine's affair, not the example's.
            environment = {**os.environ, "PATH": f"{ARGUMENTS.program.parent}:{os.environ['PATH']}",
                           "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                           "OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_hwloc_base_binding_policy": "none"}
            written = 0
            for command in FIRST + [command for command in commands if command not in FIRST]:
                text, _ = motley(ARGUMENTS.program, ARGUMENTS.source, command, "--help")
                examples = re.findall(r"(?m)^example: (.*)$", text)
                self.assertEqual(len(examples), 1, text)
                self.assertRegex(examples[0], rf"\bmotley {command}\b")
                with self.subTest(examples[0]):
                    done = subprocess.run(["bash", "-c", examples[0]], cwd=folder, capture_output=True, text=True, check=False,
                                          timeout=200, stdin=subprocess.DEVNULL, env=environment)
                    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                    self.assertNotIn("not found", done.stderr)  # bash does not count what fails in <(...)
                    for file in [file for words, file in WRITES.items() if words in examples[0]]:
                        self.assertGreater((folder / file).stat().st_size, 0, file)
                        written += 1
            self.assertEqual(written, len(WRITES), "an example no longer writes what it wrote")


if __name__ == "__main__":
    ARGUMENTS, words = read_arguments(__doc__)
    unittest.main(argv=words, verbosity=2)
