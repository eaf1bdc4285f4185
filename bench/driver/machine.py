"""What was measured on, and with what."""

import os
import platform
import re
import subprocess
import time
from pathlib import Path

from . import place


def describe():
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*:\s*(.*)", cpuinfo)
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    return {
        "cpu": model.group(1) if model else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory.group(1)) / 2**20, 1),
        "kernel": platform.release(),
    }


def versions():
    pom = (place.STREAMS / "pom.xml").read_text()
    java = subprocess.run(["java", "-version"], capture_output=True, text=True).stderr.splitlines()[:1]
    return {
        "track": said([place.binary("track"), "--version"]),
        "commit": said(["git", "-C", str(place.ROOT), "describe", "--always", "--dirty"]),
        "rustc": said(["rustc", "--version"]),
        "java": java[0] if java else "",
        "kafka_streams": re.search(r"<kafka.version>(.*)</kafka.version>", pom).group(1),
        "duckdb": (place.DUCKDB / "requirements.txt").read_text().strip(),
    }


def steadiness(seconds, rate):
    """How long the same arithmetic takes, again and again with pauses: how much of a tail is the machine's own."""
    took = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        total = 0
        for number in range(10_000):
            total += number * number
        took.append((time.monotonic() - began) * 1000)
        time.sleep(max(0, 1 / rate - took[-1] / 1000))
    took.sort()
    return {"p50_ms": took[len(took) // 2], "p99_ms": took[len(took) * 99 // 100], "max_ms": took[-1]}


def said(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
