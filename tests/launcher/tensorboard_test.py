#!/usr/bin/env python3
"""Event files of a real run, read back by the `tensorboard` package of PyPI.

Usage: tensorboard_test.py --program MOTLEY --source FOLDER --package FOLDER
Exit code 77 without the package, which ctest shows as skipped; with CI in the environment that is a failure.
"""

import json
import os
import sys
import tempfile
import unittest
from pathlib import Path

from small_job import motley, read_arguments, write_config

ARGUMENTS = None


class EventFiles(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="motley-tensorboard-")
        cls.addClassCleanup(folder.cleanup)
        cls.run_folder = Path(folder.name) / "run"
        cls.events = Path(folder.name) / "board"
        config = write_config(Path(folder.name), steps=5)
        motley(ARGUMENTS.program, ARGUMENTS.source, "run", config, "--set", 'compare.planners=["single"]', "--set",
               "compare.steps=3", "--tensorboard", cls.events)
        cls.record = [json.loads(line) for line in (cls.run_folder / "record.jsonl").read_text().splitlines()]

    def read(self, name):
        accumulator = EventAccumulator(str(self.events / name))
        accumulator.Reload()
        return accumulator

    def test_scalars_are_those_of_the_record(self):
        board = self.read("motley")
        steps = [line for line in self.record if line["kind"] == "step"]
        self.assertEqual(len(steps), 5)
        for tag, key in (("train/loss", "loss"), ("train/gradient_norm", "gradient_norm"), ("speed/samples_per_s", "samples_per_s")):
            points = board.Scalars(tag)
            self.assertEqual([point.step for point in points], [0, 1, 2, 3, 4])
            for point, line in zip(points, steps):
                self.assertAlmostEqual(point.value / line[key], 1.0, places=6)
        self.assertLess(abs(board.Scalars("train/loss")[0].wall_time - (self.run_folder / "record.jsonl").stat().st_mtime), 600)

    def test_times_of_ranks_belong_to_their_step(self):
        board = self.read("motley")
        for rank in (0, 1):
            for tag, key in (("busy_s", "busy_s"), ("wait_s", "wait_s")):
                points = board.Scalars(f"{tag}/rank {rank}")
                told = {line["step"] - 1: line["ranks_one_step_before"][rank][key] for line in self.record
                        if "ranks_one_step_before" in line}
                self.assertEqual([point.step for point in points], sorted(told))
                for point in points:
                    self.assertAlmostEqual(point.value / told[point.step], 1.0, places=6)

    def test_settings_and_plan_are_texts(self):
        board = self.read("motley")
        self.assertEqual(set(board.PluginTagToContent("text")), {"settings", "plan"})
        text = {tag: board.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in ("settings", "plan")}
        self.assertIn("| train.steps | `5` |", text["settings"])
        self.assertIn("| workload_options.width | `32` |", text["settings"])
        plan = json.loads(text["plan"].removeprefix("```json\n").removesuffix("\n```"))
        self.assertEqual(plan, json.loads((self.run_folder / "plan.json").read_text()))

    def test_compared_plans_have_folders_of_their_own(self):
        self.assertEqual(sorted(one.name for one in self.events.iterdir()), ["motley", "single"])
        self.assertEqual(len(self.read("single").Scalars("train/loss")), 3)


if __name__ == "__main__":
    ARGUMENTS, words = read_arguments(__doc__, "--package")
    sys.path.insert(0, str(ARGUMENTS.package))
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError as error:
        print(f"NO TENSORBOARD ({error}): event files are not read back. scripts/setup --tests installs it.", file=sys.stderr)
        sys.exit(1 if os.environ.get("CI") else 77)
    unittest.main(argv=words, verbosity=2)
