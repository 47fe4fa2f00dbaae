#!/usr/bin/env python3
"""The rooms as their CMakeLists.txt declare them, against the sources and the libraries that were built.

Usage: structure_test.py SOURCE_FOLDER BUILD_FOLDER (the build may lack rooms: preset planner)
"""

import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE = BUILD = None

PLANNER_ROOMS = {"base", "plan", "record", "config", "schedule", "partitioner"}
# What may not be reached from where, however many rooms lie between.
STRANGERS = [("partitioner", "runtime"), ("runtime", "partitioner"), ("comm", "device"), ("comm", "workloads")]
LIBTORCH = r"^(torch|ATen|c10|caffe2)/"
FOREIGN_HEADERS = {room: rf"{LIBTORCH}|^mpi\.h|^(cuda|nccl|cublas)" for room in PLANNER_ROOMS}
FOREIGN_HEADERS["comm"] = rf"{LIBTORCH}|^cuda"  # spans of bytes, no tensors
MAX_LINES = 600


class Rooms:
    """Declared edges, folders, and the headers that each file includes."""

    def __init__(self, source):
        self.source = source
        self.folder, self.allowed = {}, {}
        for file in sorted([*source.glob("csrc/*/CMakeLists.txt"), *source.glob("*/CMakeLists.txt")]):
            for name, body in re.findall(r"^\s*motley_room\((\w+)([^)]*)\)", file.read_text(), re.MULTILINE):
                words = body.split()
                self.folder[name] = file.parent
                self.allowed[name] = set()
                keyword = ""
                for word in words:
                    if word in ("FOLDER", "SOURCES", "ROOMS", "LINK", "PRIVATE_LINK"):
                        keyword = word
                    elif keyword == "ROOMS":
                        self.allowed[name].add(word)

    def files(self, room):
        return sorted(path for path in self.folder[room].rglob("*") if path.suffix in (".h", ".cpp", ".cu", ".cuh"))

    def includes(self, room):
        """(file, header) of every include of the room."""
        for file in self.files(room):
            for header in re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', file.read_text(), re.MULTILINE):
                yield file.relative_to(self.source), header

    def used(self, room):
        """Other rooms whose headers `room` includes, each with one file that does."""
        found = {}
        for file, header in self.includes(room):
            part = header.split("/")
            if part[0] == "motley" and part[1] != room:
                found.setdefault(part[1], file)
        return found

    def reached(self, room):
        seen, waiting = set(), [room]
        while waiting:
            for other in self.allowed[waiting.pop()] - seen:
                seen.add(other)
                waiting.append(other)
        return seen

    def faults(self):
        """Everything that is wrong, in words."""
        faults = []
        for room, allowed in self.allowed.items():
            used = self.used(room)
            faults += [f"{file}: room {room} includes {other}, which its CMakeLists.txt does not name"
                       for other, file in used.items() if other not in allowed]
            faults += [f"room {room} names {other} in its CMakeLists.txt and includes nothing of it"
                       for other in sorted(allowed - set(used))]
            unknown = sorted(allowed - set(self.allowed))
            faults += [f"room {room} names {other}, which is no room" for other in unknown]
            if unknown:
                continue
            if room in self.reached(room):
                faults.append(f"room {room} reaches itself")
            if "launcher" in allowed:
                faults.append(f"room {room} uses the launcher")
            if room in PLANNER_ROOMS and not self.reached(room) <= PLANNER_ROOMS:
                faults.append(f"room {room} reaches {sorted(self.reached(room) - PLANNER_ROOMS)}, not the planner's")
            faults += [f"room {room} reaches {other}" for one, other in STRANGERS
                       if one == room and other in self.reached(room)]
            if room in FOREIGN_HEADERS:
                faults += [f"{file}: room {room} includes {header}" for file, header in self.includes(room)
                           if re.search(FOREIGN_HEADERS[room], header)]
            for file in self.files(room):
                lines = file.read_text().count("\n")
                if lines > MAX_LINES:
                    faults.append(f"{file.relative_to(self.source)}: {lines} lines, at most {MAX_LINES}")
        return faults


class Tree(unittest.TestCase):

    def test_rooms_include_what_they_declare_and_no_more(self):
        rooms = Rooms(SOURCE)
        self.assertLessEqual(PLANNER_ROOMS | {"comm", "runtime", "launcher"}, set(rooms.allowed))
        self.assertEqual(rooms.faults(), [])

    def test_libraries_of_the_planner_know_neither_libtorch_nor_mpi_nor_cuda(self):
        for room in sorted(PLANNER_ROOMS):
            libraries = list(BUILD.rglob(f"libmotley_{room}.a"))
            self.assertEqual(len(libraries), 1, room)
            symbols = subprocess.run(["nm", "-u", libraries[0]], check=True, capture_output=True, text=True).stdout
            self.assertIn(" U ", symbols)
            # Mangled names of namespaces at, c10 and torch; MPI's and CUDA's C functions.
            foreign = re.findall(r" U (_ZN[KVrO]*(?:2at|3c10|5torch)\w+|MPI_\w+|cuda\w+|cu[A-Z]\w+|nccl\w+)", symbols)
            self.assertEqual(foreign, [], libraries[0])

    def test_the_planners_program_loads_neither_libtorch_nor_mpi_nor_cuda(self):
        needed = subprocess.run(["ldd", BUILD / "bin" / "test_partitioner"], check=True, capture_output=True,
                                text=True).stdout
        self.assertIn("libstdc++", needed)
        self.assertIsNone(re.search(r"libtorch|libc10|libmpi|libcuda|libnccl", needed), needed)


    def test_kernels_are_launched_by_one_function_and_have_no_inline_ptx(self):
        for file in sorted([*(SOURCE / "kernels").rglob("*"), *(SOURCE / "tests" / "kernels").rglob("*")]):
            if file.suffix in (".cu", ".cuh", ".h", ".cpp"):
                code = re.sub(r"//.*", "", file.read_text())
                self.assertIsNone(re.search(r"<<<|>>>\s*\(|\basm\b|__asm", code), file)


class Checker(unittest.TestCase):
    """The checks themselves, on small trees with one fault each."""

    def faults(self, files):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return Rooms(Path(folder)).faults()

    def test_a_sound_tree_has_no_faults(self):
        self.assertEqual(self.faults({
            "csrc/base/CMakeLists.txt": "motley_room(base SOURCES a.cpp LINK fmt::fmt)",
            "csrc/base/a.cpp": "#include <vector>\n",
            "csrc/plan/CMakeLists.txt": "motley_room(plan\n  SOURCES a.cpp\n  ROOMS base LINK x)",
            "csrc/plan/a.cpp": '#include "motley/base/a.h"\n#include "motley/plan/b.h"\n'}), [])

    def test_includes_and_declared_rooms_must_agree(self):
        tree = {"csrc/base/CMakeLists.txt": "motley_room(base SOURCES a.cpp)",
                "csrc/plan/CMakeLists.txt": "motley_room(plan SOURCES a.cpp)",
                "csrc/plan/a.cpp": '#include "motley/base/a.h"\n'}
        self.assertRegex(" ".join(self.faults(tree)), "plan/a.cpp: room plan includes base")
        tree["csrc/plan/CMakeLists.txt"] = "motley_room(plan SOURCES a.cpp ROOMS base)"
        tree["csrc/plan/a.cpp"] = ""
        self.assertEqual(self.faults(tree), ["room plan names base in its CMakeLists.txt and includes nothing of it"])

    def test_cycles_are_found(self):
        faults = self.faults({"csrc/a/CMakeLists.txt": "motley_room(a SOURCES a.cpp ROOMS b)",
                              "csrc/a/a.cpp": '#include "motley/b/b.h"\n',
                              "csrc/b/CMakeLists.txt": "motley_room(b SOURCES b.cpp ROOMS a)",
                              "csrc/b/b.cpp": '#include "motley/a/a.h"\n'})
        self.assertEqual(faults, ["room a reaches itself", "room b reaches itself"])

    def test_strangers_may_not_meet_even_through_a_third_room(self):
        faults = self.faults({"csrc/runtime/CMakeLists.txt": "motley_room(runtime SOURCES a.cpp ROOMS middle)",
                              "csrc/runtime/a.cpp": '#include "motley/middle/m.h"\n',
                              "csrc/middle/CMakeLists.txt": "motley_room(middle SOURCES m.cpp ROOMS partitioner)",
                              "csrc/middle/m.cpp": '#include "motley/partitioner/p.h"\n',
                              "partitioner/CMakeLists.txt": "motley_room(partitioner SOURCES p.cpp)"})
        self.assertEqual(faults, ["room runtime reaches partitioner"])

    def test_foreign_headers_are_found(self):
        for header in ("ATen/ATen.h", "mpi.h", "cuda_runtime.h"):
            faults = self.faults({"csrc/plan/CMakeLists.txt": "motley_room(plan SOURCES a.cpp)",
                                  "csrc/plan/a.cpp": f"#include <{header}>\n"})
            self.assertEqual(faults, [f"csrc/plan/a.cpp: room plan includes {header}"])

    def test_long_files_are_found(self):
        faults = self.faults({"csrc/plan/CMakeLists.txt": "motley_room(plan SOURCES a.cpp)",
                              "csrc/plan/a.cpp": "\n" * (MAX_LINES + 1)})
        self.assertEqual(len(faults), 1)


if __name__ == "__main__":
    SOURCE, BUILD = Path(sys.argv[1]), Path(sys.argv[2])
    unittest.main(argv=sys.argv[:1], verbosity=2)
