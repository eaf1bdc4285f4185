"""What came of it: bench/results.json, to which each part adds its own, and bench/results.md made from that."""

import json
import re
import statistics
import sys

from . import goals, machine, place

FILE = place.ROOT / "bench/results.json"
TABLE = place.ROOT / "bench/results.md"


def median(values):
    return statistics.median(values)


class Runs:
    """The runs of one side of a measure: each a dictionary of numbers with the same names."""

    def __init__(self):
        self.runs = []

    def add(self, **numbers):
        self.runs.append(numbers)

    def medians(self):
        return {name: median([run[name] for run in self.runs]) for name in self.runs[0]}

    def over(self, other):
        """Events a second as a multiple of another side's, of the clock and of the process's own."""
        ours, theirs = self.medians(), other.medians()
        return {name: ours[name] / theirs[name] for name in ("events_per_second", "events_per_cpu_second")}

    def summary(self):
        return {"median": self.medians(), "runs": self.runs}


def keep(part, size, measures, commands):
    """Puts the measures of a part into the file."""
    results = json.loads(FILE.read_text()) if FILE.exists() else {}
    results.setdefault("parts", {})[part] = {
        "size": size.name,
        "machine": machine.describe(),
        "versions": machine.versions(),
        "measures": measures,
        "commands": sorted({in_general(command) for command in commands}),
    }
    FILE.write_text(json.dumps(results, indent=1) + "\n")
    TABLE.write_text(table(results))


def in_general(command):
    """A command without what differs from run to run."""
    command = command.replace(str(place.WORK), "WORK").replace(sys.executable, "python3").replace(str(place.ROOT) + "/", "")
    command = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", command)
    command = re.sub(r"--rate \d+\.\d+ (.*)--events \d+", r"--rate HALF \1--events FOR-THE-TIME", command)
    command = re.sub(r"--events \d+ --rate \d+\.\d+", "--events FOR-THE-TIME --rate HALF", command)
    return re.sub(r"(--seed |bench-|bench-streams-)\d+", r"\1N", command)


def table(results):
    lines = ["# Results", "", "Medians; every run is in results.json.", ""]
    lines += ["## Goals", "", *goals.table(results["parts"]), ""]
    for part, found in results["parts"].items():
        lines += [f"## {part} ({found['size']}, {found['versions']['track']} at {found['versions']['commit']})", ""]
        on = found["machine"]
        lines += [f"{on['cpu']}, {on['cores']} cores, {on['memory_gib']} GiB, Linux {on['kernel']}", ""]
        lines += ["| measure | side | numbers |", "|---|---|---|"]
        for measure, sides in found["measures"].items():
            for side, summary in sides.items():
                numbers = summary["median"] if isinstance(summary, dict) and "median" in summary else summary
                lines.append(f"| {measure} | {side} | {words(numbers)} |")
        lines.append("")
    return "\n".join(lines)


def words(numbers):
    if not isinstance(numbers, dict):
        return number(numbers)
    return ", ".join(f"{name} {number(value)}" for name, value in numbers.items())


def number(value):
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
