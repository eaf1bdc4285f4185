"""What track is to reach, as ratios of one run where there is a peer, and whether it did."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """One number of one part, and where it is to be."""

    what: str
    part: str
    measure: str
    side: str
    name: str
    wanted: float
    unit: str = ""
    at_most: bool = False

    def found(self, parts):
        measures = parts.get(self.part, {}).get("measures", {})
        # A measure that names its size is looked for at the largest one there is.
        sized = self.measure if self.measure.endswith(" ") else f"{self.measure}, "
        named = [name for name in measures if name == self.measure or name.startswith(sized)]
        sides = measures[named[-1]] if named else {}
        numbers = sides.get(self.side)
        if numbers is None:
            return None
        return numbers.get("median", numbers)[self.name]

    def is_met(self, value):
        return value <= self.wanted if self.at_most else value >= self.wanted


def ratio(what, part, measure, side, name, wanted):
    return Goal(what, part, measure, side, name, wanted, "×")


def ratio_at_most(what, part, measure, side, name, wanted):
    return Goal(what, part, measure, side, name, wanted, "×", True)


def asked(what, kind, p99_ms):
    busy = f"{kind} from 16 clients while ingest runs"
    return [
        Goal(f"{what}, p99 while ingest runs", "query", busy, "track", "p99_ms", p99_ms, " ms", True),
        ratio(f"{what}, against DuckDB", "query", kind, "duckdb ÷ track", "p50_ms", 50),
        ratio_at_most(f"{what}, growth with events", "query", "p50 at ", "track", kind, 1.3),
    ]


CPU, CLOCK = "events_per_cpu_second", "events_per_second"
KAFKA, FOLDER = "fold from Kafka", "fold from the embedded log"
BATCHES, ALL = "batches of 1,000, nobody folds", "batches of 1,000, everything in one process"
FOLDED = "accepted_durable_and_folded_per_second"

GOALS = [
    ratio("fold from Kafka, against Kafka Streams, per CPU-second", "fold", KAFKA, "track ÷ kafka-streams", CPU, 10),
    ratio("fold from Kafka, against a raw drain, by the clock", "fold", KAFKA, "track ÷ raw-drain", CLOCK, 0.5),
    Goal("fold from Kafka", "fold", KAFKA, "track", CLOCK, 1e6, " events/s"),
    ratio("fold from the embedded log, against reading and decoding, by the clock", "fold", FOLDER, "track ÷ log-drain", CLOCK, 0.5),
    *(
        ratio(f"one event a request, {n} connections, {kind}", "ingest", f"one event a request, {n} connections", side, CLOCK, wanted)
        for n in (64, 256)
        for kind, side, wanted in (
            ("embedded", "track, embedded ÷ warp-constant", 0.6),
            ("Kafka", "track, Kafka ÷ warp-constant", 0.5),
        )
    ),
    ratio("batches, plain, per CPU-second, against serde_json", "ingest", BATCHES, "track, plain ÷ serde-only", CPU, 0.6),
    ratio("batches, gzip, per CPU-second, against serde_json", "ingest", BATCHES, "track, gzip ÷ serde-only", CPU, 0.6),
    Goal("batches accepted, durable and folded", "ingest", ALL, "plain", FOLDED, 700_000, " events/s"),
    Goal("freshness p99, embedded", "freshness", "embedded", "track", "seen_p99_ms", 20, " ms", True),
    Goal("freshness p99, Kafka", "freshness", "Kafka", "track", "seen_p99_ms", 100, " ms", True),
    *asked("one user's month", "user-month", 2),
    *asked("all users' month by day", "month-by-day", 5),
    *asked("all users' year by month elsewhere", "year-by-month", 10),
    Goal("peak memory", "memory", "memory", "track", "rss_peak_mib", 768, " MiB", True),
    # None: a hundredth is what the medians of some hundred looks may differ by.
    ratio_at_most("its growth over the last half", "memory", "memory", "track", "growth_over_last_half", 1.01),
    Goal("state on disk, compacted", "memory", "disk", "track", "state_bytes_an_event_compacted", 40, " bytes an event", True),
    Goal("ready after SIGTERM", "start", "ready", "after SIGTERM", "ready_seconds", 2, " s", True),
    Goal("ready after kill -9", "start", "ready", "after kill -9", "ready_seconds", 10, " s", True),
]


def table(parts):
    """A row for every goal that something was found for."""
    lines = ["| measure | goal | found | |", "|---|---|---|---|"]
    for goal in GOALS:
        value = goal.found(parts)
        if value is not None:
            sign = "≤" if goal.at_most else "≥"
            wanted = f"{sign} {shown(goal.wanted)}{goal.unit}"
            met = "met" if goal.is_met(value) else "**missed**"
            lines.append(f"| {goal.what} | {wanted} | {shown(value)}{goal.unit} | {met} |")
    return lines


def shown(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
