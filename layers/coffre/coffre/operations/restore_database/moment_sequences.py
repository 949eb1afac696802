"""Sequences as of a moment: their values are known of drains alone, and none may be behind one that was used."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, NamedTuple

import psycopg2.extensions
from psycopg2 import sql

from coffre.model.manifest import SequenceValue
from coffre.model.names import TableName, shown
from coffre.operations.restore_database.job import Source
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.policy.sequence_values import Reading, continued, goes_back, place

_NAMED: Final = 10


def sequences_of(
    session: psycopg2.extensions.connection,
    source: Source,
    report: ReportBuilder,
    only: Collection[tuple[str | None, str]] | None = None,
) -> list[SequenceValue]:
    """Return the values that sequences continue from: those of the backup, or as of the moment that is restored."""
    moment, own = source.chosen, source.content.sequences
    readings: list[Reading] = [own]
    if moment is not None and (moment.sequences or moment.end is not None):
        readings = [own if one is None else one for one in (*moment.earlier, moment.sequences)]
        known = {_name(one) for reading in readings for one in reading}
        readings.insert(0, tuple(one for one in own if _name(one) not in known))
    if only is not None:
        readings = [tuple(one for one in reading if _name(one) in only) for reading in readings]
    return sequences_at(session, readings, report)


def sequences_at(
    session: psycopg2.extensions.connection, readings: Sequence[Reading], report: ReportBuilder
) -> list[SequenceValue]:
    """Return the values that sequences continue from, of what was read before a moment, and last, after it.

    As a rule it is the last. Where a sequence was set back in between (`TRUNCATE ... RESTART IDENTITY`, `setval`),
    nothing says whether that was before the moment: then the furthest value counts, or that of the rows, if the column
    that owns the sequence has gone further. So it is where the last reading does not have it. The report names both,
    and where rows have gone beyond a value that was not seen to be set back. One with `CYCLE` may use its values again
    anyway.
    """
    if len(readings) == 1:
        return [*readings[0]]
    found = dict[TableName, list[SequenceValue]]()
    for one in chain(*readings):
        found.setdefault(_name(one), []).append(one)
    read = {_name(one) for one in readings[-1]}
    around = _Around(session)
    chosen = [around.value(name, values, is_read=name in read) for name, values in found.items()]
    said = {"Set back around the moment": around.set_back, "Not read after the moment": around.unread}
    report.exceptions += [
        f"{what}, and restored to the furthest value known: {_listed(names)}." for what, names in said.items() if names
    ]
    if around.passed:
        report.notes.append(
            f"Rows have values beyond that of their sequence: {_listed(around.passed)}. Either they did not take them"
            " from it, or it was set back around the moment: then it comes to values that are taken."
        )
    return chosen


@dataclass
class _Around:
    """Values of sequences at a moment, and the names of those of which it is not known."""

    session: psycopg2.extensions.connection
    set_back: list[TableName] = field(default_factory=list)
    unread: list[TableName] = field(default_factory=list)
    passed: list[TableName] = field(default_factory=list)

    def value(self, name: TableName, values: Sequence[SequenceValue], *, is_read: bool) -> SequenceValue:
        """Return the value that a sequence continues from, of those that were read; the last after the moment?"""
        facts = self._facts(name)
        if facts is None or facts.cycles:
            return values[-1]
        value, went_back = continued(values, facts.sign), goes_back(values, facts.sign)
        is_known = is_read and not went_back
        used = self._used(facts) if facts.column is not None and (facts.is_unique or not is_known) else None
        is_passed = used is not None and place(_used(value, used), facts.sign) > place(value, facts.sign)
        if is_known:
            self.passed += [name] if is_passed else []
            return value
        if went_back:
            self.set_back.append(name)
        elif is_passed or not facts.is_unlogged or facts.column is None:  # unlogged rows are those of the backup too
            self.unread.append(name)
        return _used(value, used) if used is not None and is_passed else value

    def _facts(self, name: TableName) -> _Facts | None:
        with self.session.cursor() as cursor:
            cursor.execute(_SEQUENCE, (sql.Identifier(*name).as_string(cursor),))
            return next((_Facts(*row) for row in cursor.fetchall()), None)

    def _used(self, facts: _Facts) -> int | None:
        """Return the furthest value in the column that owns a sequence, if the sequence can have it."""
        with self.session.cursor() as cursor:
            cursor.execute(
                sql.SQL("SELECT {}({}) FROM {}").format(
                    sql.SQL("max" if facts.sign > 0 else "min"),
                    sql.Identifier(facts.column or ""),
                    sql.Identifier(facts.schema or "", facts.table or ""),
                )
            )
            ((used,),) = cursor.fetchall()
        return used if used is not None and facts.least <= used <= facts.most else None


class _Facts(NamedTuple):
    """What a sequence is, and which column owns it; `is_unique`: no two rows have the same value of that."""

    sign: int
    least: int
    most: int
    cycles: bool
    is_unlogged: bool
    schema: str | None
    table: str | None
    column: str | None
    is_unique: bool | None


def _used(value: SequenceValue, used: int) -> SequenceValue:
    return value.model_copy(update={"last_value": used, "is_called": True})


def _name(value: SequenceValue) -> TableName:
    return value.schema_name, value.sequence_name


def _listed(names: Iterable[TableName]) -> str:
    found = sorted(shown(*name) for name in names)
    return ", ".join(found[:_NAMED]) + (f" and {len(found) - _NAMED:,} more" if len(found) > _NAMED else "")


_SEQUENCE: Final = """
SELECT CASE WHEN s.seqincrement > 0 THEN 1 ELSE -1 END, s.seqmin, s.seqmax, s.seqcycle, own.relpersistence = 'u',
       n.nspname::text, c.relname::text, a.attname::text,
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indnkeyatts = 1
               AND i.indkey[0] = a.attnum AND i.indpred IS NULL)
FROM pg_sequence s JOIN pg_class own ON own.oid = s.seqrelid LEFT JOIN (
    pg_depend d JOIN pg_class c ON c.oid = d.refobjid JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
        AND a.atttypid = ANY('{int2,int4,int8}'::regtype[])
) ON d.classid = 'pg_class'::regclass AND d.refclassid = d.classid AND d.objid = s.seqrelid AND d.deptype IN ('a', 'i')
WHERE s.seqrelid = to_regclass(%s)
"""
