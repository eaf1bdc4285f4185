"""Reads the CSV of `track load --to csv` into DuckDB as it likes it best: typed columns, once sorted by time and once by
user, so that its zone maps skip what a question does not touch. Duplicates go here, once, and not at each question.

    import.py EVENTS.csv EVENTS.duckdb
"""

import sys

import duckdb

source, target = sys.argv[1:]
db = duckdb.connect(target)
db.execute("SET preserve_insertion_order = false")
db.execute(
    """
    CREATE TABLE events AS
    WITH raw AS (
        SELECT event_id, event, user_id, epoch_ms(timestamp_ms) AS happened
        FROM read_csv(?, header = true, columns = {
            'event_id': 'VARCHAR', 'event': 'VARCHAR', 'user_id': 'VARCHAR', 'timestamp_ms': 'BIGINT'})
    )
    SELECT event, user_id, happened FROM (
        SELECT event, user_id, happened FROM raw WHERE event_id IS NULL
        UNION ALL
        SELECT DISTINCT ON (user_id, event_id) event, user_id, happened FROM raw WHERE event_id IS NOT NULL
    )
    ORDER BY happened
    """,
    [source],
)
db.execute("CREATE TABLE events_by_user AS SELECT * FROM events ORDER BY user_id, happened")
db.execute("CHECKPOINT")
