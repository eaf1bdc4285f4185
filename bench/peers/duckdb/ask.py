"""Asks DuckDB what `track load --ask` asks track, in one process on a warm table, and says how long each answer took.

    ask.py EVENTS.duckdb UNTIL ROUNDS

Prints JSON: milliseconds by kind of question, and the rows of one answer of each, for the check.
"""

import json
import os
import statistics
import sys
import time
from datetime import datetime, timedelta

import duckdb

ZONE = "America/New_York"
# As often as the load asks about hot ones and rare ones: ranks spread over the orders of magnitude.
USERS = ["user-1", "user-3", "user-10", "user-100", "user-1000", "user-30", "user-300", "user-2", "user-20", "user-200"]

BY_DAY = """
    SELECT CAST(happened AS DATE) AS bucket, event, count(*) FROM {table}
    WHERE happened >= CAST($start AS TIMESTAMP) AND happened < CAST($end AS TIMESTAMP) + INTERVAL 1 DAY {user}
    GROUP BY ALL
"""
USER = BY_DAY.format(table="events_by_user", user="AND user_id = $user")
ALL = BY_DAY.format(table="events", user="")
BY_MONTH = """
    SELECT CAST(date_trunc('month', happened AT TIME ZONE 'UTC' AT TIME ZONE $zone) AS DATE) AS bucket, event, count(*)
    FROM events
    WHERE happened >= CAST($start AS TIMESTAMP) AT TIME ZONE $zone AT TIME ZONE 'UTC'
      AND happened < (CAST($end AS TIMESTAMP) + INTERVAL 1 DAY) AT TIME ZONE $zone AT TIME ZONE 'UTC'
    GROUP BY ALL
"""


def main():
    file, until, rounds = sys.argv[1:]
    db = duckdb.connect(file, read_only=True)
    end = datetime.fromisoformat(until.replace("Z", "+00:00")).date()
    month, year = end - timedelta(days=29), end - timedelta(days=364)
    questions = {
        "user-month": lambda n: (USER, bind(month, end, user=USERS[n % len(USERS)])),
        "month-by-day": lambda n: (ALL, bind(month, end)),
        "year-by-month": lambda n: (BY_MONTH, bind(year, end, zone=ZONE)),
    }
    kinds, checks = {}, []
    for kind, question in questions.items():
        text, values = question(0)
        checks.append(check(db.execute(text, values).fetchall(), values))
        times, cpu = [], cpu_seconds()
        for n in range(int(rounds)):
            text, values = question(n)
            began = time.perf_counter()
            db.execute(text, values).fetchall()
            times.append((time.perf_counter() - began) * 1000)
        kinds[kind] = {
            "p50_ms": statistics.median(times),
            "max_ms": max(times),
            "cpu_ms_a_query": (cpu_seconds() - cpu) * 1000 / len(times),
        }
    print(json.dumps({"kinds": kinds, "checks": checks}))


def bind(start, end, **more):
    return {"start": str(start), "end": str(end), **more}


def check(rows, values):
    found = {}
    for bucket, event, count in rows:
        found.setdefault(str(bucket), {})[event] = count
    more = f"&user_id={values['user']}" if "user" in values else ""
    more += f"&group_by=month&timezone={values['zone']}" if "zone" in values else ""
    return {"start": values["start"], "end": values["end"], "more": more, "rows": found}


def cpu_seconds():
    used = os.times()
    return used.user + used.system


main()
