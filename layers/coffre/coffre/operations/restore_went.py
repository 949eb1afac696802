"""What went with dropped tables (`DROP TABLE ... CASCADE`): views over them, keys to them; with the tables or said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import psycopg2.extensions

from coffre.model.errors import RestoreError
from coffre.model.manifest import RelationName
from coffre.model.names import qualified
from coffre.operations.restore_plan import Source
from coffre.postgres.archive import TocEntry
from coffre.postgres.load import refresh_materialized_views
from coffre.postgres.schema_loader import SchemaLoader
from coffre.postgres.selection import absent, needed_by, needing, parts_of

_WORDS: Final = {"FK CONSTRAINT": "foreign key"}


@dataclass(frozen=True)
class Went:
    """What is in the backup, is not in the database, and needs a table that comes back.

    Parameters
    ----------
    back
        Comes back with the tables; without its parts (indexes of a view, its rights).
    lost
        Does not, because it was not asked for or because it needs what is not there either.
    """

    was_asked_for: bool
    back: Sequence[TocEntry]
    lost: Sequence[TocEntry]

    @property
    def exceptions(self) -> list[str]:
        """What a person has to know about it."""
        if not (named := [spoken(entry) for entry in self.lost if entry.description != "INDEX"]):
            return []
        why = "it needs what is not there" if self.was_asked_for else "without --with-dependencies"
        return [f"Went with the tables, and is not restored ({why}): {', '.join(named)}."]


def find_went(
    source: Source, tables: Iterable[TocEntry], known: set[int], cursor: psycopg2.extensions.cursor, *, back: bool
) -> Went:
    """Look up what went with tables.

    Parameters
    ----------
    known
        The dump ids of entries that are restored, or left out for another reason.
    back
        Whether it is to come back too.
    """
    went = absent(cursor, [entry for entry in needing(source.toc, tables) if entry.dump_id not in known])
    restorable = list(_restorable(source, went, known, cursor)) if back else []
    return Went(was_asked_for=back, back=restorable, lost=[entry for entry in went if entry not in restorable])


def _restorable(
    source: Source, went: Iterable[TocEntry], known: set[int], cursor: psycopg2.extensions.cursor
) -> Iterator[TocEntry]:
    """Yield what has all that it needs, in the archive's order: what others need comes first."""
    there = set(known)
    for entry in went:
        needs = absent(cursor, needed_by(source.toc, [entry]))
        # A table would come back without its rows: it has to be asked for.
        if entry.description != "TABLE" and there.issuperset(needed.dump_id for needed in needs):
            there.add(entry.dump_id)
            yield entry


def script_of(source: Source, lost: Sequence[TocEntry], loader: SchemaLoader) -> str | None:
    """Return the SQL that brings back what was lost, for psql; None when nothing was."""
    entries = parts_of(source.toc, [entry for entry in lost if entry.description != "TABLE"])
    if not entries:
        return None
    views = views_of(source, entries)
    refresh = "".join(f"REFRESH MATERIALIZED VIEW {qualified(v.schema_name, v.relation_name)};\n" for v in views)
    sections = [loader.script(source.archive, section, entries) for section in ("pre-data", "post-data")]
    return "".join([*sections, refresh]).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def views_of(source: Source, entries: Iterable[TocEntry]) -> list[RelationName]:
    """Return those of the entries that are materialized views and were filled, each after those that it reads."""
    names = {(entry.schema, entry.tag) for entry in entries if entry.description == "MATERIALIZED VIEW"}
    return [v for v in source.content.materialized_views if (v.schema_name, v.relation_name) in names]


def fill(session: psycopg2.extensions.connection, views: Iterable[RelationName]) -> list[str]:
    """Fill materialized views that came back, one by one; return a sentence for each that cannot be filled."""
    exceptions = []
    for view in views:
        try:
            refresh_materialized_views(session, [view])
            session.commit()
        except RestoreError as error:
            session.rollback()
            exceptions.append(f"{error.message} {error.detail}.")
    return exceptions


def spoken(entry: TocEntry) -> str:
    """Return an entry for a sentence: `view public.sales`."""
    kind = _WORDS.get(entry.description, entry.description.lower())
    return f"{kind} {entry.schema}.{entry.tag}" if entry.schema else f"{kind} {entry.tag}"
