"""Where things are: the binaries, the peers, a folder to work in; and how large a run is."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BINARIES = TARGET / "release"
STREAMS = ROOT / "bench/peers/kafka-streams"
DUCKDB = ROOT / "bench/peers/duckdb"
WORK = Path(os.environ.get("BENCH_WORK", ROOT / ".cache/bench"))


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    name: str
    fold_events: int
    single_events: int
    batch_events: int
    freshness_seconds: int
    query_events: tuple
    query_seconds: int
    state_events: int
    state_users: int


SMALL = Size("small", 1_000_000, 200_000, 500_000, 10, (100_000, 1_000_000), 8, 2_000_000, 100_000)
MEDIUM = Size("medium", 2_000_000, 200_000, 1_000_000, 10, (1_000_000, 10_000_000), 8, 20_000_000, 1_000_000)
FULL = Size("full", 10_000_000, 1_000_000, 3_000_000, 30, (1_000_000, 100_000_000), 8, 100_000_000, 5_000_000)
# To see that everything works; its numbers mean nothing.
TRY = Size("try", 100_000, 20_000, 50_000, 3, (20_000, 100_000), 3, 100_000, 10_000)
SIZES = {size.name: size for size in (SMALL, MEDIUM, FULL, TRY)}


def binary(name):
    return str(BINARIES / name)


def empty(name):
    """A folder of this name with nothing in it."""
    folder = WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def bytes_under(folder):
    return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
