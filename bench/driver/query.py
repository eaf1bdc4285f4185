"""Query: three questions at two sizes, against DuckDB over the same events; then from 16 clients while ingest runs."""

import json
import os
import subprocess
import sys
from datetime import datetime, timezone

from . import machine, place
from .freshness import CONNECTIONS, highest_rate
from .process import run, wait_until
from .results import Runs
from .track import FOLDER_PARTITIONS, load, load_apart, report, standalone

KINDS = ("user-month", "month-by-day", "year-by-month")
SPAN = "365d"
CLIENTS = 16
# Questions a second of all clients together, while ingest runs: what leaves the processors some time to spare.
RATE = 100
QUESTIONS = 200
# Single events after which the highest rate of ingest is known.
RATE_EVENTS = 100_000
DUCKDB_QUESTIONS = 10


def measure(size, runs):
    until = datetime.now(timezone.utc).replace(microsecond=0).isoformat().replace("+00:00", "Z")
    measures, medians = {}, {}
    for events in size.query_events:
        found = at_size(events, until, size, runs)
        measures.update({f"{kind}, {events:,} events": sides for kind, sides in found.items()})
        medians[events] = {kind: sides["track"]["median"]["p50_ms"] for kind, sides in found.items() if kind in KINDS}
    least, most = size.query_events
    growth = {kind: medians[most][kind] / medians[least][kind] for kind in KINDS}
    measures[f"p50 at {most:,} ÷ at {least:,}"] = {"track": growth}
    return measures


def at_size(events, until, size, runs):
    data = place.empty("query")
    made = ["--events", events, "--until", until, "--span", SPAN]
    load("--to", "folder", "--data-dir", data, "--partitions", FOLDER_PARTITIONS, *made)
    load("--to", "csv", "--file", data / "events.csv", *made)
    python = duckdb_python()
    run("duckdb-import", [python, place.DUCKDB / "import.py", data / "events.csv", data / "events.duckdb"])
    (data / "events.csv").unlink()
    # Ready means that all of it is folded.
    with standalone(data).wait_ready(within=3600) as track:
        load("--to", "nothing", "--url", track.url, *made)
        sides = {kind: {"track": Runs(), "duckdb": Runs()} for kind in KINDS}
        for _ in range(runs):
            for kind in KINDS:
                sides[kind]["track"].add(**asked(track, kind, until))
            for kind, found in duckdb(python, data, until, track).items():
                sides[kind]["duckdb"].add(**found)
        found = {kind: {side: runs.summary() for side, runs in both.items()} for kind, both in sides.items()}
        for kind in KINDS:
            p50 = {side: found[kind][side]["median"]["p50_ms"] for side in ("track", "duckdb")}
            found[kind]["duckdb ÷ track"] = {"p50_ms": p50["duckdb"] / p50["track"]}
        for kind, side in while_ingest_runs(track, size, runs).items():
            found[f"{kind} from {CLIENTS} clients while ingest runs"] = {"track": side.summary()}
        track.terminate()
    alone = Runs()
    for _ in range(runs):
        alone.add(**machine.steadiness(size.query_seconds / 2, RATE))
    found[f"the same arithmetic, {RATE} times a second"] = {"the machine alone": alone.summary()}
    return found


def asked(track, kind, until):
    cpu = track.cpu_seconds()
    flags = ["--ask", kind, "--events", QUESTIONS, "--connections", 1, "--until", until]
    found = load("--url", track.url, *flags)
    return {
        "p50_ms": found["latency_ms"]["p50"],
        "p99_ms": found["latency_ms"]["p99"],
        "cpu_ms_a_query": (track.cpu_seconds() - cpu) * 1000 / QUESTIONS,
    }


def while_ingest_runs(track, size, runs):
    sides = {kind: Runs() for kind in KINDS}
    for number in range(runs):
        rate = highest_rate(["--url", track.url, "--seed", 100 + number], RATE_EVENTS) / 2
        for at, kind in enumerate(KINDS):
            events = int(rate * (size.query_seconds + 2))
            paced = ["--rate", rate, "--connections", CONNECTIONS, "--events", events, "--skip-verify"]
            with load_apart("--url", track.url, *paced, "--seed", 1000 + 10 * number + at) as ingest:
                before = track.folded()
                wait_until("ingest has begun", lambda: track.folded() > before, ingest)
                asking = ["--events", RATE * size.query_seconds, "--rate", RATE, "--connections", CLIENTS]
                found = load("--url", track.url, "--ask", kind, *asking)
                report(ingest)
            if found.get("failures"):
                raise RuntimeError(f"not everything was answered: {found['failures']}")
            sides[kind].add(
                p50_ms=found["latency_ms"]["p50"],
                p99_ms=found["latency_ms"]["p99"],
                questions_per_second=found["per_second"],
                ingest_rate_per_second=rate,
            )
    return sides


def duckdb(python, data, until, track):
    """The same questions; the answers must be the same too."""
    command = [python, place.DUCKDB / "ask.py", data / "events.duckdb", until, DUCKDB_QUESTIONS]
    found = json.loads(run("duckdb", command)[0])
    for check in found["checks"]:
        rows = track.metrics(check["start"], check["end"], check["more"])
        ours = {row.pop("date"): row for row in rows}
        if ours != check["rows"]:
            raise RuntimeError(f"DuckDB and track do not count the same: {check['more']}")
    return found["kinds"]


def duckdb_python():
    """A Python that finds DuckDB, which is fetched where it is missing."""
    home = place.ROOT / ".cache/duckdb"
    if not (home / "duckdb").is_dir():
        wanted = ["--target", str(home), "-r", str(place.DUCKDB / "requirements.txt")]
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", *wanted], check=True)
    os.environ["PYTHONPATH"] = str(home)
    return sys.executable
