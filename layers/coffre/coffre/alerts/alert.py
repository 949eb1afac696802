"""Alerts: their kinds, how urgent each is, and what SNS accepts. The texts are in the other modules of this package."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Severity(StrEnum):
    """How soon an operator has to look: immediately, today, or only out of interest."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class AlertKind(StrEnum):
    """What happened. Also the message attribute `kind`, and the name of the runbook in docs/runbooks."""

    BACKUP_FAILED = "BACKUP_FAILED"
    BACKUP_OVERDUE = "BACKUP_OVERDUE"
    BACKUP_EXCEPTIONS = "BACKUP_EXCEPTIONS"
    SIZE_ANOMALY = "SIZE_ANOMALY"
    DURATION_EXCEEDED = "DURATION_EXCEEDED"
    SUCCESS_RATE = "SUCCESS_RATE"
    VERIFY_FAILED = "VERIFY_FAILED"
    VERIFY_OVERDUE = "VERIFY_OVERDUE"
    DRILL_FAILED = "DRILL_FAILED"
    DRILL_INCOMPLETE = "DRILL_INCOMPLETE"
    DRILL_NOT_POSSIBLE = "DRILL_NOT_POSSIBLE"
    RTO_EXCEEDED = "RTO_EXCEEDED"
    OBJECTIVE_MISSED = "OBJECTIVE_MISSED"
    DATABASE_FOUND = "DATABASE_FOUND"
    DATABASE_GONE = "DATABASE_GONE"
    RESTORE_STARTED = "RESTORE_STARTED"
    RESTORE_COMPLETED = "RESTORE_COMPLETED"
    RESTORE_INCOMPLETE = "RESTORE_INCOMPLETE"
    RESTORE_FAILED = "RESTORE_FAILED"
    ROTATION_FAILED = "ROTATION_FAILED"
    VAULT_INCONSISTENT = "VAULT_INCONSISTENT"
    LOCK_TOO_SHORT = "LOCK_TOO_SHORT"
    JOURNAL_DAMAGED = "JOURNAL_DAMAGED"
    COPY_FAILED = "COPY_FAILED"
    COPY_OVERDUE = "COPY_OVERDUE"
    JOURNAL_LAG = "JOURNAL_LAG"
    JOURNAL_GAP = "JOURNAL_GAP"
    JOURNAL_SLOT_LOST = "JOURNAL_SLOT_LOST"
    JOURNAL_NOT_EQUAL = "JOURNAL_NOT_EQUAL"
    JOURNAL_LIMITED = "JOURNAL_LIMITED"
    QUOTA = "QUOTA"
    KEY_ROTATION_DUE = "KEY_ROTATION_DUE"
    CERTIFICATE_EXPIRES = "CERTIFICATE_EXPIRES"
    DOCTOR_BLOCKER = "DOCTOR_BLOCKER"
    ENCRYPTION_OFF = "ENCRYPTION_OFF"
    CONFIG_INVALID = "CONFIG_INVALID"
    VAULT_ACCESSED = "VAULT_ACCESSED"
    REQUEST_REFUSED = "REQUEST_REFUSED"
    CONSOLE_REFUSED = "CONSOLE_REFUSED"
    APPROVAL_NEEDED = "APPROVAL_NEEDED"
    AUDIT_FAILED = "AUDIT_FAILED"
    AUDIT_BROKEN = "AUDIT_BROKEN"
    AUDIT_ANCHORED = "AUDIT_ANCHORED"
    REPORT = "REPORT"

    @property
    def severity(self) -> Severity:
        """How soon an operator has to look at alerts of this kind."""
        return _SEVERITIES.get(self, Severity.WARNING)

    @property
    def is_event(self) -> bool:
        """Whether it is a single event, rather than a problem that lasts until it is over."""
        return self in _EVENTS

    @property
    def changes_slowly(self) -> bool:
        """Whether it cannot be solved within a day: daily reminders would only be ignored."""
        return self in _SLOW

    @property
    def is_notified_once(self) -> bool:
        """Whether no reminder follows while the problem stays the same: the operator has accepted it."""
        return self in (AlertKind.DRILL_INCOMPLETE, AlertKind.OBJECTIVE_MISSED)

    @property
    def is_of_runs(self) -> bool:
        """Whether it is over when no more backups of its target are taken."""
        return self in _OF_RUNS

    @property
    def is_of_configured(self) -> bool:
        """Whether it is over when its target is not configured any more. What is wrong with backups stays wrong."""
        return self in _OF_CONFIGURED

    @property
    def runbook(self) -> str:
        """The file of this repository that says what to do."""
        return f"docs/runbooks/{self.value}.md"


_SEVERITIES: Final[Mapping[AlertKind, Severity]] = {
    AlertKind.BACKUP_FAILED: Severity.CRITICAL,
    AlertKind.BACKUP_OVERDUE: Severity.CRITICAL,
    AlertKind.VERIFY_FAILED: Severity.CRITICAL,
    AlertKind.JOURNAL_DAMAGED: Severity.CRITICAL,
    AlertKind.JOURNAL_NOT_EQUAL: Severity.CRITICAL,
    AlertKind.DRILL_FAILED: Severity.CRITICAL,
    AlertKind.RESTORE_FAILED: Severity.CRITICAL,
    AlertKind.VAULT_INCONSISTENT: Severity.CRITICAL,
    AlertKind.CONFIG_INVALID: Severity.CRITICAL,
    AlertKind.VAULT_ACCESSED: Severity.CRITICAL,
    AlertKind.AUDIT_BROKEN: Severity.CRITICAL,
    AlertKind.AUDIT_ANCHORED: Severity.INFO,
    AlertKind.REPORT: Severity.INFO,
    AlertKind.DRILL_NOT_POSSIBLE: Severity.INFO,
    AlertKind.DATABASE_FOUND: Severity.INFO,
    AlertKind.RESTORE_STARTED: Severity.INFO,
    AlertKind.RESTORE_COMPLETED: Severity.INFO,
}
_EVENTS: Final = frozenset(
    {
        AlertKind.DATABASE_FOUND,
        AlertKind.DATABASE_GONE,
        AlertKind.JOURNAL_GAP,
        AlertKind.JOURNAL_SLOT_LOST,
        AlertKind.JOURNAL_LIMITED,
        AlertKind.RESTORE_STARTED,
        AlertKind.RESTORE_COMPLETED,
        AlertKind.RESTORE_INCOMPLETE,
        AlertKind.RESTORE_FAILED,
        AlertKind.VAULT_ACCESSED,
        AlertKind.REQUEST_REFUSED,
        AlertKind.CONSOLE_REFUSED,
        AlertKind.APPROVAL_NEEDED,
        AlertKind.AUDIT_FAILED,
        AlertKind.AUDIT_BROKEN,
        AlertKind.AUDIT_ANCHORED,
        AlertKind.REPORT,
    }
)
_SLOW: Final = frozenset(
    {AlertKind.SUCCESS_RATE, AlertKind.KEY_ROTATION_DUE, AlertKind.ENCRYPTION_OFF, AlertKind.DRILL_NOT_POSSIBLE}
)
_OF_RUNS: Final = frozenset(
    {
        AlertKind.BACKUP_FAILED,
        AlertKind.BACKUP_OVERDUE,
        AlertKind.BACKUP_EXCEPTIONS,
        AlertKind.SIZE_ANOMALY,
        AlertKind.DURATION_EXCEEDED,
        AlertKind.SUCCESS_RATE,
        AlertKind.VERIFY_OVERDUE,
        AlertKind.OBJECTIVE_MISSED,
        AlertKind.CERTIFICATE_EXPIRES,
        AlertKind.DOCTOR_BLOCKER,
    }
)
_OF_CONFIGURED: Final = _OF_RUNS | {
    AlertKind.COPY_FAILED,
    AlertKind.COPY_OVERDUE,
    AlertKind.DRILL_FAILED,
    AlertKind.DRILL_INCOMPLETE,
    AlertKind.DRILL_NOT_POSSIBLE,
    AlertKind.RTO_EXCEEDED,
    AlertKind.ROTATION_FAILED,
}

EVERY_TARGET: Final = "-"
"""The target of an alert that is not about a single target. No target can have this name."""


class State(StrEnum):
    """Whether a message is the first one of a problem, a reminder, or the end of it."""

    NEW = "new"
    REMINDER = "reminder"
    RECOVERED = "recovered"


@dataclass(frozen=True)
class Alert:
    """One message: `subject` at most 100 ASCII characters (the limit of SNS), `text` plain.

    An indented line of the text is a command. `fingerprint` distinguishes problems of one kind and target: an error
    code, the id of a restore. It must stay the same as long as the problem does.
    """

    kind: AlertKind
    target: str
    subject: str
    text: str
    fingerprint: str = ""
    state: State = State.NEW

    @property
    def severity(self) -> Severity:
        """How soon an operator has to look."""
        return self.kind.severity


def subject_of(text: str) -> str:
    """Return a subject that SNS accepts: at most 100 characters, all ASCII, no control characters."""
    ascii_text = text.encode("ascii", "replace").decode()
    return "".join(letter if letter.isprintable() else " " for letter in ascii_text)[:100]


def digest_of(*parts: str) -> str:
    """Return a short fingerprint of several texts, in any order."""
    return hashlib.sha256("\0".join(sorted(parts)).encode()).hexdigest()[:16]
