"""Copies: the same vault in another place, and what is known about each backup there."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, Field, model_validator

from coffre.model.bucket_target import ObjectStore
from coffre.model.document import Document, FrozenModel
from coffre.model.locks import LockProgress
from coffre.model.retention import Retention
from coffre.model.target import TargetName

DESTINATION_NAME: Final = r"^[a-z0-9][a-z0-9-]{0,62}$"
DestinationName = Annotated[str, Field(pattern=DESTINATION_NAME, description="lower case, digits and dashes")]
_Prefix = Annotated[str, Field(pattern=r"^([A-Za-z0-9._=-]+(/[A-Za-z0-9._=-]+)*)?$", max_length=512)]
_Secret = Annotated[str, Field(min_length=1, max_length=512)]


class S3Destination(ObjectStore):
    """A bucket in AWS (another region, another account) or in a store that speaks S3: R2, B2, Wasabi, MinIO.

    `secret` is as for a target's store, below coffre/copies/; without one the function's role is used.
    """

    type: Literal["s3"] = Field(description="What kind of store it is: S3.", examples=["s3"])
    bucket: str = Field(
        pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]{1,254}$", description="The bucket's name.", examples=["acme-coffre-copy"]
    )
    prefix: _Prefix = Field(
        default="", description="The folder of the vault in the bucket. Empty: its root.", examples=["coffre"]
    )
    checksum: Literal["sha256", "md5"] = Field(
        default="sha256",
        description="How uploads are checked: md5 for stores that refuse the newer checksums.",
        examples=["md5"],
    )


class GcsDestination(Document):
    """A bucket in Google Cloud Storage. `secret` holds the JSON key of a service account."""

    type: Literal["gcs"] = Field(description="What kind of store it is: Google Cloud Storage.", examples=["gcs"])
    bucket: str = Field(
        pattern=r"^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$", description="The bucket's name.", examples=["acme-coffre"]
    )
    prefix: _Prefix = Field(
        default="", description="The folder of the vault in the bucket. Empty: its root.", examples=["coffre"]
    )
    secret: _Secret = Field(
        description="Name of the secret with the service account's JSON key, below coffre/copies/.",
        examples=["coffre/copies/gcs"],
    )
    endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://[^/?#@\s]+(/[^?#@\s]*)?$",
        description="Address of the store, for emulators. null: Google's own.",
        examples=["http://127.0.0.1:9023"],
    )


class AzureDestination(Document):
    """A container of Azure Blob Storage. `secret` holds `account_key` or `sas_token` as JSON."""

    type: Literal["azure"] = Field(description="What kind of store it is: Azure Blob Storage.", examples=["azure"])
    account: str = Field(
        pattern=r"^[a-z0-9]{3,24}$", description="The storage account's name.", examples=["acmebackups"]
    )
    container: str = Field(
        pattern=r"^[a-z0-9]([a-z0-9-]{1,61}[a-z0-9])$", description="The container's name.", examples=["coffre"]
    )
    prefix: _Prefix = Field(
        default="", description="The folder of the vault in the container. Empty: its root.", examples=["coffre"]
    )
    secret: _Secret = Field(
        description="Name of the secret with the account's key or a SAS token, below coffre/copies/.",
        examples=["coffre/copies/azure"],
    )
    endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://[^/?#@\s]+(/[^?#@\s]*)?$",
        description="Address of the store, for emulators. null: Azure's own.",
        examples=["http://127.0.0.1:10000/devstoreaccount1"],
    )


class DirectoryDestination(Document):
    """A directory: a disk, a NAS, a file system that is mounted into the function. Where it does not exist, the
    command copies to it."""

    type: Literal["directory"] = Field(description="What kind of store it is: a directory.", examples=["directory"])
    path: str = Field(
        pattern=r"^/[^\x00]*[^/\x00]$", max_length=4096, description="Its absolute path.", examples=["/mnt/nas/coffre"]
    )


Store = Annotated[S3Destination | GcsDestination | AzureDestination | DirectoryDestination, Field(discriminator="type")]


class Destination(Document):
    """One copy of the vault (docs/copies.md).

    `copied_by` says who puts backups there: `coffre` does, or the owner's own `replication` (S3 replication): then the
    copy is only verified.
    """

    name: DestinationName = Field(
        description="Names the copy in commands and alerts. `vault` is the vault itself.", examples=["offsite"]
    )
    store: Store = Field(
        description="Where the copy is, and how to get in.",
        examples=[{"type": "s3", "bucket": "acme-coffre-copy", "region": "eu-west-1"}],
    )
    copied_by: Literal["coffre", "replication"] = Field(
        default="coffre",
        description="Who puts backups there: Coffre, or the owner's own replication, which is then only verified.",
        examples=["replication"],
    )
    targets: tuple[TargetName, ...] = Field(
        default=(), description="The targets whose backups are copied. Empty: all.", examples=[["shop"]]
    )
    complete_within_minutes: int = Field(
        default=60,
        ge=5,
        le=10_080,
        description="How long after a backup its copy may take until COPY_OVERDUE is sent.",
        examples=[120],
        json_schema_extra={"unit": "minutes"},
    )
    retention: Retention | None = Field(
        default=None,
        description="How long backups are kept there. null: as the target says.",
        examples=[{"monthly_days": 730}],
    )
    deleted_by: Literal["coffre", "receiver"] = Field(
        default="coffre",
        description="Who deletes expired backups there: Coffre here, or the receiving account's own stack.",
        examples=["receiver"],
    )
    object_lock: Literal["off", "governance", "compliance"] = Field(
        default="off", description="The mode of the locks that objects get there.", examples=["governance"]
    )
    quota_bytes: int | None = Field(
        default=None,
        ge=1,
        description="Sends QUOTA when the copy holds 80 % of this. null: never.",
        examples=[500_000_000_000],
        json_schema_extra={"unit": "bytes"},
    )

    @property
    def place(self) -> str:
        """Where it is, without how to get in: copies of the same place delete each other's backups."""
        return self.store.model_dump_json(
            include={"type", "endpoint", "bucket", "account", "container", "prefix", "path"}
        )

    @model_validator(mode="after")
    def _is_not_the_vault(self) -> Destination:
        if self.name == "vault":
            raise ValueError('"vault" names the vault itself: give the copy another name')
        return self

    @model_validator(mode="after")
    def _locks_exist(self) -> Destination:
        if self.object_lock != "off" and not isinstance(self.store, S3Destination):
            raise ValueError(f'object_lock "{self.object_lock}" needs a store of type "s3"')
        return self


class CopyStatus(StrEnum):
    """How far one backup's copy is."""

    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    DELETED = "DELETED"


class Copy(FrozenModel):
    """The record of one backup in one destination.

    `packs` and `bytes` are what this copy had to send, `requests` what it asked of the destination. `verified_at` is
    the newest time at which the copy was found complete, by `level` (`inventory`, `read`). `damaged` says what a look
    found wrong, and `damaged_packs` in which packs. Everything that the copy refers to is locked at least until
    `locked_until`, where the destination has locks, and `lock_progress` is an extension of that which is not finished.
    `by_command`: a command made it where the functions see nothing.
    """

    destination: str
    backup_id: str
    target: str
    status: CopyStatus
    started_at: AwareDatetime
    completed_at: AwareDatetime | None = None
    manifest_sha256: str | None = None
    packs: int = Field(default=0, ge=0)
    bytes: int = Field(default=0, ge=0)
    requests: int = Field(default=0, ge=0)
    verified_at: AwareDatetime | None = None
    level: str | None = None
    damaged: str | None = None
    damaged_packs: tuple[str, ...] = ()
    locked_until: AwareDatetime | None = None
    lock_progress: LockProgress | None = None
    error: str | None = None
    by_command: bool = False

    @property
    def is_good(self) -> bool:
        """Whether it is complete, and nothing is known to be wrong with it."""
        return self.status is CopyStatus.COMPLETED and self.damaged is None


class ReadFrom(FrozenModel):
    """What a restore read from another place than the first choice.

    `place` is `vault` or the name of a copy. `objects` is the number of stored objects (packs, lists of entries,
    manifests) that were read there, at least in part; `keys` are the first of them. `because` is the error of the first
    choice.
    """

    place: str
    objects: int
    keys: tuple[str, ...]
    because: str

    def __str__(self) -> str:
        place = "the vault" if self.place == "vault" else f'the copy "{self.place}"'
        amount = "1 stored object" if self.objects == 1 else f"{self.objects:,} stored objects"
        first = f" ({self.keys[0]}{', ...' if self.objects > 1 else ''})"
        return f"Read from {place}: {amount}{first}, because: {self.because}"
