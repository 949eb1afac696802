"""What a database has and its backup does not: relations with rows, and definitions that the role cannot read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from coffre.model.names import UNFINISHED_RESTORE, shown
from coffre.policy.patterns import table_pattern
from coffre.postgres.archive.reader import TocEntry

type Query = Callable[..., list[tuple[Any, ...]]]

_NAMES_SHOWN: Final = 50


class Kind(StrEnum):
    """Why the rows of a relation are not in a backup."""

    MEMBER = "member"
    SEQUENCE = "sequence"
    FOREIGN = "foreign"
    TEMPORARY = "temporary"
    CHOSEN = "chosen"
    TRANSIENT = "transient"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Unstored:
    """A relation whose rows are not in the backup. `extension` is the one that it is a member of."""

    kind: Kind
    schema: str
    name: str
    extension: str | None

    @property
    def shown(self) -> str:
        """The name for a person."""
        return shown(self.schema, self.name)


def chosen_members(query: Query, patterns: Sequence[str]) -> tuple[list[int], list[str]]:
    """Return the oids of extensions' members, no configuration tables, that fit, and the patterns that none fits."""
    fitting = {pattern: table_pattern(pattern) for pattern in patterns}
    found: dict[int, None] = {}
    unused = dict.fromkeys(patterns)
    for oid, schema, name in query(_MEMBERS) if patterns else ():
        for pattern, fits in fitting.items():
            if fits(schema, name):
                found[oid] = None
                unused.pop(pattern, None)
    return list(found), list(unused)


def find_unstored(
    query: Query,
    toc: Sequence[TocEntry],
    stored: Collection[int],
    *,
    is_chosen: bool,
    may_have_rows: Callable[[int, str, str], bool],
) -> Iterator[Unstored]:
    """Yield the relations of the snapshot that can hold rows and whose rows are not stored, sorted by name.

    Parameters
    ----------
    stored
        Oids of tables, and of sequences, that the backup has, with their rows, or without because the
        configuration excludes them.
    is_chosen
        The target's configuration names schemas or tables: what else is not stored is its choice.
    may_have_rows
        Looks whether a table (by oid, schema and name) has any row in the snapshot; True when that is unknown.
    """
    extensions = {entry.tag for entry in toc if entry.description == "EXTENSION"}
    foreign = {entry.oid for entry in toc if entry.description == "FOREIGN TABLE"}
    for oid, schema, name, kind, persistence, extension, was_used in query(_RELATIONS):
        if oid in stored or schema.startswith(UNFINISHED_RESTORE):
            continue
        if persistence == "t":
            yield Unstored(Kind.TEMPORARY, schema, name, extension)
        elif extension is not None and extension not in extensions:
            if is_chosen and kind != "S":
                yield Unstored(Kind.CHOSEN, schema, name, extension)
        elif kind == "S":
            if extension is not None and was_used:
                yield Unstored(Kind.SEQUENCE, schema, name, extension)
        elif kind == "f" and (oid in foreign or not is_chosen):
            yield Unstored(Kind.FOREIGN, schema, name, extension)
        elif extension is None and is_chosen:
            yield Unstored(Kind.CHOSEN, schema, name, extension)
        elif may_have_rows(oid, schema, name):
            yield Unstored(Kind.UNKNOWN if extension is None else Kind.MEMBER, schema, name, extension)


def exceptions_for(found: Iterable[Unstored], unused: Sequence[str]) -> tuple[str, ...]:
    """Return a sentence for each kind of what is missing in the backup without anybody having asked for that."""
    by_kind = _by_kind(found)
    said = [
        f"The rows of {one.shown} are not in the backup: it is a member of the extension {one.extension} and no "
        f"configuration table of it, so pg_dump leaves it out. To store them: tables.include_members."
        for one in by_kind[Kind.MEMBER]
    ]
    said += [
        f"The value of the sequence {one.shown} is not in the backup: it is a member of the extension {one.extension} "
        "and not marked as its configuration (pg_extension_config_dump)."
        for one in by_kind[Kind.SEQUENCE]
    ]
    if foreign := by_kind[Kind.FOREIGN]:
        said.append(f"The rows of foreign tables are not in the backup, they are elsewhere: {_names(foreign)}.")
    if unknown := by_kind[Kind.UNKNOWN]:
        said.append(f"The rows of {_names(unknown)} are not in the backup: pg_dump did not take the table.")
    said += [
        f'No table fits "{pattern}" (tables.include_members) that is a member of an extension and not configuration.'
        for pattern in unused
    ]
    return tuple(said)


def notes_for(found: Iterable[Unstored]) -> tuple[str, ...]:
    """Return a sentence for each kind of what is meant to be missing in the backup."""
    by_kind = _by_kind(found)
    said = []
    if left_out := by_kind[Kind.CHOSEN]:
        said.append(f"The configuration leaves these tables out of the backup: {_names(left_out)}.")
    if temporary := by_kind[Kind.TEMPORARY]:
        said.append(f"Temporary tables of other sessions are not in the backup: {len(temporary)}.")
    if transient := by_kind[Kind.TRANSIENT]:
        said.append(f"The rows of {_names(transient)} are not in the backup: they are of use for a short time only.")
    return tuple(said)


def unread_definitions(query: Query, toc: Sequence[TocEntry]) -> tuple[str, ...]:
    """Return a sentence for each subscription, and for the options of each user mapping, that the role cannot read."""
    dumped = {entry.tag for entry in toc if entry.description == "SUBSCRIPTION"}
    said = [
        f"The subscription {name} is not in the backup: only a superuser can read subscriptions."
        for (name,) in query(_SUBSCRIPTIONS)
        if name not in dumped
    ]
    mappings = {entry.tag for entry in toc if entry.description == "USER MAPPING"}
    said += [
        f"The options (such as a password) of the user mapping for {user} on the server {server} are not in the "
        "backup: the role cannot read them. It has to own the server, or to be a superuser."
        for user, server in query(_HIDDEN_MAPPINGS)
        if f"USER MAPPING {user} SERVER {server}" in mappings
    ]
    return tuple(said)


def _by_kind(found: Iterable[Unstored]) -> dict[Kind, list[Unstored]]:
    by_kind: dict[Kind, list[Unstored]] = {kind: [] for kind in Kind}
    for one in found:
        by_kind[one.kind].append(one)
    return by_kind


def _names(found: Sequence[Unstored]) -> str:
    more = f" and {len(found) - _NAMES_SHOWN:,} more" if len(found) > _NAMES_SHOWN else ""
    return f"{', '.join(one.shown for one in found[:_NAMES_SHOWN])}{more}"


_MEMBER_OF: Final = """
pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
"""
_IS_MEMBER: Final = "d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'"
_MEMBERS: Final = f"""
SELECT c.oid::bigint, n.nspname, c.relname
FROM {_MEMBER_OF} JOIN pg_class c ON {_IS_MEMBER} JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND NOT c.oid = ANY(coalesce(e.extconfig, '{{}}'))
ORDER BY 2, 3
"""  # noqa: S608 - the parts are constants
# What initdb made has lower oids. Of sequences only members can be missing. The function on them needs a right on each.
_RELATIONS: Final = f"""
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind::text, c.relpersistence::text, e.extname::text,
       CASE WHEN c.relkind <> 'S' THEN false WHEN NOT has_sequence_privilege(c.oid, 'SELECT, USAGE') THEN true
            ELSE pg_sequence_last_value(c.oid) IS NOT NULL END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN ({_MEMBER_OF}) ON {_IS_MEMBER}
WHERE (c.relkind IN ('r', 'f') OR c.relkind = 'S' AND c.relpersistence <> 't' AND e.oid IS NOT NULL)
  AND c.oid >= 16384 AND n.nspname !~ '^pg_toast'
ORDER BY 2, 3
"""  # noqa: S608 - the parts are constants
_SUBSCRIPTIONS: Final = """
SELECT subname FROM pg_subscription
WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1
"""
# The condition of the view pg_user_mappings: where it is not met, options are hidden, and none may exist.
_HIDDEN_MAPPINGS: Final = """
SELECT coalesce(m.usename, 'public'), m.srvname
FROM pg_user_mappings m JOIN pg_foreign_server s ON s.oid = m.srvid
WHERE m.umoptions IS NULL AND NOT (
    m.umuser <> 0 AND m.usename = current_user
        AND (pg_has_role(s.srvowner, 'USAGE') OR has_server_privilege(s.oid, 'USAGE'))
    OR m.umuser = 0 AND pg_has_role(s.srvowner, 'USAGE')
    OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user))
ORDER BY 1, 2
"""
