"""The vault's records: frames, entries, and the manifest that commits a backup (docs/format/v1.md)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import AwareDatetime, Field, field_validator

from coffre.model.backup import Tier
from coffre.model.document import FrozenModel
from coffre.model.errors import IntegrityError
from coffre.model.kinds import Contents, TargetKind
from coffre.model.locks import LockMode
from coffre.model.points import ManifestPoint

# Of a pack, and of the plaintext of a frame (docs/format/v1.md): what a forged record asks for takes no more memory.
_MOST_FRAME_BYTES = 64 * 1024 * 1024
Sha256 = Field(pattern=r"^[0-9a-f]{64}$")


def _is_none(value: object) -> bool:
    return value is None


class Frame(FrozenModel):
    """`length` bytes at `offset` of the object `pack`, which decrypt and decompress to `size` bytes.

    `sha256` is of those plaintext bytes.
    """

    pack: str
    offset: int = Field(ge=0)
    length: int = Field(ge=1, le=_MOST_FRAME_BYTES)
    size: int = Field(ge=0, le=_MOST_FRAME_BYTES)
    sha256: str = Sha256


class EntryKind(StrEnum):
    """What an entry holds."""

    SCHEMA = "schema"
    ROLES = "roles"
    TABLE = "table"
    LARGE_OBJECTS = "large_objects"
    OBJECT = "object"


class RelationName(FrozenModel):
    """A relation by its raw names (no quotes)."""

    schema_name: str
    relation_name: str


class ObjectFacts(FrozenModel):
    """What a bucket says about an object besides its bytes; what it does not say is None or empty.

    `etag` (without quotes), `last_modified`, `version_id` and the entry's `size` tell whether an object changed; the
    etag is not always an MD5. `expires` is the header's own text. `metadata` is the user's (`x-amz-meta-...`), by
    lower-case name. `acl` are grants as `grantee=permission`, where the store knows them.
    `content_type` can be empty, which is not the same as none. `redirect` is where a website sends visitors of the
    object; `kms_key` is the key of KMS that the bucket encrypts it with.
    `unknown` are those of `tags` and `acl` that could not be read: there may be others than these.
    `unread` says why the object's bytes are not in the backup (its entry then has no frames, and the listed size).
    `dangling` says why the entry has another version of the object than the one that the rows of the backup's restore
    point refer to.
    """

    etag: str | None = None
    last_modified: datetime | None = None
    version_id: str | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    content_disposition: str | None = None
    content_language: str | None = None
    cache_control: str | None = None
    expires: str | None = None
    # A factory: a default that is a dictionary is copied for each object, which takes longer than reading its JSON.
    metadata: dict[str, str] = Field(default_factory=dict)
    tags: dict[str, str] = Field(default_factory=dict)
    storage_class: str | None = None
    acl: tuple[str, ...] = ()
    redirect: str | None = None
    kms_key: str | None = None
    unknown: tuple[Literal["tags", "acl"], ...] = ()
    unread: str | None = None
    dangling: str | None = None


class Entry(FrozenModel):
    """One named thing in a backup. Its bytes are those of its frames, one after another.

    An object's name is `<bucket>/<key>`; a bucket's name has no slash, a key may be anything.

    A small entry can share a solid frame with others: then `frames` has that one frame, and the entry's own bytes
    start at `start` in its plaintext and are `size` long.
    """

    name: str
    kind: EntryKind
    size: int = Field(ge=0)
    sha256: str = Sha256
    rows: int | None = None
    relation: RelationName | None = None
    object: ObjectFacts | None = None
    frames: tuple[Frame, ...] = ()
    start: int = Field(default=0, ge=0)


class SequenceValue(FrozenModel):
    """A sequence's state as the dump read it; `setval(name, last_value, is_called)` restores it."""

    schema_name: str
    sequence_name: str
    last_value: int
    is_called: bool


class TableContent(FrozenModel):
    """One table of a backup, over all its slices.

    `oid` is the source's, which the entry of the table in the schema archive has too, in whatever encoding its name is.
    `COPY <table> (<columns>) FROM STDIN` takes its entries' bytes: `columns` are raw names in the order of the bytes,
    generated columns are not among them. `rows` and `size` (plaintext bytes) are what the dump read.
    `of_extension` tables exist already once their extension is created, perhaps with rows of the extension's own, and
    with their keys: `after` are the oids of those whose rows must be loaded first. Those that are its `is_member` and
    no configuration of it have all their rows in the backup, the extension's own too; no archive defines them.
    Of `rows_excluded` tables the target's configuration asked for the table alone: they have no entries and no columns.
    `through` is set of partitions whose rows another server may route to other partitions: they are loaded through the
    root, which it names.
    """

    oid: int
    schema_name: str
    table_name: str
    columns: tuple[str, ...]
    rows: int
    size: int
    of_extension: bool = False
    is_member: bool = False
    after: tuple[int, ...] = ()
    rows_excluded: bool = False
    through: RelationName | None = None


class SearchPath(FrozenModel):
    """A `search_path` that was set at the source: for one role, or (None) for every session of the database."""

    role: str | None = None
    path: str


class JournalBase(FrozenModel):
    """What a manifest says so that its backup can be the base of a journal.

    `snapshot` is the text of `pg_current_snapshot()`. The server's WAL was on disk up to `before_lsn` before it was
    taken; what was committed behind `lsn`, read after it, is not in the backup. `at` is the server's clock then.
    """

    snapshot: str
    before_lsn: int
    lsn: int
    at: AwareDatetime
    fingerprint: str = Sha256


class DatabaseContent(FrozenModel):
    """What a database backup holds besides its entries.

    `contents` says what was asked for: with `schema` it has no rows, values of sequences and large objects, with
    `data` no schema archive and no roles.
    `roles` own something in the database or have privileges there; `policy_roles` are those that a row level security
    policy names, by the policy's oid. `materialized_views` are in the order of their refresh. `search_paths` find what
    functions name without a schema: the role's own first, then the database's, then the server's. With `journal` the
    backup can be the base of a journal.
    """

    contents: Contents = Contents.FULL
    database: str
    encoding: str
    locale: str | None = None
    locale_provider: str = "libc"
    provider_locale: str | None = None
    server_version: str
    server_version_number: int
    client_version: str
    snapshot: str
    tables: tuple[TableContent, ...]
    sequences: tuple[SequenceValue, ...] = ()
    materialized_views: tuple[RelationName, ...] = ()
    extensions: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    policy_roles: dict[int, tuple[str, ...]] = Field({})
    search_paths: tuple[SearchPath, ...] = ()
    knows_roots: bool = False
    journal: JournalBase | None = Field(default=None, exclude_if=_is_none)


class BucketSummary(FrozenModel):
    """What a backup took of one bucket. `size` is in bytes."""

    name: str
    prefixes: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    objects: int
    size: int


class StorageContent(FrozenModel):
    """What a backup of buckets holds besides its entries.

    `added`, `changed` and `removed` objects are compared with the backup before (`previous`); `unread` ones are in the
    listing but not in the backup. `endpoint` is None for AWS. Of `compared` objects, unchanged in the listing, tags and
    grants were read too, and those of `attributes_changed` were others (they count as changed); `compare_turn` counts
    the backups, so that each compares its share.
    """

    endpoint: str | None = None
    region: str | None = None
    buckets: tuple[BucketSummary, ...]
    objects: int
    added: int
    changed: int
    removed: int
    unread: int = 0
    previous: str | None = None
    invocations: int = 1
    requests: dict[str, int] = Field({})
    compared: int = 0
    attributes_changed: int = 0
    compare_turn: int = 0


class EntriesFile(FrozenModel):
    """A file of entries that the manifest names.

    `sha256` is of its compressed bytes, `first` the name of its first entry. Older files have an empty `first`.
    """

    key: str
    sha256: str = Sha256
    length: int
    count: int
    first: str = ""


class PackReference(FrozenModel):
    """A pack that this backup needs, its own or an earlier one's: `live_bytes` of `length` are in use.

    `locked_until` is the end of the longest lock that backups have set on it, and `lock_mode` the mode; its real lock
    may end later. Both are absent in a vault without Object Lock.
    """

    key: str
    length: int
    sha256: str = Sha256
    live_bytes: int
    locked_until: datetime | None = Field(default=None, exclude_if=_is_none)
    lock_mode: LockMode | None = Field(default=None, exclude_if=_is_none)


class Manifest(FrozenModel):
    """The self-describing record of one backup; it is written last and commits the backup.

    The files of `entries` follow one another in the order of the names.
    `stored_bytes` is what this backup added to the vault; what it points at in packs of earlier backups is not in it.
    `expires_at` is until when a backup taken by hand was asked for. `locked_until`: until then everything that the
    backup refers to was locked when it was published, the manifest too. `point` is which restore point it is a part of.
    """

    format: Literal[1] = 1
    backup_id: str
    target: str
    kind: TargetKind
    tiers: tuple[Tier, ...]
    created_at: datetime
    completed_at: datetime
    encryption: Literal["age", "none"]
    recipients: tuple[str, ...] = ()
    entries: tuple[EntriesFile, ...]
    packs: tuple[PackReference, ...]
    plaintext_bytes: int
    stored_bytes: int
    rows: int
    content: DatabaseContent | StorageContent
    exceptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    expires_at: datetime | None = None
    locked_until: datetime | None = Field(default=None, exclude_if=_is_none)
    point: ManifestPoint | None = Field(default=None, exclude_if=_is_none)

    @field_validator("entries", mode="before")
    @classmethod
    def _one_file_alone(cls, value: Any) -> Any:
        """Read the manifests of before backups could have several files of entries."""
        return (value,) if isinstance(value, dict | EntriesFile) else value

    @property
    def database(self) -> DatabaseContent:
        """What a database backup holds.

        Raises
        ------
        IntegrityError
            `MANIFEST_KIND`: this is the backup of something else.
        """
        if isinstance(self.content, DatabaseContent):
            return self.content
        raise _other_kind(self, "database")

    @property
    def storage(self) -> StorageContent:
        """What a backup of buckets holds; raises as `database` does."""
        if isinstance(self.content, StorageContent):
            return self.content
        raise _other_kind(self, "bucket")


def _other_kind(manifest: Manifest, wanted: str) -> IntegrityError:
    return IntegrityError(
        f'The backup {manifest.backup_id} of "{manifest.target}" is not one of a {wanted}.',
        code="MANIFEST_KIND",
        detail=f"Its manifest says: {manifest.kind}.",
        hint="Choose another backup: coffre list",
    )
