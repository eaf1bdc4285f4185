"""Scale: the same log folded by one processor and by two, and the same questions to 12 partitions and to 96."""

import contextlib
import time

from . import place
from .fold import UNTIL
from .process import wait_until
from .query import KINDS, asked
from .results import Runs
from .track import Broker, Track, load

PARTITIONS = (12, 48, 96)
PROCESSORS = (1, 2)
LOOK_EVERY = 0.1
RUNS_MAX = 3


def measure(size, runs):
    runs, measures = min(runs, RUNS_MAX), {}
    with Broker() as broker:
        kafka = ["--kafka-brokers", broker.address]
        load("--to", "kafka", *kafka, "--events", size.fold_events, "--until", UNTIL)
        sides = {count: Runs() for count in PROCESSORS}
        for number in range(runs):
            for count, side in sides.items():
                side.add(**folded_by(kafka, count, size, f"{number}-{count}"))
        measures["fold from Kafka"] = {named(count, "processor"): side.summary() for count, side in sides.items()}
    found_of = {}
    for count in PARTITIONS:
        for kind, side in asked_of(count, size, runs).items():
            found_of.setdefault(kind, {})[named(count, "partition")] = side.summary()
    for kind, found in found_of.items():
        least, most = (found[named(count, "partition")]["median"]["p50_ms"] for count in (PARTITIONS[0], PARTITIONS[-1]))
        measures[f"{kind} from Kafka's partitions"] = {**found, f"{PARTITIONS[-1]} ÷ {PARTITIONS[0]}": {"p50_ms": most / least}}
    return measures


def named(count, what):
    return f"{count} {what}{'s' if count > 1 else ''}"


def folded_by(kafka, count, size, name):
    """From the start of the processors, which is part of it, to the last event."""
    folder = place.empty("scale")
    with contextlib.ExitStack() as stack:
        began = time.monotonic()
        processors = [
            stack.enter_context(Track("processor", *kafka, "--data-dir", folder / str(number), "--group", f"bench-scale-{name}"))
            for number in range(count)
        ]
        wait_until(
            "the last fold", lambda: sum(one.folded() for one in processors) >= size.fold_events, processors[0], every=LOOK_EVERY
        )
        seconds = time.monotonic() - began
        cpu = sum(one.terminate().cpu_seconds for one in processors)
    return {
        "events_per_second": size.fold_events / seconds,
        "events_per_cpu_second": size.fold_events / cpu,
        "seconds": seconds,
    }


def asked_of(count, size, runs):
    """One client's questions to one processor that has all partitions; the answers are checked before."""
    sides = {kind: Runs() for kind in KINDS}
    made = ["--events", size.query_events[0], "--until", UNTIL]
    with contextlib.ExitStack() as stack:
        kafka = ["--kafka-brokers", stack.enter_context(Broker()).address, "--partitions", count]
        load("--to", "kafka", *kafka, *made)
        data = place.empty("scale")
        stack.enter_context(Track("processor", *kafka, "--data-dir", data).wait_ready())
        query = stack.enter_context(Track("query", *kafka).wait_ready())
        load("--to", "nothing", "--url", query.url, *made)
        for _ in range(runs):
            for kind, side in sides.items():
                side.add(**asked(query, kind, UNTIL))
    return sides
