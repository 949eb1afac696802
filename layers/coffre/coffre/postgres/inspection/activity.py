"""Facts about what other sessions do."""

from __future__ import annotations

from typing import Final

from coffre.policy.checks.activity import Activity, Slot, Transaction
from coffre.postgres.connection.sessions import PLAIN_NAME
from coffre.postgres.inspection.sessions import Query


def read_activity(query: Query) -> Activity:
    """Return open transactions, waiting statements and replication slots."""
    transactions = tuple(
        Transaction(pid, role or "another role", None if seconds is None else float(seconds), age)
        for pid, role, seconds, age in query(_TRANSACTIONS, {"ours": f"{PLAIN_NAME}%"})
    )
    queued = tuple((str(table), int(pid)) for table, pid in query(_QUEUED))
    slots = tuple(Slot(name, is_active, int(kept), status) for name, is_active, kept, status in query(_SLOTS))
    return Activity(transactions, queued, slots)


# The oldest of each kind: a server may have thousands of sessions.
_TRANSACTIONS: Final = """
SELECT pid, usename::text, extract(epoch FROM clock_timestamp() - xact_start), coalesce(age(backend_xmin), 0)
FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND (xact_start IS NOT NULL OR backend_xmin IS NOT NULL) AND datid IS NOT NULL
  AND coalesce(application_name, '') NOT LIKE %(ours)s
ORDER BY xact_start, 4 DESC LIMIT 100
"""
_QUEUED: Final = """
SELECT l.relation::regclass, l.pid FROM pg_locks l
WHERE NOT l.granted AND l.mode = 'AccessExclusiveLock' AND l.locktype = 'relation'
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY l.pid
"""
# The status since PostgreSQL 13.
_SLOTS: Final = """
SELECT slot_name::text, active, coalesce(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn()
           ELSE pg_current_wal_lsn() END, restart_lsn), 0), to_jsonb(s) ->> 'wal_status'
FROM pg_replication_slots s WHERE NOT temporary ORDER BY 1
"""
