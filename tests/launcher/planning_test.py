#!/usr/bin/env python3
"""Planning from the command line: imports with the commands that other scripts use, their known results (published data, skipped
loudly where it is absent), the planner's benchmark, the checker on spoilt plans, what-if and sweeps.

Usage: planning_test.py --program MOTLEY --source FOLDER
"""

import json
import statistics
import tempfile
import unittest
from pathlib import Path

from small_job import motley, read_arguments

ARGUMENTS = None


def run(*words, expect=0):
    return motley(ARGUMENTS.program, ARGUMENTS.source, *words, expect=expect)[0]


def run_json(*words, expect=0):
    """Standard output is one JSON object and nothing else."""
    return json.loads(run(*words, expect=expect))


class Imports(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.data = ARGUMENTS.source.resolve().parent / "shared/data/planning"
        if not cls.data.exists():
            raise unittest.SkipTest(f"no third-party data at {cls.data}: published planning results are not checked")
        cls.folder = tempfile.TemporaryDirectory(prefix="motley-planning-")
        cls.model = Path(cls.folder.name) / "model.json"

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_pipedream(self):
        for name, machines, bottleneck, replicas in [("vgg16", 4, 0.205520896, [3, 1]), ("vgg16", 16, 0.0565298, [13, 2, 1]),
                                                     ("resnet50", 4, 0.1628809, [2, 2]), ("alexnet", 4, 0.0342171, [3, 1]),
                                                     ("gnmt", 4, 0.025868, [1, 1, 1, 1])]:
            with self.subTest(f"{name} on {machines}"):
                run("import", "pipedream", self.data / f"pipedream/{name}.graph.txt", "--out", self.model)
                plan = run_json("plan", "--model", self.model, "--devices", machines, "--bandwidth", "1e9", "--objective",
                                "bottleneck", "--pipedream-cost", "--json")
                self.assertAlmostEqual(plan["bottleneck_s"], bottleneck, delta=5e-8)
                self.assertEqual([stage["replicas"] for stage in plan["stages"]], replicas)
                self.assertGreaterEqual(plan["gap"], 0.0)
                self.assertLessEqual(plan["lower_bound_s"], plan["bottleneck_s"])
                layers = [stage["layers"] for stage in plan["stages"]]
                self.assertEqual([begin for begin, _ in layers], [0] + [end for _, end in layers[:-1]])

    def test_dnn_partitioning(self):
        for name, on_graph, on_chain in [("bert24_training", 41.7458, 41.7458), ("resnet50_training", 78.6318, 78.6498),
                                         ("resnet50_inference", 33.7747, None)]:
            with self.subTest(name):
                run("import", "dnn-partitioning", self.data / f"dnn-partitioning/{name}.json", "--out", self.model)
                words = ["plan", "--model", self.model, "--objective", "bottleneck", "--devices-from-model", "--json"]
                self.assertAlmostEqual(1e3 * run_json(*words)["bottleneck_s"], on_graph, delta=5e-5)
                if on_chain:
                    self.assertAlmostEqual(1e3 * run_json(*words, "--linearise")["bottleneck_s"], on_chain, delta=5e-5)

    def test_sailor(self):
        errors, apart = [], []
        for plan in sorted((self.data / "sailor/validation").rglob("*.json")):
            row = run_json("import", "sailor", self.data / "sailor", "--plan", plan, "--json")
            self.assertGreater(row["predicted_memory_bytes"], 0)
            self.assertLessEqual(len(row["constants"]), 4)
            errors.append(abs(row["predicted_s"] / row["measured_s"] - 1))
            apart.append(abs(row["leave_one_out"]["error"]))
        self.assertGreaterEqual(len(errors), 9)
        self.assertLess(statistics.median(errors), 0.08)
        self.assertLess(max(errors), 0.20)
        self.assertLess(max(apart), 0.20)


class Planning(unittest.TestCase):

    def setUp(self):
        self.profile = ARGUMENTS.source / "tests/fuzz/corpus/profile/small"
        folder = tempfile.TemporaryDirectory(prefix="motley-planning-")
        self.addCleanup(folder.cleanup)
        self.plan = Path(folder.name) / "plan.json"

    def test_a_spoilt_plan_is_found_out(self):
        run("plan", "--profile", self.profile, "--batch", 64, "--out", self.plan)
        words = ["check", "--profile", self.profile, "--plan", self.plan]
        self.assertTrue(run_json(*words, "--json")["sound"])
        self.assertIn("the plan is what it says", run(*words))
        sound = json.loads(self.plan.read_text())
        for field, problem in [("gap", "certificate.gap"), ("lower_bound_s", "lower_bound"), ("iteration_s", "prediction.iteration"),
                               ("profile_fingerprint", "profile_fingerprint")]:
            with self.subTest(field):
                spoilt = json.loads(json.dumps(sound))
                of = next(part for part in [spoilt, spoilt["certificate"], spoilt["prediction"]] if field in part)
                of[field] = "0" if isinstance(of[field], str) else 1.5 * of[field] + 0.1
                self.plan.write_text(json.dumps(spoilt))
                found = run_json(*words, "--json", expect=1)
                self.assertFalse(found["sound"])
                self.assertIn(problem, " ".join(found["problems"]))

    def test_the_benchmark_prints_one_object(self):
        words = ["bench", "planner", "--layers", 24, "--devices", 16, "--types", 2, "--hosts", 4]
        self.assertLess(run_json(*words, "--seed", 3, "--json")["gap"], 0.001)  # of few devices the optimum is asked for
        words += ["--gap", 0.02]
        one = run_json(*words, "--seed", 3, "--json")
        self.assertLessEqual({"solve_s", "gap", "iteration_s", "lower_bound_s", "memory_bound_share"}, set(one))
        self.assertEqual((one["seed"], one["layers"], one["devices"]), (3, 24, 16))
        several = run_json(*words, "--seeds", 3, "--check", "--json")
        self.assertEqual([of["seed"] for of in several["runs"]], [1, 2, 3])
        self.assertEqual(several["worst_gap"], max(of["gap"] for of in several["runs"]))
        self.assertEqual(several["runs"][2]["iteration_s"], one["iteration_s"])
        for of in several["runs"]:
            self.assertTrue(of["check"]["sound"], of)
            self.assertIn("prices", of["check"]["how"])
        self.assertIn("worst gap", run(*words))

    def test_what_if_compares_and_sweeps_mark_what_nothing_beats(self):
        words = ["plan", "--profile", self.profile, "--batch", 64]
        told = run_json(*words, "--what-if", "device 0 unused", "--what-if", "link 0 -> 1 x 2", "--json")["what_if"]
        self.assertEqual([of["what"] for of in told], ["as it is", "device 0 unused", "link 0 -> 1 x 2"])
        self.assertEqual(told[0]["change"], 0.0)
        self.assertLessEqual(told[2]["change"], 0.0)
        self.assertIn("change %", run(*words, "--what-if", "device 0 memory + 1GB"))
        priced = json.loads(self.profile.read_text())
        for place, device in enumerate(priced["cluster"]["devices"]):
            device["usd_per_hour"] = 1.0 + place
        file = self.plan.with_name("priced.json")
        file.write_text(json.dumps(priced))
        rows = run_json("plan", "--profile", file, "--batch", 64, "--sweep", "--json")["sweep"]
        best = [of for of in rows if of["pareto"]]
        self.assertGreaterEqual(len(best), 1)
        times = [of["iteration_s"] for of in best]
        self.assertEqual(times, sorted(times, reverse=True))  # what costs more is faster
        self.assertIn("USD/hour", run("plan", "--profile", file, "--batch", 64, "--sweep"))
        motley(ARGUMENTS.program, ARGUMENTS.source, *words, "--sweep", expect=2)


if __name__ == "__main__":
    ARGUMENTS, words = read_arguments(__doc__)
    unittest.main(argv=words, verbosity=2)
