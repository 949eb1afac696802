"""What is known to be wrong with a backup, kept beside it: later backups must not point at those packs."""

from __future__ import annotations

import hashlib

from pydantic import ValidationError

from coffre.model.errors import IntegrityError, ObjectMissingError
from coffre.model.verification import DamageReport
from coffre.vault.vault import Vault, backup_prefix

_REPORT_LIMIT_BYTES = 64 * 1024 * 1024


def damage_key(target: str, backup_id: str) -> str:
    """Return where the damage of a backup is recorded."""
    return f"{backup_prefix(target, backup_id)}/reports/damage.json"


def write_damage(vault: Vault, report: DamageReport) -> None:
    """Record what is wrong with a backup, in the place of what was recorded before."""
    write_report(vault, damage_key(report.target, report.backup_id), report.model_dump_json(indent=1))


def write_report(vault: Vault, key: str, text: str) -> None:
    """Store a report."""
    body = text.encode()
    vault.store.put(key, body, sha256=hashlib.sha256(body).hexdigest())


def read_damage(vault: Vault, target: str, backup_id: str) -> DamageReport | None:
    """Return what is known to be wrong with a backup, or None when nothing ever was.

    Raises
    ------
    IntegrityError
        `REPORT_DAMAGED`: which packs must not be pointed at is not known then.
    """
    key = damage_key(target, backup_id)
    try:
        return DamageReport.model_validate_json(vault.store.get(key, limit_bytes=_REPORT_LIMIT_BYTES))
    except ObjectMissingError:
        return None
    except ValidationError as error:
        raise IntegrityError(
            f"The report {key} cannot be read.",
            code="REPORT_DAMAGED",
            hint=f"Make it anew: coffre verify {backup_id}",
        ) from error
