"""Alerts: what a person is told, in the words of three in the morning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from coffre.model.backup import Backup, Failure
from coffre.model.errors import CoffreError
from coffre.model.rotation import Problem

_PROBLEMS_SHOWN: Final = 10


class AlertKind(StrEnum):
    """What happened. The name is also the message attribute `kind`, for filter policies."""

    BACKUP_FAILED = "BACKUP_FAILED"
    RESTORE_FAILED = "RESTORE_FAILED"
    ROTATION_FAILED = "ROTATION_FAILED"
    VAULT_INCONSISTENT = "VAULT_INCONSISTENT"
    CONFIG_INVALID = "CONFIG_INVALID"


class Severity(StrEnum):
    """How soon somebody has to look."""

    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True)
class Alert:
    """One message: `subject` at most 100 ASCII characters (what SNS takes), `text` plain."""

    kind: AlertKind
    severity: Severity
    target: str
    subject: str
    text: str


def backup_failed(target: str, failure: Failure, *, backup_id: str, request_id: str, last_good: str) -> Alert:
    """Say that a backup failed, and what is still safe: `last_good` is a sentence of `last_good_backup`."""
    return _failed(
        AlertKind.BACKUP_FAILED,
        target,
        f"Backup of {target} FAILED: {failure.code}",
        f'The backup of "{target}" failed. Older backups are untouched.',
        failure,
        [last_good, _ids(backup=backup_id, request=request_id)],
        f"Try again: coffre backup database {target}",
    )


def last_good_backup(find: Callable[[], Backup | None]) -> str:
    """Say which backup can be restored, without ever hiding the alert itself behind a catalog that does not answer."""
    try:
        backup = find()
    except CoffreError:
        return "Last good backup: not known, as the catalog does not answer. Look with: coffre list"
    if backup is None:
        return "Last good backup: NONE. This target has no completed backup."
    return f"Last good backup: {backup.id}, taken {backup.created_at:%Y-%m-%d %H:%M} UTC."


def restore_failed(
    target: str | None,
    failure: Failure,
    *,
    backup_id: str,
    restore_id: str,
    request_id: str,
    destination: str | None = None,
) -> Alert:
    """Say that a restore failed, and that the backup itself is untouched. `target` is None while it is not known."""
    where = f" into {destination}" if destination else ""
    what = f'The restore of "{target}"' if target else f"The restore of backup {backup_id}"
    return _failed(
        AlertKind.RESTORE_FAILED,
        target or "-",
        f"Restore of {target or backup_id} FAILED: {failure.code}",
        f"{what}{where} failed. The backup itself is untouched.",
        failure,
        [_ids(backup=backup_id, restore=restore_id, request=request_id)],
        f"See the backup: coffre show {backup_id}",
    )


def rotation_failed(target: str | None, failure: Failure, *, request_id: str) -> Alert:
    """Say that a rotation stopped: old backups stay longer than asked for, and nothing is lost."""
    return _failed(
        AlertKind.ROTATION_FAILED,
        target or "-",
        f"Rotation FAILED: {failure.code}",
        "A rotation stopped. No backup is lost by that; old ones stay until a rotation gets through.",
        failure,
        [_ids(request=request_id)],
        "See what it would do: coffre rotate --dry-run",
    )


def vault_inconsistent(problems: Sequence[Problem], *, request_id: str) -> Alert:
    """Say that backups in the vault are not as the catalog knows them: some may not be restorable."""
    targets = sorted({problem.target for problem in problems if problem.target})
    shown = [f"- {problem.text} [{problem.code}]" for problem in problems[:_PROBLEMS_SHOWN]]
    more = len(problems) - len(shown)
    lines = [
        "A rotation compared the vault with the catalog, and they do not agree. It deleted nothing that may be needed.",
        "",
        *shown,
        *([f"... and {more} more: coffre rotate --dry-run"] if more else []),
        "",
        "What to do: find out who changed the vault. What was deleted or overwritten stays in the bucket as an older",
        "version for 30 days. Take a new full backup now: coffre backup database --full",
        _ids(request=request_id),
    ]
    subject = f"The vault is not as it should be: {', '.join(targets) or 'see below'}"
    target = targets[0] if len(targets) == 1 else "-"
    return Alert(AlertKind.VAULT_INCONSISTENT, Severity.CRITICAL, target, _subject(subject), "\n".join(lines))


def configuration_invalid(failure: Failure, *, function: str, request_id: str) -> Alert:
    """Say that a function could not even start to work: nothing is being backed up."""
    return _failed(
        AlertKind.CONFIG_INVALID,
        "-",
        f"Coffre cannot run: {failure.code}",
        f"The function {function} could not start its work: no target is being backed up until this is mended.",
        failure,
        [_ids(request=request_id)],
        "Check again after mending it: coffre backup database",
    )


def _failed(
    kind: AlertKind, target: str, subject: str, what: str, failure: Failure, facts: list[str], command: str
) -> Alert:
    lines = [what, "", f"Why: {failure.message} [{failure.code}]"]
    if failure.hint:
        lines.append(f"What to do: {failure.hint}")
    lines += ["", *facts, command]
    return Alert(kind, Severity.CRITICAL, target, _subject(subject), "\n".join(lines))


def _subject(text: str) -> str:
    """SNS refuses subjects with control characters, others than ASCII, or more than 100 of them."""
    ascii_text = text.encode("ascii", "replace").decode()
    return "".join(letter if letter.isprintable() else " " for letter in ascii_text)[:100]


def _ids(**ids: str | None) -> str:
    return "Ids: " + ", ".join(f"{name} {value}" for name, value in ids.items() if value)
