"""Ingest: one event a request against warp with a constant answer; batches against serde_json alone."""

import contextlib

from . import place
from .fold import peer
from .process import wait_until
from .results import Runs
from .track import Broker, Process, Track, free_port, get, load, standalone

CONNECTIONS = (64, 256)
BATCH = 1_000
BATCH_CONNECTIONS = 8


def measure(size, runs):
    measures = {}
    for connections in CONNECTIONS:
        measures[f"one event a request, {connections} connections"] = singles(size, runs, connections)
    measures["batches of 1,000, nobody folds"] = batches(size, runs)
    measures["batches of 1,000, everything in one process"] = accepted_and_folded(size, runs)
    return measures


def singles(size, runs, connections):
    sides = {side: Runs() for side in ("track, embedded", "track, Kafka", "track, Kafka, --spool", "warp-constant")}
    events = ["--events", size.single_events, "--connections", connections]
    with Broker() as broker:
        # A broker that has just started compiles itself as it goes: what it does first takes twice as long, and is not counted.
        with Track("ingest", "--kafka-brokers", broker.address).wait_ready() as server:
            served(server, *events, "--skip-verify")
            server.terminate()
        for _ in range(runs):
            with warp() as server:
                sides["warp-constant"].add(**served(server, *events, "--skip-verify"))
            with standalone(place.empty("ingest")).wait_ready() as server:
                sides["track, embedded"].add(**served(server, *events))
                server.terminate()
            with Track("ingest", "--kafka-brokers", broker.address).wait_ready() as server:
                sides["track, Kafka"].add(**served(server, *events, "--skip-verify"))
                server.terminate()
            # Nothing is spooled: what it costs to be prepared.
            spool = ["--spool", place.empty("spool")]
            with Track("ingest", "--kafka-brokers", broker.address, *spool).wait_ready() as server:
                sides["track, Kafka, --spool"].add(**served(server, *events, "--skip-verify"))
                server.terminate()
    found = {side: runs.summary() for side, runs in sides.items()}
    for side in ("track, embedded", "track, Kafka"):
        found[f"{side} ÷ warp-constant"] = sides[side].over(sides["warp-constant"])
    found["track, Kafka, --spool ÷ track, Kafka"] = sides["track, Kafka, --spool"].over(sides["track, Kafka"])
    return found


def batches(size, runs):
    """What the server itself uses, since nothing else runs in it; the peer parses the same lines on one core."""
    lines = place.WORK / "events.ndjson"
    load("--to", "ndjson", "--file", lines, "--events", size.batch_events)
    sides = {"track, plain": Runs(), "track, gzip": Runs(), "serde-only": Runs()}
    events = ["--events", size.batch_events, "--batch", BATCH, "--connections", BATCH_CONNECTIONS, "--skip-verify"]
    for _ in range(runs):
        sides["serde-only"].add(**peer("serde-only", [place.binary("serde-only"), "--file", lines]))
        for side, packed in (("track, plain", []), ("track, gzip", ["--gzip"])):
            with ingest_only(place.empty("ingest")) as server:
                sides[side].add(**served(server, *events, *packed))
    found = {side: runs.summary() for side, runs in sides.items()}
    theirs = sides["serde-only"].medians()
    for side in ("track, plain", "track, gzip"):
        ours = sides[side].medians()
        name = "events_per_cpu_second"
        found[f"{side} ÷ serde-only"] = {name: ours[name] / theirs[name]}
    return found


def accepted_and_folded(size, runs):
    side = {"plain": Runs(), "gzip": Runs()}
    events = ["--events", size.batch_events, "--batch", BATCH, "--connections", BATCH_CONNECTIONS]
    for _ in range(runs):
        for name, packed in (("plain", []), ("gzip", ["--gzip"])):
            with standalone(place.empty("ingest")).wait_ready() as server:
                found = load("--url", server.url, *events, *packed)
                server.terminate()
            side[name].add(
                accepted_per_second=found["per_second"],
                accepted_durable_and_folded_per_second=found["counted_per_second"],
                latency_p99_ms=found["latency_ms"]["p99"],
            )
    return {name: runs.summary() for name, runs in side.items()}


def served(server, *flags):
    """A load, and what the server used for it."""
    before = server.cpu_seconds()
    found = load("--url", f"http://127.0.0.1:{server.port}", *flags)
    if found.get("failures"):
        raise RuntimeError(f"not everything was taken: {found['failures']}")
    # Of a server that folds, the fold is in it as far as it got.
    cpu = server.cpu_seconds() - before
    return {
        "events_per_second": found["per_second"],
        "events_per_cpu_second": found["done"] / cpu,
        "cpu_seconds": cpu,
        "latency_p50_ms": found["latency_ms"]["p50"],
        "latency_p99_ms": found["latency_ms"]["p99"],
    }


@contextlib.contextmanager
def warp():
    with listening("warp-constant") as server:
        yield server


@contextlib.contextmanager
def ingest_only(folder):
    with listening("ingest-only", "--log", folder / "log") as server:
        yield server


@contextlib.contextmanager
def listening(program, *flags):
    port = free_port()
    with Process(program, [place.binary(program), "--listen", f"127.0.0.1:{port}", *flags]) as server:
        server.port = port
        wait_until("listening", lambda: get(port, "/")[0] != 0, server)
        yield server
