"""Kernels as nvcc compiles them: nothing spills, registers leave the stated occupancy on every architecture, and the
vectorised kernels move 16 bytes at a time. Usage: check_cubin.py NVCC INCLUDE ARCHITECTURE,... FILE..."""

import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# 256 threads a block, at least four blocks a multiprocessor of 65536 registers.
MOST_REGISTERS = 64
# Kernel and the access that its inner loop is about, as PTX has it.
WIDE = {"encode_vectorised": r"ld\.global(\.nc)?\.v4\.(u32|b32|f32)", "decode_vectorised": r"st\.global\.v4\.(u32|b32|f32)"}


def compile_for(nvcc, include, architecture, file, kind, output):
    command = [nvcc, "-std=c++17", "-O3", f"-I{include}", f"-arch={architecture}", f"-{kind}", file, "-o", str(output)]
    if kind == "cubin":
        command += ["-Xptxas", "-v"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}:\n{done.stderr}")
    return done.stderr


def usage_problems(architecture, report):
    """Of ptxas -v: "Compiling entry function 'NAME'", "N bytes stack frame, N bytes spill stores", "Used N registers"."""
    kernels = re.findall(
        r"entry function '(\S+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads.*?"
        r"Used (\d+) registers", report, re.S)
    problems = [] if kernels else [f"{architecture}: ptxas named no kernel"]
    for name, stack, stores, loads, registers in kernels:
        if int(stores) or int(loads) or int(stack):
            problems.append(f"{architecture} {name}: {stack} bytes of stack, {stores} spilt, {loads} loaded back")
        if int(registers) > MOST_REGISTERS:
            problems.append(f"{architecture} {name}: {registers} registers, expected at most {MOST_REGISTERS}")
    return len(kernels), max((int(k[4]) for k in kernels), default=0), problems


def width_problems(ptx):
    problems = []
    entries = re.split(r"\.entry ", ptx)[1:]
    for part, access in WIDE.items():
        bodies = [body for body in entries if part in body.split("(")[0]]
        if not bodies:
            problems.append(f"no kernel {part}")
        problems += [f"{body.split('(')[0]}: no 16-byte access" for body in bodies if not re.search(access, body)]
    return problems


def main(nvcc, include, architectures, *files):
    problems, count, most = [], 0, 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        jobs = []
        for file in files:
            for architecture in architectures.split(","):
                output = Path(folder) / f"{architecture}.{Path(file).stem}.cubin"
                jobs.append((architecture, pool.submit(compile_for, nvcc, include, architecture, file, "cubin", output)))
        for architecture, job in jobs:
            kernels, registers, found = usage_problems(architecture, job.result())
            count, most = count + kernels, max(most, registers)
            problems += found
        ptx = ""
        for file in files:
            output = Path(folder) / f"{Path(file).stem}.ptx"
            compile_for(nvcc, include, "compute_80", file, "ptx", output)
            ptx += output.read_text()
        problems += width_problems(ptx)
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"{count} kernels over {architectures}: {most} registers at most")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
