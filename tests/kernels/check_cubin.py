"""Kernels as nvcc compiled them into the library, for every architecture: nothing spills, registers and shared memory leave
the occupancy that __launch_bounds__ states, and the fast versions move 16 bytes at a time where they say so, in their inner
loops where they have one.

Usage: check_cubin.py CUOBJDUMP NVDISASM LIBRARY ARCHITECTURE,..."""

import os
import re
import subprocess
import sys
from pathlib import Path

# What the smallest multiprocessor of the architectures has.
REGISTERS = 65536
SHARED_BYTES = {"sm_75": 65536}
SHARED_BYTES_ELSEWHERE = 100 * 1024
SHARED_RESERVED = 1024  # of each block, from sm_80 on

# Kernel (a part of its name) -> accesses that every instance of it has, anywhere or inside a loop.
GLOBAL_LOAD = r"\bLDG\.E(\.\w+)*\.128\b"
GLOBAL_STORE = r"\bSTG\.E(\.\w+)*\.128\b"
SHARED_LOAD = r"\bLDS(\.\w+)*\.128\b"
ANYWHERE, IN_LOOP = "anywhere", "in a loop"
CLAIMS = [
    ("adamw_vectorised", GLOBAL_LOAD, ANYWHERE), ("adamw_vectorised", GLOBAL_STORE, ANYWHERE),
    ("sgd_vectorised", GLOBAL_LOAD, ANYWHERE), ("sgd_vectorised", GLOBAL_STORE, ANYWHERE),
    ("chunks_vectorisedIf", GLOBAL_LOAD, ANYWHERE),
    ("convert_vectorisedIft", GLOBAL_LOAD, ANYWHERE), ("convert_vectorisedItf", GLOBAL_STORE, ANYWHERE),
    ("encode_vectorised", GLOBAL_LOAD, ANYWHERE), ("decode_vectorised", GLOBAL_STORE, ANYWHERE),
    ("dropout_vectorisedIf", GLOBAL_LOAD, ANYWHERE), ("dropout_vectorisedIf", GLOBAL_STORE, ANYWHERE),
    ("score_tiledIf", GLOBAL_LOAD, IN_LOOP), ("score_tiled", SHARED_LOAD, IN_LOOP),
    ("model_gradient_tiledIf", GLOBAL_LOAD, IN_LOOP), ("model_gradient_tiled", SHARED_LOAD, IN_LOOP),
]


def stated_occupancy(ptx):
    """Kernel -> (threads a block, blocks a multiprocessor), as the PTX in the library has it from __launch_bounds__."""
    stated = {}
    for name, directives in re.findall(r"\.entry (\w+)\(.*?\)(.*?)\{", ptx, re.S):
        threads = re.search(r"\.maxntid (\d+)", directives)
        blocks = re.search(r"\.minnctapersm (\d+)", directives)
        stated[name] = (int(threads[1]), int(blocks[1])) if threads and blocks else None
    return stated


def by_architecture(dump):
    """Parts of a dump of cuobjdump, put together by architecture: the library has one for each source."""
    parts = {}
    for architecture, text in re.findall(r"arch = (sm_\w+)\n(.*?)(?=\nFatbin|\nmember|\Z)", dump, re.S):
        parts[architecture] = parts.get(architecture, "") + text
    return parts


def usage_problems(architecture, dump, stated):
    problems, most = [], 0
    kernels = re.findall(r"Function (\w+):\n\s*REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)", dump)
    for name in sorted(set(stated) - {kernel[0] for kernel in kernels}):
        problems.append(f"{architecture}: no {name}")
    for name, registers, stack, shared, local in kernels:
        registers, shared = int(registers), int(shared)
        most = max(most, registers)
        if int(stack) or int(local):
            problems.append(f"{architecture} {name}: {stack} bytes of stack and {local} of local memory")
        if not stated.get(name):
            problems.append(f"{architecture} {name}: states no occupancy: give it __launch_bounds__(threads, blocks)")
            continue
        threads, blocks = stated[name]
        allowed = REGISTERS // (threads * blocks) // 8 * 8  # handed out by eight
        if registers > allowed:
            problems.append(f"{architecture} {name}: {registers} registers, at most {allowed} leave {blocks} blocks of {threads}")
        room = SHARED_BYTES.get(architecture, SHARED_BYTES_ELSEWHERE)
        if blocks * (shared + SHARED_RESERVED) > room:
            problems.append(f"{architecture} {name}: {shared} bytes of shared memory, {blocks} blocks do not fit in {room}")
    return problems, len(kernels), most


def loops_of(code):
    """Texts of the loops in a function's SASS: from the target of a backward branch to the branch."""
    lines = [(int(address, 16), text) for address, text in re.findall(r"/\*([0-9a-f]{4,})\*/\s+(.*?);", code)]
    loops = []
    for address, text in lines:
        target = re.search(r"\bBRA(?:\.\w+)* (?:!?\w+, )*`?\(?0x([0-9a-f]+)", text)
        if target and int(target[1], 16) < address:
            loops.append("\n".join(t for a, t in lines if int(target[1], 16) <= a <= address))
    return loops


def width_problems(architecture, dump):
    functions = dict(re.findall(r"Function : (\w+)\n(.*?)(?=\n\s*Function :|\Z)", dump, re.S))
    problems = []
    for part, access, where in CLAIMS:
        instances = [name for name in functions if part in name]
        if not instances:
            problems.append(f"{architecture}: no kernel {part}")
        for name in instances:
            texts = [functions[name]] if where == ANYWHERE else loops_of(functions[name])
            if not any(re.search(access, text) for text in texts):
                problems.append(f"{architecture} {name}: no {access} {where}")
    return problems


def main(cuobjdump, nvdisasm, library, architectures):
    environment = {**os.environ, "PATH": f"{Path(nvdisasm).parent}:{os.environ['PATH']}"}  # cuobjdump calls it

    def dump(*options):
        done = subprocess.run([cuobjdump, *options, library], capture_output=True, text=True, env=environment)
        if done.returncode:
            sys.exit(f"cuobjdump {' '.join(options)}: {done.stderr}")
        return done.stdout

    stated = stated_occupancy(dump("--dump-ptx"))
    usage, code = by_architecture(dump("--dump-resource-usage")), by_architecture(dump("--dump-sass"))
    wanted = architectures.split(",")
    problems = [] if stated else ["the library has no PTX for GPUs to come"]
    problems += [f"{part}: expected {', '.join(wanted)}, found {', '.join(found)}"
                 for part, found in [("resource usage", usage), ("SASS", code)] if sorted(found) != sorted(wanted)]
    count = most = 0
    for architecture in wanted:
        found, kernels, registers = usage_problems(architecture, usage.get(architecture, ""), stated)
        problems += found + width_problems(architecture, code.get(architecture, ""))
        count, most = count + kernels, max(most, registers)
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"{len(stated)} kernels, {count} over {architectures}: {most} registers at most, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
