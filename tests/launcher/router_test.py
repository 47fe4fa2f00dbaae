#!/usr/bin/env python3
"""A trained router used by another program: examples/score_router.py, with the safetensors package of PyPI.

Usage: router_test.py --program MOTLEY --source FOLDER --packages FOLDER[:FOLDER]
Exit code 77 without the packages, which ctest shows as skipped; with CI in the environment that is a failure.
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from small_job import motley, read_arguments, write_config

ARGUMENTS = None
DATA = "data/mmlu_pro"


class Router(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="motley-router-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        cls.config = write_config(cls.folder, steps=30)
        cls.config.write_text(cls.config.read_text().replace('"synthetic"', f'"{DATA}"'))
        motley(ARGUMENTS.program, ARGUMENTS.source, "run", cls.config, "--set", "checkpoint.every=10")
        cls.exported = cls.folder / "router"
        motley(ARGUMENTS.program, ARGUMENTS.source, "export", cls.config, "--trained", cls.folder / "run", "--out",
               cls.exported)
        cls.model = json.loads((cls.exported / "model.json").read_text())

    def test_another_program_scores_the_test_queries_as_motley_does(self):
        weights = load_file(self.exported / "model.safetensors")
        split = load_file(ARGUMENTS.source / DATA / "outcomes.safetensors")["split"]
        embeddings = load_file(ARGUMENTS.source / DATA / "embeddings.safetensors")["embeddings"][split == 2]
        predictions = load_file(self.folder / "run/predictions-test.safetensors")
        odds, lengths = score_router.score(weights, self.model, embeddings)
        self.assertEqual(odds.shape, (1203, 28))
        np.testing.assert_allclose(odds, predictions["correctness"], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(lengths, predictions["length"], rtol=1e-4, atol=1e-4)
        self.assertGreater(predictions["correctness"].std(axis=0).max(), 0.01, "nothing was learnt, nothing compared")

    def test_the_example_runs_as_printed(self):
        done = subprocess.run([sys.executable, "examples/score_router.py", self.exported,
                               f"{DATA}/embeddings.safetensors"], cwd=ARGUMENTS.source, capture_output=True, text=True,
                              check=False, env={**os.environ, "PYTHONPATH": ARGUMENTS.packages})
        self.assertEqual(done.returncode, 0, done.stderr)
        names = {llm["name"] for llm in self.model["llms"]}
        self.assertEqual(len(names), 28)
        chosen = done.stdout.split("\n")[:-1]
        self.assertEqual(len(chosen), 10810)
        self.assertLessEqual(set(chosen), names)

    def test_checkpoints_are_read_by_the_formats_own_package(self):
        folder = self.folder / "run/checkpoints/step-000030"
        manifest = json.loads((folder / "manifest.json").read_text())
        self.assertEqual(len(list(folder.glob("layer-*.safetensors"))), len(self.model["layers"]), manifest.keys())
        for layer, described in enumerate(self.model["layers"]):
            stored = load_file(folder / f"layer-{layer:03}.safetensors")
            for name in described["parameters"]:
                parameter = name.removeprefix(described["name"] + ".")
                np.testing.assert_array_equal(stored[parameter], load_file(self.exported / "model.safetensors")[name])
                self.assertIn(f"{parameter}.exp_avg", stored)

    def test_a_run_without_weights_is_refused(self):
        _, said = motley(ARGUMENTS.program, ARGUMENTS.source, "export", self.config, "--trained", self.folder / "nowhere",
                         expect=2)
        self.assertIn("nowhere/weights/layer-000.safetensors: cannot be read", said)

    def test_weights_of_another_network_are_refused_by_tensor(self):
        _, said = motley(ARGUMENTS.program, ARGUMENTS.source, "export", self.config, "--trained", self.folder / "run", "--set",
                         "workload_options.width=48", "--out", self.folder / "other", expect=2)
        self.assertRegex(said, r'layer-000.safetensors: tensor "weight": found float32\[32, 384\], expected float32\[48, 384\]')


if __name__ == "__main__":
    ARGUMENTS, words = read_arguments(__doc__, "--packages")
    sys.path[:0] = [*ARGUMENTS.packages.split(":"), str(ARGUMENTS.source / "examples")]
    sys.dont_write_bytecode = True
    try:
        import numpy as np
        from safetensors.numpy import load_file
    except ImportError as error:
        print(f"router_test: {error}: scripts/setup --tests installs it", file=sys.stderr)
        sys.exit(1 if os.environ.get("CI") else 77)
    import score_router
    unittest.main(argv=words, verbosity=2)
