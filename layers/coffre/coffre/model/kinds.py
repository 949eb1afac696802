"""The values of enumerations: kinds of targets, states, levels. They stand alone, without what checks records.

The command's help needs these words, and would wait for pydantic otherwise.
"""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """How far a run is. COMPLETED means that every byte is stored and checked."""

    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    DELETED = "DELETED"

    @property
    def is_final(self) -> bool:
        """Whether nothing will happen to the run any more."""
        return self in (Status.COMPLETED, Status.FAILED, Status.DELETED)


class TargetKind(StrEnum):
    """What a target is."""

    DATABASE = "database"
    BUCKET = "bucket"
    SETTINGS = "settings"
    REPOSITORY = "repository"

    @property
    def word(self) -> str:
        """The subcommand of `coffre backup` for it."""
        return {TargetKind.BUCKET: "buckets", TargetKind.REPOSITORY: "repositories"}.get(self, self.value)

    @property
    def has_objects(self) -> bool:
        """Whether its backups hold objects: `backup_storage` takes them, and their manifests have `storage`."""
        return self is not TargetKind.DATABASE

    @property
    def function(self) -> str:
        """The function that takes its backups."""
        return "backup_storage" if self.has_objects else "backup_database"


class Contents(StrEnum):
    """What of a database a backup holds."""

    FULL = "full"
    SCHEMA = "schema"
    DATA = "data"

    @property
    def has_schema(self) -> bool:
        """Whether the schema archive and the roles belong to the backup."""
        return self is not Contents.DATA

    @property
    def has_rows(self) -> bool:
        """Whether rows, values of sequences, large objects, and what fills materialized views belong to the backup."""
        return self is not Contents.SCHEMA


class Mode(StrEnum):
    """What may happen to existing objects.

    `missing` leaves them. `overwrite` sets those back that are not as in the backup. `mirror` also deletes what the
    backup does not have.
    """

    MISSING = "missing"
    OVERWRITE = "overwrite"
    MIRROR = "mirror"


class Level(StrEnum):
    """How closely is looked (docs/verification.md). `drill` is a function of its own.

    `doctor` and `report` are commands of their own.
    """

    FRESH = "fresh"
    INVENTORY = "inventory"
    READ = "read"
    DRILL = "drill"
    DOCTOR = "doctor"
    REPORT = "report"


class SafetyState(StrEnum):
    """What is true of the backup of what a restore overwrites.

    `NOT_NEEDED`: the destination is empty. `PRESENT`: a recent backup holds it. `NEEDED`: one has to be taken first.
    `IMPOSSIBLE`: Coffre cannot back the destination up. `DECLINED`: the restore was asked for without one.
    """

    NOT_NEEDED = "not_needed"
    PRESENT = "present"
    NEEDED = "needed"
    IMPOSSIBLE = "impossible"
    DECLINED = "declined"
