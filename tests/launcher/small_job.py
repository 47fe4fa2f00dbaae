"""A job of seconds on synthetic data, for tests that look at what the program prints and leaves."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

CONFIG = """
run_directory = "{run}"
workload = "router"
[workload_options]
data = "synthetic"
width = 32
blocks = 4
hidden = 32
[train]
steps = {steps}
global_batch = 64
[profile]
micro_batch_sizes = [16]
repeats = 3
[plan]
planner = "uniform"  # two stages, whatever the machine does
[devices]
ranks = 2
"""


def read_arguments(description, *more):
    """What the build tells a test: (its --program, its --source and what `more` names; unittest's own words)."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=lambda name: Path(name).resolve(), required=True)
    parser.add_argument("--source", type=Path, required=True)
    for option in more:
        parser.add_argument(option, required=True)
    known, rest = parser.parse_known_args()
    return known, [sys.argv[0], *rest]


def write_config(folder, steps=20):
    file = folder / "job.toml"
    file.write_text(CONFIG.format(run=folder / "run", steps=steps))
    return file


def motley(program, source, *words, expect=0):
    """(stdout, stderr), both piped."""
    done = subprocess.run([program, *map(str, words)], cwd=source, capture_output=True, text=True, timeout=200, check=False,
                          stdin=subprocess.DEVNULL)
    if done.returncode != expect:
        raise AssertionError(f"motley {' '.join(map(str, words))}: exit code {done.returncode}, expected {expect}\n"
                             f"{done.stdout}{done.stderr}")
    return done.stdout, done.stderr


def on_terminal(program, source, *words, columns=100):
    """What the program writes to a terminal of so many columns, as its only stdin, stdout and stderr."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen([program, *map(str, words)], cwd=source, stdin=theirs, stdout=theirs, stderr=theirs,
                               start_new_session=True)
    os.close(theirs)
    text = b""
    try:
        while True:
            part = os.read(ours, 65536)
            if not part:
                break
            text += part
    except OSError:
        pass  # the other end is closed: Linux says EIO
    os.close(ours)
    return process.wait(60), text.decode()
