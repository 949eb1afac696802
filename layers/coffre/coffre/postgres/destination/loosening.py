"""Loosening what refuses a table's rows, and putting it back: checks, domains, NOT NULL, generated columns.

Everything here belongs to the caller's transaction. What was dropped is back before the rows are committed, as
`NOT VALID` where the server knows that, and is validated when all tables are loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg2.extensions
from psycopg2 import sql

from coffre.model.names import TableName, shown

_NOT_NULL_NOT_VALID_SINCE: Final = 180000
_NOT_VALID: Final = " NOT VALID"


@dataclass(frozen=True)
class Loosened:
    """One thing that was loosened so that rows could be loaded.

    Parameters
    ----------
    what
        It, for a person.
    tightening
        The statement that makes it whole again, which the server may refuse; the SQL for later.
    is_enforced
        Whether it counts for new rows until then.
    restoring
        Statements that put it back after the rows, before the commit.
    is_lost
        Nothing can make it whole by itself: `tightening` is for a person.
    check
        Schema, table and name of a check, which tables that inherit from this one have too.
    """

    what: str
    tightening: str
    is_enforced: bool = True
    restoring: tuple[str, ...] = ()
    is_lost: bool = False
    check: tuple[str, str, str] | None = None


def drop_checks(cursor: psycopg2.extensions.cursor, table: TableName) -> list[Loosened]:
    """Drop the checks of a table, at the ancestors that it has them from."""
    return _drop_checks(cursor, table, lambda _: True)


def drop_own_checks(cursor: psycopg2.extensions.cursor, table: TableName) -> list[Loosened]:
    """Drop the checks of a table that it did not inherit."""
    return _drop_checks(cursor, table, lambda owner: owner == table)


def _drop_checks(
    cursor: psycopg2.extensions.cursor, table: TableName, may_change: Callable[[TableName], bool]
) -> list[Loosened]:
    found: list[Loosened] = []
    while checks := [
        check
        for check in _rows(cursor, _CHECKS, {"schema": table[0], "table": table[1]})
        if may_change((check[0], check[1]))
    ]:
        for schema, name, constraint, definition, comment in checks:
            owner, this = _identified(cursor, schema, name), _identified(cursor, constraint)
            cursor.execute(f"ALTER TABLE {owner} DROP CONSTRAINT {this}")
            restoring = [f"ALTER TABLE {owner} ADD CONSTRAINT {this} {definition.removesuffix(_NOT_VALID)}{_NOT_VALID}"]
            if comment is not None:
                text = sql.Literal(comment).as_string(cursor)
                restoring.append(f"COMMENT ON CONSTRAINT {this} ON {owner} IS {text}")
            check = (schema, name, constraint)
            found.append(replace(_check(cursor, *check), restoring=tuple(restoring), check=check))
    return found


def _check(cursor: psycopg2.extensions.cursor, schema: str, name: str, constraint: str) -> Loosened:
    owner, this = _identified(cursor, schema, name), _identified(cursor, constraint)
    return Loosened(
        what=f"the constraint {constraint} of {shown(schema, name)}",
        tightening=f"ALTER TABLE {owner} VALIDATE CONSTRAINT {this};",
    )


def drop_domain_constraints(cursor: psycopg2.extensions.cursor, table: TableName) -> list[Loosened]:
    """Drop the constraints of the domains of a table's columns, inside arrays, ranges and composite types too."""
    found = []
    for schema, name, constraint, definition, comment in _rows(
        cursor, _DOMAIN_CHECKS, {"schema": table[0], "table": table[1]}
    ):
        domain, this = _identified(cursor, schema, name), _identified(cursor, constraint)
        cursor.execute(f"ALTER DOMAIN {domain} DROP CONSTRAINT {this}")
        restoring = [f"ALTER DOMAIN {domain} ADD CONSTRAINT {this} {definition.removesuffix(_NOT_VALID)}{_NOT_VALID}"]
        if comment is not None:
            text = sql.Literal(comment).as_string(cursor)
            restoring.append(f"COMMENT ON CONSTRAINT {this} ON DOMAIN {domain} IS {text}")
        found.append(
            Loosened(
                what=f"the constraint {constraint} of the domain {shown(schema, name)}",
                tightening=f"ALTER DOMAIN {domain} VALIDATE CONSTRAINT {this};",
                restoring=tuple(restoring),
            )
        )
    for schema, name in _rows(cursor, _DOMAINS_NOT_NULL, {"schema": table[0], "table": table[1]}):
        domain = _identified(cursor, schema, name)
        cursor.execute(f"ALTER DOMAIN {domain} DROP NOT NULL")
        found.append(
            Loosened(
                what=f"NOT NULL of the domain {shown(schema, name)}",
                tightening=f"ALTER DOMAIN {domain} SET NOT NULL;",
                is_enforced=False,
            )
        )
    return found


def drop_not_null(cursor: psycopg2.extensions.cursor, table: TableName, column: str) -> list[Loosened]:
    """Let a column be NULL."""
    owner, this = _identified(cursor, *table), _identified(cursor, column)
    what = f"NOT NULL of the column {column} of {shown(*table)}"
    keys = {"schema": table[0], "table": table[1], "column": column}
    names = []
    if cursor.connection.server_version >= _NOT_NULL_NOT_VALID_SINCE:
        names = [_identified(cursor, name) for (name,) in _rows(cursor, _NOT_NULL_NAME, keys)]
    cursor.execute(f"ALTER TABLE {owner} ALTER COLUMN {this} DROP NOT NULL")
    if not names:
        tightening = f"ALTER TABLE {owner} ALTER COLUMN {this} SET NOT NULL;"
        return [Loosened(what, tightening, is_enforced=False)]
    return [
        Loosened(
            what,
            tightening=f"ALTER TABLE {owner} VALIDATE CONSTRAINT {name};",
            restoring=(f"ALTER TABLE {owner} ADD CONSTRAINT {name} NOT NULL {this} NOT VALID",),
        )
        for name in names
    ]


def drop_expressions(cursor: psycopg2.extensions.cursor, table: TableName) -> list[Loosened]:
    """Make a table's generated columns plain ones, which stay NULL: a row is worth more than what follows from it."""
    found = []
    owner = _identified(cursor, *table)
    for column, type_name, expression, is_not_null in _rows(
        cursor, _GENERATED, {"schema": table[0], "table": table[1]}
    ):
        this = _identified(cursor, column)
        if is_not_null:
            cursor.execute(f"ALTER TABLE {owner} ALTER COLUMN {this} DROP NOT NULL")
        cursor.execute(f"ALTER TABLE {owner} ALTER COLUMN {this} DROP EXPRESSION")
        found.append(
            Loosened(
                what=f"the values of the generated column {column} of {shown(*table)}",
                tightening=f"ALTER TABLE {owner} DROP COLUMN {this};\nALTER TABLE {owner} ADD COLUMN {this} "
                f"{type_name} GENERATED ALWAYS AS ({expression}) STORED{' NOT NULL' * is_not_null};",
                is_lost=True,
            )
        )
    return found


def restore(cursor: psycopg2.extensions.cursor, loosened: Sequence[Loosened]) -> None:
    """Put back what was dropped, the last one first."""
    for thing in reversed(loosened):
        for statement in thing.restoring:
            cursor.execute(statement)


def heirs(cursor: psycopg2.extensions.cursor, thing: Loosened) -> list[Loosened]:
    """Return what has to be validated: of a check that others inherit, each table's own, children before parents."""
    if thing.check is None:
        return [thing]
    schema, table, name = thing.check
    found = _rows(cursor, _HEIRS, {"schema": schema, "table": table, "name": name})
    return [_check(cursor, heir_schema, heir, name) for heir_schema, heir in found]


def _identified(cursor: psycopg2.extensions.cursor, *names: str) -> str:
    return str(sql.Identifier(*names).as_string(cursor))


def _rows(cursor: psycopg2.extensions.cursor, query: str, parameters: dict[str, str]) -> list[tuple[Any, ...]]:
    cursor.execute(query, parameters)
    return cursor.fetchall()


_TABLE: Final = """(
    SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %(schema)s AND c.relname = %(table)s)"""
# A check of a table, and those that it was inherited from: only where it is not inherited can it be dropped.
_CHECKS: Final = f"""
WITH RECURSIVE found(name, relation) AS (
    SELECT k.conname, k.conrelid FROM pg_constraint k
    WHERE k.conrelid = {_TABLE} AND k.contype = 'c' AND to_jsonb(k) ->> 'conenforced' IS DISTINCT FROM 'false'
  UNION
    SELECT found.name, i.inhparent FROM found JOIN pg_inherits i ON i.inhrelid = found.relation
    JOIN pg_constraint k
      ON k.conrelid = i.inhparent AND k.conname = found.name AND k.contype = 'c' AND NOT k.connoinherit)
SELECT n.nspname, c.relname, k.conname, pg_get_constraintdef(k.oid), obj_description(k.oid, 'pg_constraint')
FROM found JOIN pg_constraint k ON k.conrelid = found.relation AND k.conname = found.name AND k.contype = 'c'
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.coninhcount = 0 ORDER BY 1, 2, 3
"""  # noqa: S608 - the part is a constant
_HEIRS: Final = f"""
WITH RECURSIVE heirs(relation, depth) AS (
    SELECT {_TABLE}, 0
  UNION ALL
    SELECT i.inhrelid, depth + 1 FROM heirs JOIN pg_inherits i ON i.inhparent = heirs.relation)
SELECT n.nspname, c.relname FROM heirs
JOIN pg_constraint k ON k.conrelid = heirs.relation AND k.conname = %(name)s AND k.contype = 'c' AND NOT k.convalidated
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
GROUP BY 1, 2 ORDER BY max(depth) DESC, 1, 2
"""  # noqa: S608 - the part is a constant
# The types of a table's columns, and those that these are made of.
_TYPES: Final = f"""
WITH RECURSIVE types(oid) AS (
    SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid = {_TABLE} AND a.attnum > 0 AND NOT a.attisdropped
  UNION
    SELECT part.oid FROM types JOIN pg_type t ON t.oid = types.oid CROSS JOIN LATERAL (
        SELECT t.typbasetype UNION ALL SELECT t.typelem
        UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid
        UNION ALL SELECT a.atttypid FROM pg_attribute a
            WHERE t.typrelid <> 0 AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) AS part(oid)
    WHERE part.oid <> 0)
"""  # noqa: S608 - the part is a constant
_DOMAIN_CHECKS: Final = f"""{_TYPES}
SELECT n.nspname, t.typname, k.conname, pg_get_constraintdef(k.oid), obj_description(k.oid, 'pg_constraint')
FROM types JOIN pg_type t ON t.oid = types.oid JOIN pg_namespace n ON n.oid = t.typnamespace
JOIN pg_constraint k ON k.contypid = t.oid AND k.contype = 'c' ORDER BY 1, 2, 3
"""  # noqa: S608 - the part is a constant
_DOMAINS_NOT_NULL: Final = f"""{_TYPES}
SELECT n.nspname, t.typname FROM types JOIN pg_type t ON t.oid = types.oid
JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typnotnull ORDER BY 1, 2
"""  # noqa: S608 - the part is a constant
_NOT_NULL_NAME: Final = f"""
SELECT k.conname FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = ANY(k.conkey)
WHERE k.conrelid = {_TABLE} AND k.contype = 'n' AND a.attname = %(column)s
"""  # noqa: S608 - the part is a constant
_GENERATED: Final = f"""
SELECT a.attname, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid), a.attnotnull
FROM pg_attribute a JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = {_TABLE} AND a.attgenerated = 's' AND NOT a.attisdropped ORDER BY a.attnum
"""  # noqa: S608 - the part is a constant
