#!/usr/bin/env python3
"""Installs the build tree, moves it, and uses it as a stranger would: find_package(Motley) from projects outside."""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ARGUMENTS = None


def call(*command, cwd=None, expect=0):
    """stdout of `command`, whose exit code must be `expect`; stderr too where it fails."""
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, timeout=200)
    if done.returncode != expect:
        raise AssertionError(f"{' '.join(map(str, command))}\nexit code {done.returncode}, expected {expect}\n"
                             f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout if expect == 0 else done.stderr


def on_ranks(ranks, program, *arguments, cwd):
    as_root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    return call(ARGUMENTS.mpiexec, *as_root, "--oversubscribe", "--bind-to", "none", "-n", ranks, program, *arguments,
                cwd=cwd)


def configure(source, build, prefixes, *options):
    return call(ARGUMENTS.cmake, "-G", "Ninja", "-S", source, "-B", build,
                f"-DCMAKE_PREFIX_PATH={';'.join(map(str, prefixes))}",
                f"-DCMAKE_CXX_COMPILER_LAUNCHER={ARGUMENTS.launcher}", *options)


def cached(build, name):
    for line in (build / "CMakeCache.txt").read_text().splitlines():
        if line.startswith(name + ":"):
            return line.split("=", 1)[1]
    raise AssertionError(f"{build}: {name} is not in the cache")


class Installed(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="motley-install-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        first = cls.folder / "first"
        call(ARGUMENTS.cmake, "--install", ARGUMENTS.build, "--prefix", first)
        cls.prefix = cls.folder / "moved"
        first.rename(cls.prefix)
        cls.example = ARGUMENTS.source / "examples" / "own_model"
        cls.program = cls.folder / "shapes" / "shapes"
        configure(cls.example, cls.folder / "shapes", [cls.prefix], "-DCMAKE_BUILD_TYPE=Release")
        call(ARGUMENTS.cmake, "--build", cls.folder / "shapes", "-j", "2")

        cls.config = cls.folder / "shapes.toml"
        text = (cls.example / "shapes.toml").read_text()
        cls.config.write_text(text)
        cls.single_config = cls.folder / "single.toml"
        cls.single_config.write_text(text.replace("ranks = 2", "ranks = 1"))
        on_ranks(2, cls.program, "profile", cls.config, "--out", "profile.json", cwd=cls.folder)

    def records(self, run):
        lines = (self.folder / run / "record.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def losses(self, run):
        return [line["loss"] for line in self.records(run) if line.get("kind") == "step"]

    def test_a_model_outside_the_tree_trains_the_same_in_a_pipeline_and_on_one_rank(self):
        run = lambda ranks, *words: on_ranks(ranks, self.program, *words, cwd=self.folder)
        call(self.program, "plan", "--profile", "profile.json", "--batch", 64, "--planner", "uniform", "--out",
             "plan.json", cwd=self.folder)
        plan = json.loads((self.folder / "plan.json").read_text())
        self.assertEqual(len(plan["stages"]), 2)
        run(2, "train", self.config, "--plan", "plan.json", "--profile", "profile.json", "--run", "pipeline")

        # The same micro-batches on one rank, by a plan as a person would write it.
        whole = {key: plan[key] for key in ("motley", "version", "micro_batch_size", "micro_batches", "schedule")}
        layers = plan["stages"][-1]["layers"][1]
        whole["stages"] = [dict(plan["stages"][0], layers=[0, layers], warm_up=1)]
        (self.folder / "whole.json").write_text(json.dumps(whole))
        run(1, "train", self.single_config, "--plan", "whole.json", "--run", "one")

        losses = self.losses("pipeline")
        self.assertEqual(len(losses), 60)
        self.assertEqual(losses, self.losses("one"))
        self.assertLess(statistics.mean(losses[-5:]), 0.7 * statistics.mean(losses[:5]))
        for split in ("validation", "test"):
            name = f"predictions-{split}.safetensors"
            self.assertEqual((self.folder / "pipeline" / name).read_bytes(),
                             (self.folder / "one" / name).read_bytes())

    def test_keys_of_an_own_model_are_checked_like_motleys(self):
        wrong = self.folder / "wrong.toml"
        wrong.write_text(self.config.read_text().replace("channels =", "chanels ="))
        said = call(self.program, "profile", wrong, cwd=self.folder, expect=2)
        self.assertIn("chanels", said)
        self.assertIn("channels", said)
        wrong.write_text(self.config.read_text().replace('workload = "shapes"', 'workload = "shape"'))
        self.assertIn("router, shapes, transformer", call(self.program, "profile", wrong, cwd=self.folder, expect=2))

    def test_the_planner_alone_needs_neither_libtorch_nor_mpi(self):
        prefix = self.folder / "planner"
        call(ARGUMENTS.cmake, "--install", ARGUMENTS.build, "--prefix", prefix, "--component", "planner")
        self.assertFalse((prefix / "lib" / "libmotley_comm.a").exists())
        build = self.folder / "plan_only"
        configure(Path(__file__).parent / "planner_consumer", build, [prefix], "-DCMAKE_BUILD_TYPE=Release")
        call(ARGUMENTS.cmake, "--build", build)
        needed = call("ldd", build / "plan_only")
        for library in ("libtorch", "libc10", "libmpi", "libcuda"):
            self.assertNotIn(library, needed)

        mine = json.loads(call(build / "plan_only", "profile.json", 64, cwd=self.folder))
        theirs = json.loads(call(self.program, "plan", "--profile", "profile.json", "--batch", 64, "--json",
                                 cwd=self.folder))
        self.assertEqual(mine["stages"], theirs["stages"])
        self.assertEqual(mine["prediction"], theirs["prediction"])

        # The engine was not installed here, and asking for it says so.
        source = self.folder / "asks"
        source.mkdir()
        (source / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.25)\nproject(Asks CXX)\n"
                                               "find_package(Motley REQUIRED COMPONENTS engine)\n")
        with self.assertRaisesRegex(AssertionError, "engine"):
            configure(source, self.folder / "asks-build", [prefix])

    def test_the_installed_program_runs_from_its_new_place(self):
        self.assertRegex(call(self.prefix / "bin" / "motley", "--version"), r"^motley \d")

    def test_a_libtorch_of_the_users_comes_first(self):
        mine = self.folder / "libtorch"
        mine.mkdir()
        for name in ("include", "lib"):
            (mine / name).symlink_to(ARGUMENTS.torch.resolve() / name)
        outside = self.folder / "outside"
        configure(self.example, outside, [self.prefix, mine], "-DMOTLEY_DEPS=/nowhere")
        inside = self.folder / "inside"
        # Named as PyTorch names it: torch.utils.cmake_prefix_path.
        configure(ARGUMENTS.source, inside, [mine / "share" / "cmake"], "-DMOTLEY_DEPS=/nowhere",
                  f"-DMOTLEY_ECHARTS={ARGUMENTS.echarts}", "-DMOTLEY_TESTS=OFF", "-DMOTLEY_BENCHMARKS=OFF")
        for build in (outside, inside):
            self.assertEqual(cached(build, "MOTLEY_TORCH_INCLUDE"), str(mine / "include"))
            self.assertEqual(cached(build, "MOTLEY_TORCH_CPU"), str(mine / "lib" / "libtorch_cpu.so"))
        with self.assertRaisesRegex(AssertionError, "LibTorch not found"):
            configure(self.example, self.folder / "without", [self.prefix], "-DMOTLEY_DEPS=/nowhere")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for path in ("source", "build", "torch", "echarts"):
        parser.add_argument(f"--{path}", type=Path, required=True)
    for word in ("cmake", "mpiexec", "launcher"):
        parser.add_argument(f"--{word}", required=True)
    ARGUMENTS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)
