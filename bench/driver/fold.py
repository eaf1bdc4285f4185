"""Fold: a log that is full already, drained into state, caught up and flushed."""

import json
import time
from datetime import date, timedelta

from . import place
from .process import run, wait_until
from .results import Runs
from .track import FOLDER_PARTITIONS, Broker, Track, load, standalone

PARTITIONS = 12
UNTIL = "2025-06-01T12:00:00Z"
# A look costs the process that is looked at something.
LOOK_EVERY = 0.05
DAYS = 37  # a span of 30, and a week for what is late


def measure(size, runs):
    with Broker() as broker:
        measures = {"fold from Kafka": from_kafka(broker, size, runs)}
    measures["fold from the embedded log"] = from_folder(size, runs)
    return measures


def from_kafka(broker, size, runs):
    kafka = ["--kafka-brokers", broker.address]
    events = ["--events", size.fold_events, "--until", UNTIL]
    load("--to", "kafka", *kafka, *events)
    sides = {"track": Runs(), "kafka-streams": Runs(), "raw-drain": Runs()}
    for number in range(runs):
        folder = place.empty("fold-kafka")
        flags = [*kafka, "--data-dir", folder / "track", "--group", f"bench-{number}"]
        sides["track"].add(**drain(Track("processor", *flags), size.fold_events))
        sides["raw-drain"].add(**peer("raw-drain", [place.binary("raw-drain"), *kafka]))
        answers = folder / "answers.json"
        sides["kafka-streams"].add(**peer("kafka-streams", streams(broker, folder / "streams", answers, number)))
    check(kafka, flags, events, answers)
    return with_ratios(sides)


def streams(broker, state, answers, number):
    # With 2 GiB, plenty for two million events, ten million are folded in garbage collections, until it gives up.
    java = ["java", "-Xmx6g", "-XX:+UseParallelGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    jars = f"{place.STREAMS}/target/peer.jar:{place.STREAMS}/target/jars/*"
    return [*java, "-cp", jars, "track.bench.Main", broker.address, state, answers, f"bench-streams-{number}"]


def from_folder(size, runs):
    data = place.empty("fold-folder")
    load("--to", "folder", "--data-dir", data, "--partitions", FOLDER_PARTITIONS, "--events", size.fold_events, "--until", UNTIL)
    sides = {"track": Runs(), "log-drain": Runs()}
    for _ in range(runs):
        place.empty("fold-folder/state")
        sides["track"].add(**drain(standalone(data), size.fold_events))
        drained = peer("log-drain", [place.binary("log-drain"), "--log", data / "log", "--partitions", FOLDER_PARTITIONS])
        sides["log-drain"].add(**drained)
    with standalone(data).wait_ready() as track:
        load("--to", "nothing", "--url", track.url, "--events", size.fold_events, "--until", UNTIL)
        track.terminate()
    return with_ratios(sides)


def drain(track, events):
    """From the last look at which nothing was folded until everything is, and then until it is flushed and the process gone."""
    with track:
        began = [time.monotonic(), 0.0]

        def is_begun():
            moment = [time.monotonic(), track.cpu_seconds()]
            if track.folded() > 0:
                return True
            began[:] = moment
            return False

        wait_until("the first fold", is_begun, track, every=LOOK_EVERY)
        wait_until("the last fold", lambda: track.folded() >= events, track, every=LOOK_EVERY)
        caught_up = time.monotonic() - began[0]
        usage = track.terminate()
        seconds = time.monotonic() - began[0]
    cpu = usage.cpu_seconds - began[1]
    return {
        "events_per_second": events / seconds,
        "events_per_cpu_second": events / cpu,
        "seconds": seconds,
        "caught_up_seconds": caught_up,
        "cpu_seconds": cpu,
        "rss_peak_bytes": usage.rss_peak_bytes,
    }


def peer(name, command):
    output, usage = run(name, command)
    found = json.loads(output.splitlines()[-1])
    return {
        "events_per_second": found["done"] / found["seconds"],
        "events_per_cpu_second": found["done"] / found["cpu_seconds"],
        "seconds": found["seconds"],
        "cpu_seconds": found["cpu_seconds"],
        "rss_peak_bytes": usage.rss_peak_bytes,
    }


def with_ratios(sides):
    found = {side: runs.summary() for side, runs in sides.items()}
    for side, runs in sides.items():
        if side != "track":
            found[f"track ÷ {side}"] = sides["track"].over(runs)
    return found


def check(kafka, flags, events, answers):
    """Ours against what was sent, theirs against ours."""
    with Track("processor", *flags).wait_ready(), Track("query", *kafka).wait_ready() as query:
        load("--to", "nothing", "--url", query.url, *events)
        last = date.fromisoformat(UNTIL[:10])
        rows = query.metrics(last - timedelta(days=DAYS), last)
    ours = {row.pop("date"): row for row in rows}
    theirs = json.loads(answers.read_text())["counts"]
    if ours != theirs:
        raise RuntimeError("Kafka Streams and track do not count the same")
