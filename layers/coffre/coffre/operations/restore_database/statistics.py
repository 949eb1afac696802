"""Gathering the planner's statistics of a restored database: without them its first hours run with wrong plans."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import batched
from typing import Final

import psycopg2
from psycopg2 import sql

from coffre.model.names import TableName, qualified
from coffre.operations.restore_database.job import RestoreJob
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.operations.restore_database.sessions import loading_session
from coffre.operations.runs.heartbeat import DEADLINE_RESERVE_SECONDS
from coffre.operations.runs.session_pool import SessionPool
from coffre.postgres.connection.connect import one_line
from coffre.postgres.destination.unit_of_work import is_fatal

# What the rest of the run needs: settings, the report.
_KEPT_SECONDS: Final = DEADLINE_RESERVE_SECONDS + 10
_SMALL_PAGES: Final = 1000
_BATCH: Final = 50
_CANCELLED: Final = "57014"


def analyze(job: RestoreJob, report: ReportBuilder) -> None:
    """Gather statistics of every table and materialized view, several at the same time, while time is left.

    The rows are safe: a table that cannot be analyzed, or for which no time is left, is noted with its statement.
    """
    left: list[TableName] = []
    reasons: set[str] = set()
    lock = threading.Lock()

    def leave(tables: list[TableName], reason: str) -> None:
        with lock:
            left.extend(tables)
            reasons.add(reason)

    def work(tables: list[TableName]) -> None:
        kept = max(_KEPT_SECONDS, job.late_seconds if job.is_resumable else 0.0)
        seconds = min(job.remaining_seconds() - kept, 86400.0)
        if seconds < 1:
            leave(tables, "no time was left")
            return
        with sessions.borrow() as session, session.cursor() as cursor:
            try:
                cursor.execute(f"SET LOCAL statement_timeout = {int(seconds * 1000)}")
                names = sql.SQL(", ").join(sql.Identifier(*table) for table in tables)
                cursor.execute(sql.SQL("ANALYZE {}").format(names))
                session.commit()
            except psycopg2.Error as error:
                job.children.check()
                if session.closed or (is_fatal(error) and error.pgcode != _CANCELLED):
                    raise
                session.rollback()
                if len(tables) > 1 and error.pgcode != _CANCELLED:
                    again.extend([table] for table in tables)
                else:
                    leave(tables, "no time was left" if error.pgcode == _CANCELLED else one_line(error))

    again: list[list[TableName]] = []
    with report.phase("statistics"), SessionPool(lambda _: loading_session(job), job.streams) as sessions:
        for _ in job.runner(work, _work_of(job)):
            pass
        for tables in again:
            work(tables)
    if left:
        statements = " ".join(f"ANALYZE {qualified(*table)};" for table in sorted(left)[:20])
        more = f" (and {len(left) - 20:,} more: ANALYZE; does all)" if len(left) > 20 else ""
        report.notes.append(f"Statistics were not gathered ({'; '.join(sorted(reasons))}). Run: {statements}{more}")


def _work_of(job: RestoreJob) -> Iterator[list[TableName]]:
    """Yield large tables alone, the largest first, then small ones many at a time."""
    with loading_session(job) as session, session.cursor() as cursor:
        cursor.execute(_TABLES)
        found = [((schema, name), pages) for schema, name, pages in cursor.fetchall()]
    yield from ([table] for table, pages in found if pages > _SMALL_PAGES)
    for batch in batched((table for table, pages in found if pages <= _SMALL_PAGES), _BATCH, strict=False):
        yield list(batch)


# A partitioned table's statistics come with those of its partitions.
_TABLES: Final = """
SELECT n.nspname, c.relname, pg_catalog.pg_relation_size(c.oid) / 8192
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition
  AND n.nspname <> 'coffre_unfinished_restore'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
ORDER BY c.relkind <> 'p', 3 DESC, 1, 2
"""
