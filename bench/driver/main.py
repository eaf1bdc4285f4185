"""The command line: which parts, how large, how often."""

import argparse
import subprocess
import time

from . import fold, freshness, ingest, moves, place, query, results, scale, state
from .process import commands

PARTS = {
    "fold": fold.measure,
    "ingest": ingest.measure,
    "query": query.measure,
    "freshness": freshness.measure,
    "memory": state.memory,
    "start": state.start,
    "moves": moves.measure,
    "scale": scale.measure,
}


RUNS = 5
# Each run takes a minute or two.
RUNS_OF = {"moves": 3, "scale": 3}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all of them where none is named")
    parser.add_argument("--size", choices=place.SIZES, default="small")
    parser.add_argument("--runs", type=int, help="interleaved runs of each side, of which medians are taken; 5, of moves and scale 3")
    flags = parser.parse_args()
    unknown = [part for part in flags.parts if part not in PARTS]
    if unknown:
        parser.error(f"{unknown[0]} is no part")
    size = place.SIZES[flags.size]
    parts = flags.parts or list(PARTS)
    if "fold" in parts:
        # Quietly, and from the cache where nothing changed.
        subprocess.run(["mvn", "-q", "-B", "-f", str(place.STREAMS / "pom.xml"), "package"], check=True)
    for part in parts:
        began = time.monotonic()
        commands.clear()
        runs = flags.runs or RUNS_OF.get(part, RUNS)
        print(f"{part}, {size.name}, {runs} runs each", flush=True)
        found = PARTS[part](size, runs)
        results.keep(part, size, found, commands)
        print(f"{part}: {time.monotonic() - began:.0f} s", flush=True)
    print(f"\n{results.TABLE.read_text()}")
    return 0
