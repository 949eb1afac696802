"""What is known to be wrong with a backup, stored with its records: later backups must not point at those packs.

Each finding is an object of its own, which no other one replaces: of two verifications that find something at the
same time neither loses what the other found, and a heal empties the findings that it knew and no later ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from pydantic import ValidationError
from ulid import ULID

from coffre.model.errors import IntegrityError, ObjectMissingError
from coffre.model.verification import DamageReport, Level
from coffre.stores.store import put_small
from coffre.vault.layout import damage_prefix
from coffre.vault.vault import Vault

_REPORT_LIMIT_BYTES = 64 * 1024 * 1024

type Findings = Mapping[str, DamageReport]


def write_damage(vault: Vault, report: DamageReport) -> str:
    """Record what was found wrong with a backup, in addition to earlier findings; return the finding's key."""
    key = f"{damage_prefix(report.target, report.backup_id)}-{ULID.from_datetime(report.found_at)}.json"
    _write(vault, key, report)
    return key


def put_back(vault: Vault, findings: Findings) -> None:
    """Write findings as they were, in case another verification emptied them."""
    for key, report in findings.items():
        _write(vault, key, report)


def heal_damage(vault: Vault, healed: Findings, now: datetime) -> None:
    """Empty findings that a look began with and did not find any more; later ones stay."""
    for key, report in healed.items():
        if report.total:
            _write(vault, key, DamageReport.on(report.backup_id, report.target, Level.READ, now, []))


def _write(vault: Vault, key: str, report: DamageReport) -> None:
    put_small(vault.store, key, report.model_dump_json(indent=1).encode())


def read_findings(vault: Vault, target: str, backup_id: str) -> dict[str, DamageReport]:
    """Return every finding about a backup by its key, the oldest first.

    Raises
    ------
    IntegrityError
        `REPORT_DAMAGED`: which packs must not be pointed at is not known then.
    """
    found = {}
    for info in vault.store.list(damage_prefix(target, backup_id)):
        try:
            body = vault.store.get(info.key, limit_bytes=_REPORT_LIMIT_BYTES)
            found[info.key] = DamageReport.model_validate_json(body)
        except ObjectMissingError:
            continue  # removed together with the backup
        except ValidationError as error:
            raise IntegrityError(
                f"The report {info.key} cannot be read.",
                code="REPORT_DAMAGED",
                hint=f"Look at it, and remove it if it is not Coffre's; then: coffre verify {backup_id}",
            ) from error
    return dict(sorted(found.items(), key=lambda one: one[1].found_at))


def read_damage(vault: Vault, target: str, backup_id: str) -> DamageReport | None:
    """Return all that is known to be wrong with a backup in one report, or None when nothing ever was.

    Raises what `read_findings` raises.
    """
    return together(read_findings(vault, target, backup_id).values())


def together(reports: Iterable[DamageReport]) -> DamageReport | None:
    """Return one report of several, the newest finding first, since the oldest; what was healed counts for nothing."""
    every = sorted(reports, key=lambda report: report.found_at, reverse=True)
    if not every:
        return None
    bad = [report for report in every if report.total] or every[:1]
    damages = {(one.code, one.text, one.entry): one for report in bad for one in report.damages}
    unlisted = sum(report.total - len(report.damages) for report in bad)
    return bad[0].model_copy(
        update={
            "found_at": bad[-1].found_at,
            "total": len(damages) + unlisted,
            "damages": tuple(damages.values()),
            "packs": tuple(sorted({pack for report in bad for pack in report.packs})),
        }
    )
