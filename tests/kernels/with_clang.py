"""The emulator and its race detector built by clang++, which announces memory accesses in its own way.

Usage: with_clang.py CLANGXX SOURCE_FOLDER INCLUDE_FOLDER (links -lgtest -lgmock -lboost_context)"""

import subprocess
import sys
import tempfile
from pathlib import Path


def main(compiler, source, include):
    kernels, tests = Path(source) / "kernels", Path(source) / "tests"
    flags = ["-std=c++20", "-O1", f"-I{include}", f"-I{tests}", "-DMOTLEY_EMULATOR_SEES_RACES"]
    units = [(kernels / "emulator" / name, []) for name in ("emulator.cpp", "race_detector.cpp", "instrumentation.cpp")]
    units += [(tests / "kernels" / "faulty_kernels.cu", ["-fsanitize=thread", "-x", "c++"]),
              (tests / "kernels" / "emulator_test.cpp", [])]
    with tempfile.TemporaryDirectory() as folder:
        objects = []
        for file, own in units:
            objects.append(Path(folder) / f"{file.stem}.o")
            subprocess.run([compiler, *flags, *own, "-c", file, "-o", objects[-1]], check=True)
        program = Path(folder) / "test"
        subprocess.run([compiler, *objects, "-o", program, "-lgtest", "-lgmock", "-lgtest_main", "-lboost_context",
                        "-lpthread"], check=True)
        return subprocess.run([program]).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
