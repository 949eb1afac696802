"""Load the sample application database Casa, and damage it the way it happens at three in the morning."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from psycopg2 import sql
from psycopg2.extensions import connection

from coffre_local.sample.session import pinned_connection

type _Step = tuple[str, str]  # the words for it, and the script next to this module

_ROLES: _Step = ("Creating roles", "roles.sql")
_TABLES: tuple[_Step, ...] = (
    ("Creating types and tables", "schema.sql"),
    ("Writing rows", "data.sql"),
    ("Adding keys and indexes", "constraints.sql"),
)
_LOGIC: _Step = ("Adding views, triggers and privileges", "logic.sql")
_LARGE_OBJECTS: _Step = ("Adding large objects", "large_objects.sql")

# Speed only: what is loaded here can be loaded again.
_BULK_SETTINGS = """
SET LOCAL synchronous_commit = off;
SET LOCAL maintenance_work_mem = '128MB';
SET LOCAL work_mem = '64MB';
"""

# Tables and views, without those of an extension: they do not make a database a used one.
_RELATIONS = """
SELECT n.nspname, c.relname, c.relkind = 'r', pg_total_relation_size(c.oid)
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_depend AS d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
"""


class DatabaseNotEmptyError(Exception):
    """The sample is loaded into an empty database only; it never replaces anything."""


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """What was loaded.

    Parameters
    ----------
    tables
        Tables that hold rows of their own: ordinary tables and partitions, not the partitioned tables above them.
    rows
        Rows in these tables.
    bytes
        Size of these tables on disk with their indexes.
    """

    tables: int
    rows: int
    bytes: int


def load(
    dsn: str,
    *,
    scale: float = 1.0,
    large_objects: bool = False,
    on_step: Callable[[str], None] | None = None,
) -> SampleSummary:
    """Load Casa into an empty database: its two roles (of the cluster), then all the rest in one transaction.

    Parameters
    ----------
    scale
        1.0 is about 770,000 rows. The same scale gives the same rows on every server of PostgreSQL 14 to 18.
    large_objects
        Add three large objects with comments.
    on_step
        Called with a few words before each step.

    Raises
    ------
    DatabaseNotEmptyError
        The database has tables or views already. Nothing was changed.
    """
    say = on_step or _say_nothing
    with pinned_connection(dsn) as conn:
        _refuse_unless_empty(conn)
        _run(conn, _ROLES, say)
        conn.commit()
        _configure(conn, scale)
        for step in _TABLES:
            _run(conn, step, say)
        summary = _summarise(conn)  # before row security hides rows from an owner who is not a superuser
        for step in (_LOGIC, _LARGE_OBJECTS) if large_objects else (_LOGIC,):
            _run(conn, step, say)
        _analyze(conn, say)
    return summary


def damage(dsn: str) -> list[str]:
    """Do to a loaded sample what an accident does: drop one table, overwrite a second, delete from a third.

    Returns
    -------
    list of str
        One sentence per accident with the number of rows, in the order in which they happened.
    """
    with pinned_connection(dsn) as conn, conn.cursor() as cursor:
        cursor.execute(_script("damage.sql"))
        return [sentence for (sentence,) in cursor.fetchall()]


def _refuse_unless_empty(conn: connection) -> None:
    with conn.cursor() as cursor:
        cursor.execute(_RELATIONS)
        if cursor.rowcount:
            raise DatabaseNotEmptyError(f"The database has {cursor.rowcount} tables and views already.")


def _configure(conn: connection, scale: float) -> None:
    with conn.cursor() as cursor:
        cursor.execute(_BULK_SETTINGS)
        cursor.execute("SELECT set_config('casa.scale', %s, true)", (repr(scale),))


def _summarise(conn: connection) -> SampleSummary:
    with conn.cursor() as cursor:
        cursor.execute(_RELATIONS)
        tables = [
            (sql.Identifier(schema, name), size) for schema, name, is_table, size in cursor.fetchall() if is_table
        ]
        rows = 0
        for table, _ in tables:
            cursor.execute(sql.SQL("SELECT count(*) FROM ONLY {}").format(table))
            rows += (cursor.fetchone() or (0,))[0]
    return SampleSummary(tables=len(tables), rows=rows, bytes=sum(size for _, size in tables))


def _run(conn: connection, step: _Step, say: Callable[[str], None]) -> None:
    words, script = step
    say(words)
    with conn.cursor() as cursor:
        cursor.execute(_script(script))


def _analyze(conn: connection, say: Callable[[str], None]) -> None:
    say("Collecting statistics")
    with conn.cursor() as cursor:
        cursor.execute("ANALYZE")


def _script(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _say_nothing(_: str) -> None:
    pass
