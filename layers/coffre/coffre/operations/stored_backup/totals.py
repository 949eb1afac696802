"""What the catalog, the manifest and its parts say in sum, compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from coffre.model.backup import Backup
from coffre.model.errors import IntegrityError
from coffre.model.manifest import Entry, Manifest


def refuse_forged_totals(backup: Backup, manifest: Manifest, entries: Iterable[Entry]) -> None:
    """Compare what the catalog, the manifest and its parts say in sum: who changed one of them has to change all.

    Raises
    ------
    IntegrityError
        Code `TOTALS_DIFFER`.
    """
    sizes = [entry.size for entry in entries if entry.object is None or entry.object.unread is None]
    told = {"bytes": (backup.plaintext_bytes, manifest.plaintext_bytes, sum(sizes))}
    if manifest.kind.has_objects:
        told["objects"] = (backup.objects, manifest.storage.objects, len(sizes))
    else:
        tables = manifest.database.tables
        told["rows"] = (backup.rows, manifest.rows, sum(table.rows for table in tables))
        told["tables"] = (backup.tables, len(tables), len(tables))
    refuse_other_sums(backup, told)


def refuse_other_sums(backup: Backup, told: Mapping[str, tuple[int | None, int, int]]) -> None:
    """Compare sums as the catalog (None: it does not say), the manifest and its parts have them.

    Raises
    ------
    IntegrityError
        Code `TOTALS_DIFFER`.
    """
    for what, (catalog, whole, parts) in told.items():
        if catalog not in (None, whole) or whole != parts:
            raise IntegrityError(
                f"Catalog and manifest of backup {backup.id} do not agree on the number of {what}.",
                code="TOTALS_DIFFER",
                detail=f"The catalog says {catalog}, the manifest {whole}, its parts {parts}.",
                hint="The vault or the catalog was changed. Restore an older backup, and find out who can write "
                "to both.",
            )
