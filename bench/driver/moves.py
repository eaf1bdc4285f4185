"""Moves: partitions that change hands under questions and load, and a state that comes back from checkpoints or the log."""

import contextlib
import http.client
import json
import shutil
import threading
import time

from . import place
from .fold import PARTITIONS, UNTIL
from .process import run, wait_until
from .results import Runs
from .track import Broker, Track, get, load, load_apart

# Of single events, while partitions move: little enough for two cores that run everything.
RATE = 2_000
# Each takes half a minute, and what differs are seconds.
RUNS_MAX = 3
QUESTION = "/metrics?start_date=2025-05-01&end_date=2025-06-08&group_by=month"


def measure(size, runs):
    measures = {}
    with Broker() as broker:
        kafka = ["--kafka-brokers", broker.address]
        load("--to", "kafka", *kafka, "--events", size.fold_events, "--until", UNTIL)
        kills = {"one replica": Runs(), "two replicas": Runs()}
        stops = {"cold": Runs(), "warm": Runs()}
        restores = {"from checkpoints": Runs(), "from the log": Runs()}
        for number in range(min(runs, RUNS_MAX)):
            for side, replicas in (("one replica", 1), ("two replicas", 2)):
                with cluster(kafka, f"kill-{number}-{replicas}", replicas) as (victim, query):
                    kills[side].add(**during(kafka, query, lambda: victim.kill(), number))
            for side, flags in (("cold", []), ("warm", ["--warm=1m"])):
                with cluster(kafka, f"stop-{number}-{side}", 1, *flags) as (victim, query):
                    stops[side].add(**during(kafka, query, lambda: victim.terminate(), number))
            restored(kafka, number, size, restores)
    measures["kill -9 of one of two processors"] = summaries(kills)
    measures["SIGTERM of one of two processors"] = summaries(stops)
    measures["a state that is gone"] = summaries(restores)
    return measures


def summaries(sides):
    return {side: runs.summary() for side, runs in sides.items()}


@contextlib.contextmanager
def cluster(kafka, name, replicas, *flags):
    """Two processors a replica that share the partitions, and a query service; the first processor is the victim."""
    folder = place.empty("moves")
    with contextlib.ExitStack() as stack:
        processors = []
        for replica in range(replicas):
            for number in range(2):
                own = ["--data-dir", folder / f"{replica}-{number}", "--group", f"bench-{name}"]
                replicated = ["--replica", f"r{replica}"] if replica else []
                processors.append(stack.enter_context(Track("processor", *kafka, *own, *replicated, *flags)))
        query = stack.enter_context(Track("query", *kafka).wait_ready())
        wait_until("shared out and caught up", lambda: settled(kafka, 2 * replicas, replicas), query, every=0.2)
        yield processors[0], query


def status(kafka):
    """What `track status` sees; ends with 1 where something is not served."""
    with contextlib.suppress(RuntimeError):
        output, _ = run("status", ["sh", "-c", '"$0" "$@" || test $? = 1', place.binary("track"), "status", "--json", *kafka])
        return json.loads(output)


def there(found):
    """The processors that are heard of."""
    return [one for one in found["processors"] if not one["is_silent"]]


def caught_up(found):
    """Whether everything is served to the end of the log, by all who serve."""
    owners = (owner for partition in found["partitions"] for owner in partition["owners"])
    return found["all_served"] and all(owner["lag_records"] == 0 for owner in owners if owner["state"] == "serving")


def shared_out(found, processors, replicas):
    """Whether so many processors that are heard of share all partitions of each replica."""
    shares = [one["serving"] for one in there(found)]
    return len(shares) == processors and sum(shares) == PARTITIONS * replicas and found["all_served"]


def settled(kafka, processors, replicas):
    found = status(kafka)
    return found and shared_out(found, processors, replicas) and all(one["serving"] for one in there(found)) and caught_up(found)


class Asking(threading.Thread):
    """One client that asks the same again and again: when, for how long, and what came of it."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.answers, self.ends = port, [], threading.Event()

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self.ends.is_set():
            asked = time.monotonic()
            connection.request("GET", QUESTION)
            answer = connection.getresponse()
            answer.read()
            lag_ms = float(answer.headers.get("Track-Lag-Ms") or 0)
            self.answers.append((asked, time.monotonic(), answer.status, lag_ms))
            self.ends.wait(0.01)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        self.join()

    def since(self, moment):
        """From the last good answer before, with the longest time without one, and the numbers of good and bad ones."""
        answers = [answer for answer in self.answers if answer[1] >= moment]
        good = [moment] + [ended for _, ended, code, _ in answers if code == 200]
        bad = [ended for _, ended, code, _ in answers if code != 200]
        return {
            "longest_without_answer_seconds": max(after - before for before, after in zip(good, good[1:] + [good[-1]])),
            "answers": len(good) - 1,
            "refusals": len(bad),
            "last_refusal_seconds": max(bad, default=moment) - moment,
            "lag_ms_max": max((lag for *_, code, lag in answers if code == 200), default=0.0),
        }


def during(kafka, query, happens, number):
    """What a client sees from the moment on at which something happens to a processor, until its partitions are shared out anew."""
    with Track("ingest", *kafka).wait_ready() as ingest, Asking(query.port) as asking:
        flags = ["--rate", RATE, "--connections", 16, "--events", RATE * 120, "--skip-verify", "--seed", 500 + number]
        with load_apart("--url", ingest.url, *flags) as loading:
            wait_until("some answers", lambda: len(asking.answers) > 50, loading)
            before = len(there(status(kafka)))
            began = time.monotonic()
            happens()
            wait_until("served again", lambda: served_again(kafka, before - 1), loading, every=0.1)
            served = time.monotonic() - began
        found = asking.since(began)
        ingest.terminate()
    return {"served_again_seconds": served, **found}


def served_again(kafka, processors):
    found = status(kafka)
    return found and shared_out(found, processors, (processors + 1) // 2)


def restored(kafka, number, size, sides):
    """One processor's state: made, kept, taken away, and brought back either way."""
    folder = place.empty("moves")
    kept = folder / "checkpoints"
    flags = [*kafka, "--data-dir", folder / "state", "--group", f"bench-restore-{number}"]
    checkpoints = ["--checkpoints", kept]
    with Track("processor", *flags, *checkpoints) as track:
        wait_until("folded", lambda: (found := status(kafka)) and caught_up(found), track, every=0.2)
        track.terminate()
    records = sum(partition["log_end"] - partition["log_start"] for partition in status(kafka)["partitions"])
    newest = place.bytes_under(folder / "state")
    for side, more in (("from checkpoints", checkpoints), ("from the log", [])):
        shutil.rmtree(folder / "state")
        with Track("processor", *flags, *more) as track:
            began = time.monotonic()
            wait_until("restored", lambda: has_caught_up(track), track, every=0.05)
            seconds = time.monotonic() - began
            cpu = track.cpu_seconds()
            track.terminate()
        sides[side].add(
            seconds=seconds,
            events_per_second=records / seconds,
            state_mb_per_second=newest / 1e6 / seconds,
            cpu_seconds=cpu,
        )


def has_caught_up(track):
    """The same of one processor, by its own word: asking the brokers takes longer than what is measured."""
    code, text = get(track.admin, "/metrics")
    lags = [line for line in text.splitlines() if line.startswith("track_consumer_lag_records")]
    is_ready = code == 200 and get(track.admin, "/readyz")[0] == 200
    return is_ready and len(lags) == PARTITIONS and all(float(line.split()[-1]) == 0 for line in lags)
