"""The differences between two backups of one kind: objects or tables by name, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from itertools import groupby
from typing import Final

from coffre.model.errors import BackupStateError, EventError
from coffre.model.kinds import TargetKind
from coffre.model.manifest import Entry, Manifest, ObjectFacts, TableContent
from coffre.model.names import shown
from coffre.model.storage import ObjectChoice
from coffre.operations.browse.settings_diff import what_changed
from coffre.operations.stored_backup.object_selection import start_of
from coffre.policy.sorted_merge import side_by_side
from coffre.vault.codec import FrameDecoder
from coffre.vault.sealed_settings import SettingsOpener
from coffre.vault.vault import Vault

# Attributes that belong to an object, unlike those that only say when or how a store keeps it.
_ATTRIBUTES: Final = (
    *("content_type", "content_encoding", "content_disposition", "content_language", "cache_control", "expires"),
    *("metadata", "tags", "storage_class", "acl"),
)


class Change(StrEnum):
    """How something changed from the first backup to the second."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


@dataclass(frozen=True)
class Difference:
    """One object or table that differs between the two. `what` is `content`, or names of attributes.

    Sizes are bytes; `rows` are of tables.
    """

    name: str
    change: Change
    what: tuple[str, ...] = ()
    size_before: int | None = None
    size_after: int | None = None
    rows_before: int | None = None
    rows_after: int | None = None


def differences(
    vault: Vault, first: Manifest, second: Manifest, choice: ObjectChoice, decoder: FrameDecoder | None = None
) -> Iterator[Difference]:
    """Yield what differs, sorted by name.

    Parameters
    ----------
    decoder
        Opens settings, to compare their values. None: they are compared by the versions that their places gave them.

    Raises
    ------
    BackupStateError
        `BACKUP_KIND`: one is of a database, the other of buckets.
    EventError
        `PREFIX_UNMATCHED`: neither backup has any of the objects to compare.
    """
    if first.kind is not second.kind:
        raise BackupStateError(
            f"One backup is of a {first.kind}, the other of a {second.kind}.",
            code="BACKUP_KIND",
            hint="Compare two backups of one kind: coffre list",
        )
    if first.kind is TargetKind.DATABASE:
        if choice.bucket is not None or choice.prefix:
            raise BackupStateError(
                f"The backups are of the database {first.target}: they contain no buckets and no objects.",
                code="BACKUP_KIND",
                hint="Leave out --bucket and --prefix, or compare backups of buckets.",
            )
        return _of_tables(vault, first, second)
    if first.kind is TargetKind.SETTINGS:
        return _of_settings(vault, first, second, choice, decoder)
    return _of_objects(vault, first, second, choice)


def _of_settings(
    vault: Vault, first: Manifest, second: Manifest, choice: ObjectChoice, decoder: FrameDecoder | None
) -> Iterator[Difference]:
    """Yield names alone: sizes of short values say something about them."""
    opener = SettingsOpener(vault, decoder) if decoder is not None else None
    for before, after in _pairs(vault, first, second, choice):
        if before is None and after is not None:
            yield Difference(after.name, Change.ADDED)
        elif after is None and before is not None:
            yield Difference(before.name, Change.REMOVED)
        elif before is not None and after is not None and not _is_same_version(before, after):
            what = ("value",) if opener is None else what_changed(opener, before, after)
            if what:
                yield Difference(before.name, Change.CHANGED, what)


def _is_same_version(before: Entry, after: Entry) -> bool:
    one, other = before.object or ObjectFacts(), after.object or ObjectFacts()
    if one.unread is not None or other.unread is not None:
        return one.unread is not None and other.unread is not None
    return before.sha256 == after.sha256 or (one.etag is not None and one.etag == other.etag)


def _pairs(
    vault: Vault, first: Manifest, second: Manifest, choice: ObjectChoice
) -> Iterator[tuple[Entry | None, Entry | None]]:
    left, right = (_below(vault, manifest, _start(manifest, choice)) for manifest in (first, second))
    is_empty = True
    for pair in side_by_side(left, right, _name_of, _name_of):
        is_empty = False
        yield pair
    if is_empty and (choice.bucket is not None or choice.prefix):
        raise EventError(
            f"Neither backup has an object below {_start(second, choice)}.",
            code="PREFIX_UNMATCHED",
            hint=f"See what they contain: coffre ls {second.backup_id}",
        )


def _of_objects(vault: Vault, first: Manifest, second: Manifest, choice: ObjectChoice) -> Iterator[Difference]:
    for before, after in _pairs(vault, first, second, choice):
        if before is None and after is not None:
            yield Difference(after.name, Change.ADDED, size_after=after.size)
        elif after is None and before is not None:
            yield Difference(before.name, Change.REMOVED, size_before=before.size)
        elif before is not None and after is not None and (what := _what_differs(before, after)):
            yield Difference(before.name, Change.CHANGED, what, before.size, after.size)


def _start(manifest: Manifest, choice: ObjectChoice) -> str:
    """Return the start of the names. A bucket that only one of the backups has is no error here."""
    if choice.bucket is not None:
        return f"{choice.bucket}/{choice.prefix}"
    return start_of(manifest.storage, choice)


def _below(vault: Vault, manifest: Manifest, start: str) -> Iterator[Entry]:
    for entry in vault.entries(manifest, start):
        if entry.name.startswith(start):
            yield entry
        elif entry.name > start:
            return


def _what_differs(before: Entry, after: Entry) -> tuple[str, ...]:
    one, other = before.object or ObjectFacts(), after.object or ObjectFacts()
    is_read = one.unread is None and other.unread is None
    same = before.sha256 == after.sha256 if is_read else one.etag == other.etag
    content = () if same and before.size == after.size else ("content",)
    # An object that could not be read has no attributes either.
    attributes = (name for name in _ATTRIBUTES if is_read and getattr(one, name) != getattr(other, name))
    return (*content, *attributes)


@dataclass(frozen=True)
class _Table:
    name: str
    rows: int
    size: int
    digest: str


def _of_tables(vault: Vault, first: Manifest, second: Manifest) -> Iterator[Difference]:
    left, right = _tables(vault, first), _tables(vault, second)
    for before, after in side_by_side(left, right, lambda table: table.name, lambda table: table.name):
        if before is None and after is not None:
            yield Difference(after.name, Change.ADDED, size_after=after.size, rows_after=after.rows)
        elif after is None and before is not None:
            yield Difference(before.name, Change.REMOVED, size_before=before.size, rows_before=before.rows)
        elif before is not None and after is not None and before.digest != after.digest:
            sizes = before.size, after.size
            yield Difference(before.name, Change.CHANGED, ("content",), *sizes, before.rows, after.rows)


def _tables(vault: Vault, manifest: Manifest) -> list[_Table]:
    """Return the tables by name, each with a digest of its columns and of the content of its slices."""
    contents = {(table.schema_name, table.table_name): table for table in manifest.database.tables}
    digests = {name: _digest(table, ()) for name, table in contents.items()}
    slices = (entry for entry in vault.entries(manifest) if entry.relation is not None)
    for relation, entries in groupby(slices, key=lambda entry: entry.relation):
        if relation is not None and (name := (relation.schema_name, relation.relation_name)) in contents:
            digests[name] = _digest(contents[name], (entry.sha256 for entry in entries))
    found = (_Table(shown(*name), table.rows, table.size, digests[name]) for name, table in contents.items())
    return sorted(found, key=lambda table: table.name)


def _digest(table: TableContent, slices: Iterable[str]) -> str:
    whole = sha256(repr(table.columns).encode())
    for digest in slices:
        whole.update(digest.encode())
    return whole.hexdigest()


def _name_of(entry: Entry) -> str:
    return entry.name
