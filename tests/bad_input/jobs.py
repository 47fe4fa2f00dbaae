"""Jobs of ranks that a script starts, watches and harms. Linux only: it reads /proc."""

import os
import signal
import subprocess
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


class Job:
    """Ranks under mpirun in a process group of their own, recognised by a variable of their environment."""

    MARK = "MOTLEY_JOB_OF_A_TEST"

    def __init__(self, words, folder, result=False):
        """`result`: stdout is what counts, not stderr."""
        self.mark = f"{os.getpid()}-{time.monotonic_ns()}"
        self.names = set()  # of the job in Open MPI, as far as they were seen
        self.process = subprocess.Popen([str(word) for word in words], cwd=folder, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE if result else subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL if result else subprocess.PIPE, text=True,
                                        start_new_session=True,
                                        env={**os.environ, self.MARK: self.mark})

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

    def wait(self, limit):
        """(exit code or None where it still runs after `limit` seconds, what it said)."""
        try:
            out, err = self.process.communicate(timeout=limit)
            return self.process.returncode, out or err or ""
        except subprocess.TimeoutExpired:
            return None, ""

    def end(self):
        """Nothing of the job lives on; returns what had to be killed."""
        left = self.processes()
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        return left


def wait_until(condition, patience, step=0.01):
    """Whether `condition()` came true in time."""
    until = time.monotonic() + patience
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(step)
    return True
