"""The contents of a backup: folders and objects, or tables."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Final

from coffre.model.errors import EventError
from coffre.model.manifest import DatabaseContent, Entry, EntryKind, Manifest, TableContent
from coffre.model.names import shown
from coffre.model.storage import ObjectChoice
from coffre.operations.stored_backup.object_selection import chosen_entries, start_of
from coffre.vault.codec import FrameDecoder
from coffre.vault.read_ahead import plaintext_ahead
from coffre.vault.vault import Vault

# Appended to a folder, it sorts after every name in it: no key is that long.
_LAST: Final = "\U0010ffff" * 1024


@dataclass(frozen=True)
class Folder:
    """All objects whose names start with `name`, which ends with a slash."""

    name: str


def objects_below(vault: Vault, manifest: Manifest, choice: ObjectChoice) -> Iterator[Entry]:
    """Yield the chosen objects, sorted by name; raises what `chosen_entries` raises."""
    return (entry for _, entry in chosen_entries(vault, manifest, choice) if entry is not None)


def folder_view(vault: Vault, manifest: Manifest, choice: ObjectChoice) -> Iterator[Folder | Entry]:
    """Yield the objects directly below a prefix, and the folders of all deeper ones, in the order of the names.

    Files of entries that are entirely in one folder are not read. Without a bucket, the buckets are the folders.

    Raises
    ------
    EventError
        What `chosen_entries` raises.
    """
    if choice.bucket is None and not choice.prefix and len(manifest.storage.buckets) != 1:
        yield from (Folder(f"{bucket.name}/") for bucket in manifest.storage.buckets)
        return
    bucket = choice.bucket or manifest.storage.buckets[0].name
    choice = choice.model_copy(update={"bucket": bucket})
    start, after = start_of(manifest.storage, choice), ""
    while True:
        folder = yield from _up_to_a_large_folder(vault, manifest, choice, start, after)
        if folder is None:
            return
        after = folder + _LAST


def _up_to_a_large_folder(
    vault: Vault, manifest: Manifest, choice: ObjectChoice, start: str, after: str
) -> Generator[Folder | Entry, None, str | None]:
    """Yield until a folder continues after the file of entries in which it began, and return that folder."""
    ends = iter([file.first for file in manifest.entries[1:]])
    end = next(ends, None)
    last = ""
    for name, entry in chosen_entries(vault, manifest, choice, after):
        while end is not None and name >= end:
            if last and end.startswith(last):
                return last
            end = next(ends, None)
        deeper = name[len(start) :].find("/")
        if deeper < 0:
            if entry is not None:
                yield entry
        elif not (last and name.startswith(last)):
            last = name[: len(start) + deeper + 1]
            yield Folder(last)
    return None


def find_table(content: DatabaseContent, name: str) -> TableContent:
    """Return the table of this name. The schema may be left out if the name is unique.

    Raises
    ------
    EventError
        `TABLE_UNKNOWN`
    """
    found = [
        table
        for table in content.tables
        if name in (shown(table.schema_name, table.table_name), f"{table.schema_name}.{table.table_name}")
    ] or [table for table in content.tables if table.table_name == name]
    if len(found) == 1:
        return found[0]
    raise EventError(
        f'The backup has {len(found) or "no"} table{"s" if found else ""} "{name}".',
        code="TABLE_UNKNOWN",
        hint="Give the name with its schema, as `coffre ls` shows it.",
    )


def find_object(vault: Vault, manifest: Manifest, choice: ObjectChoice) -> Entry:
    """Return the one chosen object.

    Raises
    ------
    EventError
        `NOT_IN_BACKUP`; `OBJECT_UNREAD`: the backup listed it, but could not read its bytes.
    """
    [(name, entry)] = chosen_entries(vault, manifest, choice)
    if entry is None:
        raise EventError(
            f"The backup has no object {name}.",
            code="NOT_IN_BACKUP",
            hint=f"See what it contains: coffre ls {manifest.backup_id}",
        )
    if entry.object is not None and entry.object.unread is not None:
        raise EventError(
            f"The bytes of {name} are not in the backup: the backup could not read them.",
            code="OBJECT_UNREAD",
            detail=entry.object.unread,
            hint="An older backup may have them: coffre list",
        )
    return entry


def bytes_of(vault: Vault, decoder: FrameDecoder, entry: Entry) -> Iterator[bytes]:
    """Yield the bytes of an entry. Each frame is checked before it is yielded, the last one with the whole entry.

    Raises
    ------
    IntegrityError
        What `Vault.read_entry` raises.
    """
    return plaintext_ahead(vault, decoder, entry)


def roles_of(vault: Vault, manifest: Manifest, decoder: FrameDecoder) -> Iterator[bytes]:
    """Yield the SQL that creates the roles of the server, without passwords; raises what `bytes_of` raises.

    Raises
    ------
    EventError
        `NOT_IN_BACKUP`
    """
    entry = next((one for one in vault.entries(manifest) if one.kind is EntryKind.ROLES), None)
    if entry is None:
        raise EventError(
            "The backup has no roles.",
            code="NOT_IN_BACKUP",
            hint=f"It holds data alone, or the roles could not be read: coffre show {manifest.backup_id}",
        )
    return bytes_of(vault, decoder, entry)


def rows_of(vault: Vault, manifest: Manifest, decoder: FrameDecoder, table: TableContent) -> Iterator[bytes]:
    """Yield the rows of a table as `COPY` wrote them; raises what `bytes_of` raises."""
    wanted = (table.schema_name, table.table_name)
    for entry in vault.entries(manifest):
        relation = entry.relation
        if relation is not None and (relation.schema_name, relation.relation_name) == wanted:
            yield from bytes_of(vault, decoder, entry)
