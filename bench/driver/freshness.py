"""Freshness: from an event's 200 to its being in the answer of /metrics, while events come at half the highest rate."""

import contextlib

from . import place
from .results import Runs
from .track import Broker, Track, load, standalone

CONNECTIONS = 64
PROBES_PER_SECOND = 20


def measure(size, runs):
    return {
        "embedded": fresh(size, runs, embedded),
        "Kafka": fresh(size, runs, on_kafka),
    }


@contextlib.contextmanager
def embedded():
    with standalone(place.empty("freshness")).wait_ready() as track:
        yield ["--url", track.url]
        track.terminate()


@contextlib.contextmanager
def on_kafka():
    folder = place.empty("freshness")
    with contextlib.ExitStack() as stack:
        kafka = ["--kafka-brokers", stack.enter_context(Broker()).address]
        ingest = stack.enter_context(Track("ingest", *kafka).wait_ready())
        processor = stack.enter_context(Track("processor", *kafka, "--data-dir", folder).wait_ready())
        query = stack.enter_context(Track("query", *kafka).wait_ready())
        yield ["--url", ingest.url, "--query-url", query.url]
        for service in (ingest, query, processor):
            service.terminate()


def highest_rate(to, events):
    """As many single events a second as are taken."""
    return load(*to, "--events", events, "--connections", CONNECTIONS, "--skip-verify")["per_second"]


def fresh(size, runs, start):
    side = Runs()
    for number in range(runs):
        with start() as to:
            rate = highest_rate(to, size.single_events) / 2
            events = int(rate * size.freshness_seconds)
            paced = ["--rate", rate, "--connections", CONNECTIONS, "--freshness", PROBES_PER_SECOND]
            found = load(*to, "--events", events, "--seed", number + 2, *paced)
        if found["probes_lost"] or found.get("failures"):
            raise RuntimeError(f"lost: {found}")
        side.add(
            rate_per_second=rate,
            seen_p50_ms=found["freshness_ms"]["p50"],
            seen_p99_ms=found["freshness_ms"]["p99"],
            seen_max_ms=found["freshness_ms"]["max"],
            probes=found["freshness_ms"]["count"],
            answer_p50_ms=found["latency_ms"]["p50"],
            answer_p99_ms=found["latency_ms"]["p99"],
        )
    return {"track": side.summary()}
