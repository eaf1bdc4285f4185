"""A process that is measured: its time on the processors, its memory, what it wrote."""

import os
import signal
import subprocess
import time
from dataclasses import dataclass

from . import place

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
commands = []


@dataclass
class Usage:
    """What a process used from its start to its end."""

    code: int
    cpu_seconds: float
    rss_peak_bytes: int
    written_bytes: int


class Process:
    """Started with its output in a file of the work folder; killed where it is still there at the end of a `with`."""

    def __init__(self, name, args, stdin=subprocess.DEVNULL, stdout=None, env=None):
        place.WORK.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.log = place.WORK / f"{name}.log"
        self.args = [str(arg) for arg in args]
        commands.append(" ".join(self.args))
        with open(self.log, "ab") as log:
            out = log if stdout is None else stdout
            clean = {key: value for key, value in os.environ.items() if not key.startswith("TRACK_")}
            clean.update(env or {})
            self.child = subprocess.Popen(self.args, stdin=stdin, stdout=out, stderr=log, env=clean)
        self.usage = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    @property
    def pid(self):
        return self.child.pid

    def is_running(self):
        return self.usage is None and os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def cpu_seconds(self):
        """So far, user and system, all threads."""
        with open(f"/proc/{self.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    def rss_bytes(self):
        """What it has in memory now."""
        with open(f"/proc/{self.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))

    def wait(self):
        """Until it ends by itself."""
        if self.usage is None:
            _, status, used = os.wait4(self.pid, 0)
            self.child.returncode = os.waitstatus_to_exitcode(status)
            cpu = used.ru_utime + used.ru_stime
            self.usage = Usage(self.child.returncode, cpu, used.ru_maxrss * 1024, used.ru_oublock * 512)
        return self.usage

    def terminate(self):
        """In good order: anything but exit code 0 is a failure of the run."""
        os.kill(self.pid, signal.SIGTERM)
        usage = self.wait()
        if usage.code != 0:
            raise RuntimeError(f"{self.name} ended with {usage.code}:\n{self.log_end()}")
        return usage

    def kill(self):
        if self.usage is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def log_end(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])


def run(name, args):
    """Runs a command to its end; its output, and what it used."""
    with Process(name, args, stdout=subprocess.PIPE) as process:
        output = process.child.stdout.read().decode()
        usage = process.wait()
        if usage.code != 0:
            raise RuntimeError(f"{' '.join(process.args)}\nended with {usage.code}:\n{output}\n{process.log_end()}")
    return output, usage


def wait_until(what, condition, process=None, within=600, every=0.02):
    """Polls until the condition gives something true, and returns that."""
    deadline = time.monotonic() + within
    while True:
        found = condition()
        if found:
            return found
        if process is not None and not process.is_running():
            raise RuntimeError(f"{what}: {process.name} has ended:\n{process.log_end()}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {within} s")
        time.sleep(every)
