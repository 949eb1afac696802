"""What comes after chosen tables, each by itself: keys, views, functions, policies. What is refused is named."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import psycopg2.extensions
from psycopg2 import sql

from coffre.model.errors import RestoreError
from coffre.operations.restore_load import loading_session
from coffre.operations.restore_outcome import Outcome
from coffre.operations.restore_plan import Job, Source, select
from coffre.operations.restore_went import Went, fill, is_query_of_view, spoken, view_of, views_of
from coffre.postgres.archive import Section, TocEntry
from coffre.postgres.destination import Destination
from coffre.postgres.schema_loader import SchemaLoader
from coffre.postgres.selection import needing, parts_of

_SECTIONS = {Section.PRE_DATA: "pre-data", Section.POST_DATA: "post-data"}


def followers_of(source: Source, destination: Destination, went: Went, outcome: Outcome) -> list[TocEntry]:
    """Return the entries that bring back what went, with its parts, and name what the destination cannot take."""
    if not went.back:
        return []
    wanted = frozenset(part.dump_id for part in parts_of(source.toc, went.back))
    lines = select(source, destination, wanted).lines
    kept = {line.dump_id for line in lines}
    for entry in went.back:
        if entry.dump_id not in kept:
            outcome.leave_out(spoken(entry), "the destination cannot take it", entry.definition)
    return lines


def bring_followers(
    job: Job, source: Source, loader: SchemaLoader, entries: Iterable[TocEntry], outcome: Outcome
) -> list[TocEntry]:
    """Create what follows restored tables, and return what could be made.

    Each in a transaction of its own: what the server refuses is left out, with what needs it, and named with its SQL.
    """
    wanted = {entry.dump_id for entry in entries}
    groups = _groups([entry for entry in source.toc if entry.dump_id in wanted])
    if not groups:
        return []
    made: list[TocEntry] = []
    refused: set[int] = set()
    with outcome.phase("what follows"), loading_session(job) as session:
        for entry, *about in groups:
            if lacking := [one for one in source.toc if one.dump_id in refused.intersection(entry.dependencies)]:
                refused.add(entry.dump_id)
                _leave_out(outcome, entry, f"it needs the {spoken(lacking[0])}")
            elif error := _make(session, source, loader, [entry, *about]):
                refused.add(entry.dump_id)
                if is_query_of_view(entry):
                    refused |= _without_view(session, source, entry, made, outcome)
                _leave_out(outcome, view_of(source.toc, entry) or entry, error, entry.definition)
            else:
                made.append(entry)
    return made


def _groups(entries: Sequence[TocEntry]) -> list[list[TocEntry]]:
    """Return the entries, those of pre-data first, each with its comments and rights: these have no section."""
    groups = {entry.dump_id: [entry] for entry in entries if entry.section in _SECTIONS}
    for entry in entries:
        if entry.section not in _SECTIONS:
            for needed in entry.dependencies:
                if needed in groups:
                    groups[needed].append(entry)
                    break
    return sorted(groups.values(), key=lambda group: group[0].section)


def _make(
    session: psycopg2.extensions.connection, source: Source, loader: SchemaLoader, group: Sequence[TocEntry]
) -> str | None:
    """Make an entry with what is about it, and return why not."""
    try:
        with session.cursor() as cursor:
            section = _SECTIONS[group[0].section]
            loader.execute(cursor, source.archive, section, group, source.content.encoding)
        session.commit()
    except RestoreError as error:
        session.rollback()
        return error.detail or error.message
    return None


def _leave_out(outcome: Outcome, entry: TocEntry, reason: str, statement: str | None = None) -> None:
    if not is_query_of_view(entry):
        outcome.leave_out(spoken(entry), reason, statement or entry.definition)


def fill_views(job: Job, source: Source, entries: Iterable[TocEntry], outcome: Outcome) -> None:
    """Fill those of the entries that are materialized views."""
    if views := views_of(source, entries):
        with outcome.phase("materialized views"), loading_session(job) as session:
            outcome.exceptions += fill(session, views)


def _without_view(
    session: psycopg2.extensions.connection,
    source: Source,
    query: TocEntry,
    made: list[TocEntry],
    outcome: Outcome,
) -> set[int]:
    """Drop a view that was made for others to refer to, and did not get its query; return what is gone with it."""
    view = view_of(source.toc, query)
    if view not in made or view is None:
        return set()
    with session.cursor() as cursor:
        cursor.execute(sql.SQL("DROP VIEW {} CASCADE").format(sql.Identifier(view.schema or "", view.tag)))
    session.commit()
    gone: Sequence[TocEntry] = [entry for entry in needing(source.toc, [view]) if entry in made]
    for entry in gone:
        made.remove(entry)
        if entry is not view:
            _leave_out(outcome, entry, f"it needs the {spoken(view)}")
    return {entry.dump_id for entry in gone}
