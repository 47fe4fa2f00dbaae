"""Jobs of ranks that a script starts, watches and harms. Linux only: it reads /proc."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path


def mpirun(ranks):
    """The words that start so many ranks, without mpirun's own paragraphs about a rank that failed."""
    as_root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    return ["mpirun", "--quiet", *as_root, "--oversubscribe", "--bind-to", "none", "-n", str(ranks)]


def environment_of(pid):
    """As the process began; {} where it is gone or not ours."""
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    return dict(entry.split(b"=", 1) for entry in entries if b"=" in entry)


def state_of(pid):
    """The letter of /proc/PID/stat, "" where the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def first_line(path):
    try:
        return Path(path).read_text().partition("\n")[0]
    except OSError:
        return "?"


def description_of(pid):
    """What a process that should be gone is doing, on several lines: every thread's state, where it waits in the kernel,
    and its stack where there is a gdb."""
    lines = [f"process {pid}: {first_line(f'/proc/{pid}/cmdline').replace(chr(0), ' ')[:200]}"]
    try:
        threads = sorted(os.listdir(f"/proc/{pid}/task"), key=int)
    except OSError:
        return f"process {pid}: gone meanwhile"
    for thread in threads:
        place = f"/proc/{pid}/task/{thread}"
        lines.append(f"  thread {thread} {first_line(f'{place}/comm')}: state {state_of(f'{pid}/task/{thread}')}, "
                     f"waits in {first_line(f'{place}/wchan')}")
    if shutil.which("gdb") and state_of(pid) != "D":
        words = ["gdb", "--batch", "-nx", "-p", str(pid), "-ex", "thread apply all backtrace 12"]
        try:
            stacks = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=30)
            lines += [f"  {line[:160]}" for line in stacks.stdout.splitlines() if line.startswith(("#", "Thread"))]
        except subprocess.TimeoutExpired:
            lines.append("  gdb found nothing within 30 s")
    return "\n".join(lines)


class Job:
    """Ranks under mpirun in a process group of their own, recognised by a variable of their environment.

    No call waits without a limit, whatever the ranks do: what they say goes to a file, so that a process that lives on
    and holds it keeps nobody waiting.
    """

    MARK = "MOTLEY_JOB_OF_A_TEST"

    def __init__(self, words, folder, result=False):
        """`result`: stdout is what counts, not stderr."""
        self.mark = f"{os.getpid()}-{time.monotonic_ns()}"
        self.names = set()  # of the job in Open MPI, as far as they were seen
        self.output = tempfile.TemporaryFile()
        self.process = subprocess.Popen([str(word) for word in words], cwd=folder, stdin=subprocess.DEVNULL,
                                        stdout=self.output if result else subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL if result else self.output,
                                        start_new_session=True, env={**os.environ, self.MARK: self.mark})

    def processes(self):
        """Every living process that descends from this job, wherever its parents went: pid to its rank or None."""
        found = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            environment = environment_of(entry)
            if environment.get(self.MARK.encode()) == self.mark.encode() and state_of(entry) not in ("", "Z"):
                rank = environment.get(b"PMIX_RANK")
                self.names.add(environment.get(b"PMIX_NAMESPACE", b"").decode())
                found[int(entry)] = None if rank is None else int(rank)
        return found

    def pid_of(self, rank, patience=20.0):
        """Of the process that mpirun started as this rank, waited for; None where the job ended first."""
        until = time.monotonic() + patience
        while time.monotonic() < until and self.process.poll() is None:
            for pid, of in self.processes().items():
                if of == rank:
                    return pid
            time.sleep(0.005)
        return None

    def said(self):
        """So far. Reads at a place of its own: where the file stands is shared with the ranks."""
        descriptor = self.output.fileno()
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace")

    def wait(self, limit):
        """(exit code or None where it still runs after `limit` seconds, what it said)."""
        try:
            code = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        return code, self.said()

    def end(self, describe=None):
        """Nothing of the job lives on; returns what had to be killed, each described first to `describe`, a list."""
        left = self.processes()
        if describe is not None:
            describe += [description_of(pid) for pid in left]
        until = time.monotonic() + 10.0
        while (alive := self.processes()) and time.monotonic() < until:
            for pid in alive:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.02)
        if self.process.poll() is None:
            self.process.kill()
        try:
            self.process.wait(10.0)
        except subprocess.TimeoutExpired:
            left.setdefault(self.process.pid, None)  # SIGKILL did not end it: it waits in the kernel
        self.output.close()
        return left


def wait_until(condition, patience, step=0.01):
    """Whether `condition()` came true in time."""
    until = time.monotonic() + patience
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(step)
    return True
