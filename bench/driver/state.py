"""A large state: the memory it takes to make it, the disk it takes to keep it, the time it takes to open it."""

import json
import time

from . import place
from .process import run, wait_until
from .results import Runs, median
from .track import FOLDER_PARTITIONS, load, standalone

UNTIL = "2025-06-01T12:00:00Z"
SAMPLE_EVERY = 0.5


def memory(size, runs):
    """Once: it takes long, and memory does not vary as times do."""
    data, events = fill(size)
    with standalone(data) as track:
        samples = fold(track, size.state_events)
        usage = track.terminate()
    third, last = (in_quarter(number, samples, size.state_events) for number in (3, 4))
    compact = [place.binary("compact-state"), "--state", data / "state"]
    tables = json.loads(run("compact-state", compact)[0])
    with standalone(data).wait_ready() as track:
        load("--to", "nothing", "--url", track.url, *events)
        track.terminate()
    return {
        "memory": {
            "track": {
                "rss_peak_mib": usage.rss_peak_bytes / 2**20,
                "rss_peak_third_quarter_mib": max(third) / 2**20,
                "rss_peak_last_quarter_mib": max(last) / 2**20,
                "rss_median_third_quarter_mib": median(third) / 2**20,
                "rss_median_last_quarter_mib": median(last) / 2**20,
                "growth_over_last_half": median(last) / median(third),
            }
        },
        "disk": {
            "track": {
                "log_bytes_an_event": place.bytes_under(data / "log") / size.state_events,
                "state_bytes_an_event": tables["bytes_before"] / size.state_events,
                "state_bytes_an_event_compacted": tables["bytes"] / size.state_events,
                "written_bytes_an_event": usage.written_bytes / size.state_events,
                "written_over_compacted_state": usage.written_bytes / tables["bytes"],
            }
        },
    }


def start(size, runs):
    data = place.WORK / folder(size)
    if not (data / "state").exists():
        data, _ = fill(size)
        with standalone(data) as track:
            fold(track, size.state_events)
            track.terminate()
    sides = {"after SIGTERM": Runs(), "after kill -9": Runs()}
    for number in range(runs):
        with standalone(data) as track:
            sides["after SIGTERM"].add(ready_seconds=ready(track))
            # Something that the last flush has not.
            made = ["--events", size.batch_events, "--batch", 1000, "--connections", 8, "--seed", number + 2]
            load("--url", track.url, *made)
            track.kill()
        with standalone(data) as track:
            sides["after kill -9"].add(ready_seconds=ready(track))
            track.terminate()
    return {"ready": {side: runs.summary() for side, runs in sides.items()}}


def folder(size):
    return f"state-{size.name}-{FOLDER_PARTITIONS}"


def fill(size):
    data = place.empty(folder(size))
    events = ["--events", size.state_events, "--users", size.state_users, "--until", UNTIL]
    load("--to", "folder", "--data-dir", data, "--partitions", FOLDER_PARTITIONS, *events)
    return data, events


def fold(track, events):
    """Until everything is folded: pairs of events folded and resident bytes."""
    samples = []

    def is_done():
        folded = track.folded()
        samples.append((folded, track.rss_bytes()))
        return folded >= events

    wait_until("folded", is_done, track, within=3600, every=SAMPLE_EVERY)
    return samples


def in_quarter(number, samples, events):
    """Resident bytes at each look while this quarter of the events was folded, the first being 1."""
    return [rss for folded, rss in samples if number - 1 < folded * 4 / events <= number]


def ready(track):
    began = time.monotonic()
    track.wait_ready(every=0.005)
    return time.monotonic() - began
