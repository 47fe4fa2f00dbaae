#!/usr/bin/env python3
"""What a person sees on a terminal, what a log gets, and what --quiet leaves of it.

Usage: terminal_test.py --program MOTLEY --source FOLDER
"""

import re
import tempfile
import unittest
from pathlib import Path

from small_job import motley, on_terminal, read_arguments, write_config

ARGUMENTS = None
CLEAR = "\r\x1b[K"


class Terminal(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="motley-terminal-")
        self.addCleanup(folder.cleanup)
        self.config = write_config(Path(folder.name), steps=400)

    def run_on_terminal(self, *words, columns=100):
        code, text = on_terminal(ARGUMENTS.program, ARGUMENTS.source, "run", self.config, *words, columns=columns)
        self.assertEqual(code, 0, text)
        return text

    def test_training_is_a_bar_with_throughput_and_time_left(self):
        text = self.run_on_terminal()
        frames = re.findall(r"\r\x1b\[K(train \(uniform\) \[#*-*\] step (\d+)/400 loss [\d.]+, \d+ samples/s, [\d:]+ left)", text)
        self.assertGreater(len(frames), 2, text)
        steps = [int(step) for _, step in frames]
        self.assertEqual(steps, sorted(steps))
        for frame, step in frames:
            bar = re.search(r"\[(#*)(-*)\]", frame)
            self.assertAlmostEqual(len(bar[1]) / len(bar[1] + bar[2]), int(step) / 400, delta=0.05)
        # Once, when it is done, as a line that stays.
        self.assertEqual(len(re.findall(r"step 400/400 [^\r\n]*took [\d:]+\r?\n", text)), 1)

    def test_a_narrow_terminal_gets_lines_that_fit(self):
        text = self.run_on_terminal(columns=40)
        frames = re.findall(r"\r\x1b\[K(train [^\r\n\x1b]*)", text)
        self.assertGreater(len(frames), 2, text)
        for frame in frames:
            self.assertLess(len(frame), 40)

    def test_a_pipe_gets_plain_lines(self):
        _, err = motley(ARGUMENTS.program, ARGUMENTS.source, "run", self.config)
        self.assertNotIn("\x1b", err)
        self.assertNotIn("\r", err)
        lines = re.findall(r"^info train \(uniform\): step (\d+)/400 loss .* samples/s, .*$", err, re.MULTILINE)
        self.assertEqual(lines[0], "1")
        self.assertEqual(lines[-1], "400")
        self.assertEqual(len(lines), 11)
        self.assertIn("info profile: links", err)

    def test_quiet_is_quiet_and_results_still_come(self):
        out, err = motley(ARGUMENTS.program, ARGUMENTS.source, "run", self.config, "-q")
        self.assertEqual(err, "")
        self.assertIn("samples/s", out)
        self.assertNotIn(CLEAR, self.run_on_terminal("--quiet"))

    def test_quiet_does_not_hide_errors(self):
        _, err = motley(ARGUMENTS.program, ARGUMENTS.source, "run", "nowhere.toml", "-q", expect=2)
        self.assertIn("nowhere.toml", err)


if __name__ == "__main__":
    ARGUMENTS, words = read_arguments(__doc__)
    unittest.main(argv=words, verbosity=2)
