"""Sequences as of a moment: their values are known of drains alone, and none may be behind one that was used."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final

import psycopg2.extensions
from psycopg2 import sql

from coffre.model.manifest import SequenceValue
from coffre.model.names import shown
from coffre.operations.restore_database.job import Source
from coffre.operations.restore_database.report_builder import ReportBuilder

_NAMED: Final = 10


def sequences_of(
    session: psycopg2.extensions.connection,
    source: Source,
    report: ReportBuilder,
    only: Collection[tuple[str | None, str]] | None = None,
) -> list[SequenceValue]:
    """Return the values that sequences continue from: those of the backup, or as of the moment that is restored."""
    moment = source.chosen
    earlier, later = ((), ()) if moment is None else (moment.earlier, moment.sequences)
    before, behind = (
        [one for one in values if only is None or _name(one) in only]
        for values in ((*source.content.sequences, *earlier), later)
    )
    return sequences_at(session, before, behind, report)


def sequences_at(
    session: psycopg2.extensions.connection,
    earlier: Iterable[SequenceValue],
    later: Iterable[SequenceValue],
    report: ReportBuilder,
) -> list[SequenceValue]:
    """Return the values that sequences continue from, of those before and after a moment.

    As a rule it is the later one. Where a sequence was set back in between (`TRUNCATE ... RESTART IDENTITY`, `setval`),
    nothing says whether that was before the moment: then the earlier value counts, or that of the rows, if the column
    that owns the sequence has gone further. The report names it. One with `CYCLE` may use its values again anyway.
    """
    before = {_name(one): one for one in earlier}
    chosen = before | {_name(one): one for one in later}
    differing = [name for name, one in chosen.items() if name in before and before[name] != one]
    set_back = dict(_set_back(session, [(before[name], chosen[name]) for name in differing]))
    if set_back:
        names = sorted(shown(*name) for name in set_back)
        more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
        report.exceptions.append(
            f"Set back around the moment, and restored to the furthest value known: {', '.join(names[:_NAMED])}{more}."
        )
    return list((chosen | set_back).values())


def _set_back(
    session: psycopg2.extensions.connection, pairs: Iterable[tuple[SequenceValue, SequenceValue]]
) -> Iterator[tuple[tuple[str, str], SequenceValue]]:
    with session.cursor() as cursor:
        for before, after in pairs:
            name = _name(after)
            cursor.execute(_SEQUENCE, (sql.Identifier(*name).as_string(cursor),))
            for increment, least, most, cycles, schema, table, column in cursor.fetchall():
                sign = 1 if increment > 0 else -1
                if cycles or _place(after, sign) >= _place(before, sign):
                    continue
                furthest = before
                if table is not None:
                    cursor.execute(
                        sql.SQL("SELECT {}({}) FROM {}").format(
                            sql.SQL("max" if sign > 0 else "min"), sql.Identifier(column), sql.Identifier(schema, table)
                        )
                    )
                    ((used,),) = cursor.fetchall()
                    if used is not None and least <= used <= most and used * sign >= before.last_value * sign:
                        furthest = before.model_copy(update={"last_value": used, "is_called": True})
                yield name, furthest


def _name(value: SequenceValue) -> tuple[str, str]:
    return value.schema_name, value.sequence_name


def _place(value: SequenceValue, sign: int) -> tuple[int, bool]:
    return value.last_value * sign, value.is_called


_SEQUENCE: Final = """
SELECT s.seqincrement, s.seqmin, s.seqmax, s.seqcycle, n.nspname::text, c.relname::text, a.attname::text
FROM pg_sequence s LEFT JOIN (
    pg_depend d JOIN pg_class c ON c.oid = d.refobjid JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
        AND a.atttypid = ANY('{int2,int4,int8}'::regtype[])
) ON d.classid = 'pg_class'::regclass AND d.refclassid = d.classid AND d.objid = s.seqrelid AND d.deptype IN ('a', 'i')
WHERE s.seqrelid = to_regclass(%s)
"""
