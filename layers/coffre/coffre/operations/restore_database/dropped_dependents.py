"""What was dropped with tables (`DROP TABLE ... CASCADE`), as views and foreign keys: restored with them, or named."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from coffre.model.manifest import RelationName
from coffre.model.names import qualified
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.postgres.archive.dependencies import needed_by, needing, parts_of
from coffre.postgres.archive.entry_sql import statements_of
from coffre.postgres.archive.reader import TocEntry

_WORDS: Final = {"FK CONSTRAINT": "foreign key"}
# The rule that is the query of a view: the end of its entry's tag.
_QUERY: Final = " _RETURN"


@dataclass(frozen=True)
class DroppedDependents:
    """What is in the backup, is not in the database, and needs chosen tables.

    Parameters
    ----------
    back
        What is restored with the tables; without its parts (indexes of a view, its privileges).
    lost
        What is not, because it was not asked for, or because it needs what does not exist either.
    """

    was_asked_for: bool
    back: Sequence[TocEntry]
    lost: Sequence[TocEntry]

    @property
    def exceptions(self) -> list[str]:
        """What the operator has to know about dependents of tables that are created again."""
        if not (names := [spoken(entry) for entry in named(self.lost)]):
            return []
        why = "it needs what does not exist" if self.was_asked_for else "without --with-dependencies"
        return [f"Was dropped with the tables, and is not restored ({why}): {', '.join(names)}."]

    def say_of_existing(self, job: RestoreJob, outcome: ReportBuilder) -> None:
        """Say what is missing of what needs tables that exist."""
        for entry in named(self.back):
            outcome.steps.append(f"Restore the {spoken(entry)}, which {job.connection} lacks.")
        if names := [spoken(entry) for entry in named(self.lost)]:
            todo = "It needs more that does not exist" if self.was_asked_for else "--with-dependencies restores it"
            outcome.notes.append(f"In the backup, and not in {job.connection}: {', '.join(names)}. {todo}.")


def named(entries: Iterable[TocEntry]) -> list[TocEntry]:
    """Return what has to be named: an index comes with its table, and the query of a view with the view."""
    return [entry for entry in entries if entry.description != "INDEX" and not is_query_of_view(entry)]


def decide_dropped_dependents(
    toc: Sequence[TocEntry],
    tables: Sequence[TocEntry],
    known: Collection[int],
    absent: Collection[int],
    *,
    back: bool,
) -> DroppedDependents:
    """Decide which dependents of tables are restored with them.

    Parameters
    ----------
    known
        The dump ids of entries that are restored, or left out for another reason.
    absent
        The dump ids of dependents, and of what they need, that the database does not have.
    back
        Whether dependents are to be restored.
    """
    dropped = [entry for entry in dependents_of(toc, tables) if entry.dump_id in absent and entry.dump_id not in known]
    restorable = list(_restorable(toc, dropped, known, absent)) if back else []
    return DroppedDependents(
        was_asked_for=back, back=restorable, lost=[entry for entry in dropped if entry not in restorable]
    )


def find_missing(
    source: Source,
    tables: Sequence[TocEntry],
    known: Collection[int],
    absent: Callable[[Sequence[TocEntry]], Collection[int]],
    *,
    back: bool,
) -> DroppedDependents:
    """Look up what needs existing tables, and does not exist: an earlier restore may have created only the tables.

    Parts of the tables themselves are theirs to have or not; but their keys can have been left out. `absent`
    returns the dump ids of those entries that the database lacks.
    """
    own = {part.dump_id for part in parts_of(source.toc, tables) if part.description != "FK CONSTRAINT"}
    known = {*known, *own}
    dependents = [entry for entry in dependents_of(source.toc, tables) if entry.dump_id not in known]
    needed = needed_by(source.toc, dependents) if back else []
    return decide_dropped_dependents(source.toc, tables, known, absent([*dependents, *needed]), back=back)


def dependents_of(entries: Sequence[TocEntry], tables: Sequence[TocEntry]) -> list[TocEntry]:
    """Return what needs the tables, directly or not, in the archive's order.

    The query of a view that groups by a primary key stands apart, as a rule: the view without it needs nothing. And a
    key to a partitioned table goes with any of its partitions.
    """
    roots = list(tables)
    while True:
        found = needing(entries, roots)
        views = [view_of(entries, entry) for entry in found if is_query_of_view(entry)]
        more = [view for view in views if view is not None and view not in found]
        if not more:
            break
        roots += more
    ids = {entry.dump_id for entry in found} | _keys_to(entries, _parents(entries, tables))
    return [entry for entry in entries if entry.dump_id in ids]


def _parents(entries: Iterable[TocEntry], tables: Iterable[TocEntry]) -> set[int]:
    """Return the partitioned tables (dump ids), of every level, whose partitions the tables are."""
    ids = {(entry.schema, entry.tag): entry.dump_id for entry in entries if entry.description == "TABLE"}
    above: dict[int, set[int]] = {}
    for entry in entries:
        if entry.description == "TABLE ATTACH" and (child := ids.get((entry.schema, entry.tag))) is not None:
            above[child] = set(entry.dependencies) - {child}
    found: set[int] = set()
    waiting = {table.dump_id for table in tables}
    while waiting:
        parents = above.get(waiting.pop(), set()) - found
        found |= parents
        waiting |= parents
    return found


def _keys_to(entries: Iterable[TocEntry], tables: Collection[int]) -> set[int]:
    """Return the foreign keys (dump ids) that point at the tables: they need a constraint or an index of one."""
    unique = {
        entry.dump_id
        for entry in entries
        if entry.description in ("CONSTRAINT", "INDEX") and not set(tables).isdisjoint(entry.dependencies)
    }
    return {
        entry.dump_id
        for entry in entries
        if entry.description == "FK CONSTRAINT" and not unique.isdisjoint(entry.dependencies)
    }


def is_query_of_view(entry: TocEntry) -> bool:
    """Whether an entry is the query of a view that was made without it."""
    return entry.description == "RULE" and entry.tag.endswith(_QUERY)


def view_of(entries: Iterable[TocEntry], query: TocEntry) -> TocEntry | None:
    """Return the view whose query this is; None of any other entry."""
    if not is_query_of_view(query):
        return None
    name = query.schema, query.tag.removesuffix(_QUERY)
    return next((entry for entry in entries if entry.description == "VIEW" and (entry.schema, entry.tag) == name), None)


def _restorable(
    toc: Sequence[TocEntry], dropped: Iterable[TocEntry], known: Collection[int], absent: Collection[int]
) -> Iterator[TocEntry]:
    """Yield what has all that it needs, in the archive's order: what others need comes first."""
    present = set(known)
    for entry in dropped:
        needs = {needed.dump_id for needed in needed_by(toc, [entry])}
        # A table would be restored without its rows: it has to be asked for.
        if entry.description != "TABLE" and present.issuperset(needs.intersection(absent)):
            present.add(entry.dump_id)
            yield entry


def script_of(source: Source, lost: Sequence[TocEntry]) -> str | None:
    """Return the SQL that restores what was lost, for psql; None when nothing was."""
    entries = parts_of(source.toc, [entry for entry in lost if entry.description != "TABLE"])
    if not entries:
        return None
    views = views_of(source, entries)
    refresh = "".join(f"REFRESH MATERIALIZED VIEW {qualified(v.schema_name, v.relation_name)};\n" for v in views)
    return (
        "SET check_function_bodies = false;\n" + statements_of(entries, source.toc, source.content.encoding) + refresh
    )


def views_of(source: Source, entries: Iterable[TocEntry]) -> list[RelationName]:
    """Return those of the entries that are materialized views and were filled, each after those that it reads."""
    names = {(entry.schema, entry.tag) for entry in entries if entry.description == "MATERIALIZED VIEW"}
    return [v for v in source.content.materialized_views if (v.schema_name, v.relation_name) in names]


def spoken(entry: TocEntry) -> str:
    """Return an entry for a sentence: `view public.sales`."""
    kind = _WORDS.get(entry.description, entry.description.lower())
    return f"{kind} {entry.schema}.{entry.tag}" if entry.schema else f"{kind} {entry.tag}"
