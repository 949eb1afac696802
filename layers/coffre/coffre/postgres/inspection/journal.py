"""Facts about what a journal needs."""

from __future__ import annotations

from typing import Final

from coffre.model.journal_options import JournalOptions
from coffre.policy.checks.journal import JournalServer
from coffre.postgres.inspection.sessions import Query

_MIB: Final = 1 << 20


def read_journal_server(
    query: Query, options: JournalOptions, *, is_published: bool = False, wanted_slots: int = 1
) -> JournalServer:
    """Return what the server says about slots, and what a journal cannot follow.

    Parameters
    ----------
    is_published
        The journal follows what a publication has: other tables cannot end it.
    wanted_slots
        How many slots are to be made.
    """
    ((level, role, may_replicate, slots, most, has_slot, kept_mib, large_objects, is_standby, idle),) = query(_SERVER)
    tables = [(str(name), bool(is_unlogged)) for name, is_unlogged in query(_TABLES)]
    return JournalServer(
        wal_level=level,
        role=role,
        may_replicate=bool(may_replicate),
        slots=int(slots),
        most_slots=int(most),
        has_slot=bool(has_slot),
        kept_bytes=None if kept_mib is None or int(kept_mib) < 0 else int(kept_mib) * _MIB,
        maximum_lag_bytes=options.maximum_lag_bytes,
        without_identity=() if is_published else tuple(name for name, is_unlogged in tables if not is_unlogged),
        unlogged=tuple(name for name, is_unlogged in tables if is_unlogged),
        large_objects=int(large_objects),
        is_standby=bool(is_standby),
        idle_seconds=int(idle or 0),
        every_minutes=options.every_minutes,
        wanted_slots=wanted_slots,
    )


# max_slot_wal_keep_size since PostgreSQL 13, idle_replication_slot_timeout since 18. The role of RDS stands for
# the right REPLICATION.
_SERVER: Final = """
SELECT current_setting('wal_level'), r.rolname::text,
       r.rolsuper OR r.rolreplication OR EXISTS (SELECT FROM pg_roles g WHERE g.rolname = 'rds_replication'
                                                 AND pg_has_role(r.oid, g.oid, 'MEMBER')),
       (SELECT count(*) FROM pg_replication_slots), current_setting('max_replication_slots')::int,
       EXISTS (SELECT FROM pg_replication_slots
               WHERE slot_name ~ '^coffre_' AND plugin IN ('test_decoding', 'pgoutput')
                 AND database = current_database()),
       (SELECT setting::bigint FROM pg_settings WHERE name = 'max_slot_wal_keep_size'),
       (SELECT count(*) FROM (SELECT FROM pg_largeobject_metadata LIMIT 1) AS any_of_them),
       pg_is_in_recovery(),
       extract(epoch FROM current_setting('idle_replication_slot_timeout', true)::interval)::bigint
FROM pg_roles r WHERE r.rolname = current_user
"""
# An index that identifies rows (relreplident = i) exists as long as it is named there.
_TABLES: Final = """
SELECT format('%I.%I', n.nspname, c.relname), c.relpersistence = 'u'
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND (c.relpersistence = 'u' OR c.relpersistence = 'p' AND (
       c.relreplident = 'n'
       OR c.relreplident = 'd' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary
                                               AND i.indimmediate)
       OR c.relreplident = 'i' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident)))
ORDER BY 1
"""
