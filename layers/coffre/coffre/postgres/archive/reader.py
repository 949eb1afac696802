"""The custom archive of `pg_dump`: its header and its table of contents, read from the file's own bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import BinaryIO, Final, NoReturn

from coffre.model.errors import IntegrityError
from coffre.postgres.archive.unknown_options import without_known

MAGIC: Final = b"PGDMP"
# What pg_dump writes: 1.14 is of PostgreSQL 12 to 15, 1.15 of 16, 1.16 of 17 and 18.
_NAMED_COMPRESSION: Final = (1, 15, 0)
_RELATION_KIND: Final = (1, 16, 0)
_VERSIONS: Final = frozenset({(1, 14, 0), _NAMED_COMPRESSION, _RELATION_KIND})
INT_BYTES: Final = 4
OFFSET_BYTES: Final = 8
FORMAT_CUSTOM: Final = 1
_READ_BYTES: Final = 1024 * 1024
_INT: Final = struct.Struct("<?I").unpack


class Section(IntEnum):
    """When an entry is restored."""

    NONE = 1
    PRE_DATA = 2
    DATA = 3
    POST_DATA = 4


class Compression(IntEnum):
    """How the data blocks of an archive are compressed; the table of contents never is."""

    NONE = 0
    GZIP = 1
    LZ4 = 2
    ZSTD = 3


@dataclass(frozen=True)
class TocEntry:
    """One object of an archive, or one piece of data.

    Text is UTF-8 with surrogates for other bytes (`surrogateescape`): names stand in the source's encoding.

    Parameters
    ----------
    dump_id
        Unique in the archive; `pg_restore --list` and `--use-list` name entries by it.
    catalog_oid, oid
        Of the object at the source; zeros where it has no row in a catalog.
    description, tag, schema
        "TABLE", `orders`, `public`; "COMMENT", `COLUMN orders.note`, `public`; "SCHEMA", `app`, None.
    definition, drop, copy
        Statements, each empty when there is none. `copy` says how the data is loaded. A definition is without what no
        server but the source knows (`unknown_options.KNOWN`).
    has_data
        Whether the archive has (or, written with --schema-only, would have had) a data block for it.
    """

    dump_id: int
    catalog_oid: int
    oid: int
    description: str
    tag: str
    schema: str | None
    owner: str
    section: Section
    definition: str = ""
    drop: str = ""
    copy: str = ""
    tablespace: str | None = None
    table_access_method: str | None = None
    relation_kind: str | None = None
    has_data: bool = False
    dependencies: tuple[int, ...] = ()

    @property
    def shown(self) -> str:
        """The entry for a person, as `pg_restore --list` shows it: description, schema, tag and owner in one line."""
        line = " ".join((self.description, self.schema or "-", self.tag, self.owner))
        return line.replace("\n", " ").replace("\r", " ").encode("utf-8", "surrogateescape").decode("utf-8", "replace")


@dataclass(frozen=True)
class Archive:
    """The header of an archive and its entries, in the order in which they are restored.

    `created` is C's `struct tm` up to the year (since 1900), without the day of the week and of the year:
    second, minute, hour, day, month (from 0), year, and whether it was summer time.
    """

    version: tuple[int, int, int]
    compression: Compression
    created: tuple[int, ...]
    database: str
    server_version: str
    client_version: str
    entries: tuple[TocEntry, ...]


def read_archive(file: BinaryIO) -> Archive:
    """Read header and table of contents of a custom archive; the file is then at the first data block.

    Raises
    ------
    IntegrityError
        Code `ARCHIVE_DAMAGED`: cut off, another format, or a version that no supported `pg_dump` writes.
    """
    return _Reader(file).archive()


class _Reader:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._version = (0, 0, 0)

    def archive(self) -> Archive:
        if self._bytes(len(MAGIC)) != MAGIC:
            damaged("It does not begin like one.")
        major, minor, revision = self._bytes(3)
        self._version = (major, minor, revision)
        if self._version not in _VERSIONS:
            damaged(f"Its version is {major}.{minor}-{revision}.")
        if tuple(self._bytes(3)) != (INT_BYTES, OFFSET_BYTES, FORMAT_CUSTOM):
            damaged("It is not a custom archive, or of a machine with other integers.")
        return Archive(
            version=self._version,
            compression=self._compression(),
            created=tuple(self._int() for _ in range(7)),
            database=self._text() or "",
            server_version=self._text() or "",
            client_version=self._text() or "",
            entries=tuple(self._entry() for _ in range(self._count())),
        )

    def _compression(self) -> Compression:
        if self._version < _NAMED_COMPRESSION:
            return Compression.NONE if self._int() == 0 else Compression.GZIP
        return _member(Compression, self._bytes(1)[0])

    def _entry(self) -> TocEntry:
        dump_id = self._int()
        has_data = self._int() != 0
        catalog_oid, oid = self._number(), self._number()
        tag, description = self._text(), self._text()
        section = _member(Section, self._int())
        definition, drop, copy = self._text(), self._text(), self._text()
        schema, tablespace, access_method = self._text(), self._text(), self._text()
        kind = self._int() if self._version >= _RELATION_KIND else 0
        owner = self._text()
        self._text()  # WITH OIDS, gone since PostgreSQL 12
        dependencies = self._dependencies()
        self._bytes(1 + OFFSET_BYTES)  # where its data is, if the writer could go back and say so
        return TocEntry(
            dump_id=dump_id,
            catalog_oid=catalog_oid,
            oid=oid,
            description=description or "",
            tag=tag or "",
            schema=schema,
            owner=owner or "",
            section=section,
            definition=without_known(definition or ""),
            drop=drop or "",
            copy=copy or "",
            tablespace=tablespace,
            table_access_method=access_method,
            relation_kind=chr(kind) if 0 < kind < 0x80 else None,
            has_data=has_data,
            dependencies=dependencies,
        )

    def _dependencies(self) -> tuple[int, ...]:
        found = []
        while (text := self._text()) is not None:
            found.append(_decimal(text))
        return tuple(found)

    def _count(self) -> int:
        if (count := self._int()) < 0:
            damaged(f"It says that it has {count} entries.")
        return count

    def _number(self) -> int:
        return _decimal(self._text() or "")

    def _int(self) -> int:
        value: int
        is_negative, value = _INT(self._bytes(1 + INT_BYTES))
        return -value if is_negative else value

    def _text(self) -> str | None:
        is_negative, length = _INT(self._bytes(1 + INT_BYTES))
        return None if is_negative else self._bytes(length).decode("utf-8", "surrogateescape")

    def _bytes(self, count: int) -> bytes:
        if count <= _READ_BYTES and len(data := self._file.read(count)) == count:
            return data  # a table of contents has hundreds of thousands of these
        return self._rest(b"" if count > _READ_BYTES else data, count)

    def _rest(self, data: bytes, count: int) -> bytes:
        while len(data) < count and (more := self._file.read(min(count - len(data), _READ_BYTES))):
            data += more  # piece by piece: a damaged length must not ask for gigabytes in one read
        if len(data) < count:
            damaged("It is cut off.")
        return data


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        damaged(f"A number in it reads {text[:40]!r}.")
    return int(text)


def _member[Member: IntEnum](kind: type[Member], value: int) -> Member:
    try:
        return kind(value)
    except ValueError:
        damaged(f"{value} is no {kind.__name__.lower()}.")


def damaged(detail: str) -> NoReturn:
    """Raise the one error for an archive that cannot be read."""
    raise IntegrityError(
        "The archive is damaged, or no pg_dump wrote it that Coffre knows.",
        code="ARCHIVE_DAMAGED",
        detail=detail,
        hint="This backup cannot be trusted. Restore an older one (`coffre list`).",
    )
