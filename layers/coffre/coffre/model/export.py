"""An export to download: what of a backup is in the file, who can open it, and what it is called."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field

from coffre.model.age_recipient import AgeRecipient
from coffre.model.document import Document
from coffre.model.kinds import TargetKind

_DESTINATION: Final = "a file to download: "


class ExportScope(Document):
    """What is exported. `recipients` can open the file; without any they are those of the backup's target.

    `tables` (patterns) and `format` are for databases: `custom` is for pg_restore, `plain` for psql. `prefix` is for
    objects, which become a tar archive. All files are compressed with zstd, then encrypted with age.
    """

    recipients: tuple[AgeRecipient, ...] = Field(default=(), max_length=20)
    tables: tuple[Annotated[str, Field(min_length=1, max_length=300)], ...] = Field(default=(), max_length=1000)
    format: Literal["custom", "plain"] = "custom"
    prefix: str = Field(default="", max_length=1024)

    def problem_with(self, kind: TargetKind) -> str | None:
        """Return why a backup of this kind cannot be exported like this, as a sentence."""
        if kind is TargetKind.SETTINGS:
            return "Settings are restored, or read with `coffre cat`; there is no file of them."
        if kind.has_objects and (self.tables or self.format != "custom"):
            return "tables and format are for databases, and this is a backup of objects."
        if not kind.has_objects and self.prefix:
            return "prefix is for objects, and this is a backup of a database."
        return None

    def file_name(self, target: str, kind: TargetKind, taken_at: datetime) -> str:
        """Return the name of the file."""
        ending = "tar.zst" if kind.has_objects else {"custom": "dump", "plain": "sql.zst"}[self.format]
        return f"{target}-{taken_at:%Y%m%dT%H%M%SZ}.{ending}.age"


def destination_of(file_name: str) -> str:
    """Return what the record of an export names as its destination."""
    return f"{_DESTINATION}{file_name}"


def exported_file(destination: str) -> str | None:
    """Return the name of the file that a run has made, by its destination; None: it is no export."""
    return destination.removeprefix(_DESTINATION) if destination.startswith(_DESTINATION) else None


def key_of(export_id: str, file_name: str) -> str:
    """Return where the file is in the bucket of exports."""
    return f"exports/{export_id}/{file_name}"


def how_to_open(file_name: str) -> str:
    """Return the command that opens a file, with its reader's own private key."""
    decrypted = f"age --decrypt --identity KEY.txt {file_name}"
    if file_name.endswith(".dump.age"):
        return f"{decrypted} | pg_restore --exit-on-error --dbname=DATABASE"
    if file_name.endswith(".sql.zst.age"):
        return f"{decrypted} | zstd -dc | psql -X -v ON_ERROR_STOP=1 --dbname=DATABASE"
    return f"{decrypted} | zstd -dc | tar -x"
