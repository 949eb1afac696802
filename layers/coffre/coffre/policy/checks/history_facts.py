"""What the catalog and the vault remember of a target: backups, verifications, drills; and of its keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from coffre.model.kinds import TargetKind
from coffre.policy.checks.answers import Answer, Trouble


@dataclass(frozen=True, slots=True)
class DrillSeen:
    """The newest drill of a target: how it ended (`passed`, `incomplete`, `failed`, `not_possible`), and when."""

    outcome: str
    completed_at: datetime
    backup_id: str
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class NewestBackup:
    """When the newest good backup of a target began; None: none exists."""

    target: str
    kind: TargetKind
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Proofs:
    """What proves the backups of a target.

    Attributes
    ----------
    now
        When that was looked at.
    verified_at
        When a backup of it was last verified: read back, or restored.
    verified_within_hours
        How old the newest verified backup may be (`freshness.verified_hours`).
    drill
        None: none was ever run.
    drills_off
        The configuration says that nothing is drilled.
    """

    target: str
    now: datetime
    verified_at: datetime | None
    verified_within_hours: float
    drill: DrillSeen | Trouble | None
    drills_off: bool = False


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """The keys of all targets, of a stack that encrypts.

    Attributes
    ----------
    now
        When that was looked at.
    recipients
        The public keys of each target's next backup.
    opened
        When each public key's private key was last seen to open a backup (`coffre keys check`).
    used_since
        Since when each public key has been in use; a key that is not in it has encrypted nothing yet.
    verified_at
        When a backup of a target was last verified: that takes a private key, the function's.
    identity_secret
        The secret with the private key of the functions.
    identity
        Whether it exists.
    """

    now: datetime
    recipients: dict[str, tuple[str, ...]]
    opened: dict[str, datetime] = field(default_factory=dict)
    used_since: dict[str, datetime] = field(default_factory=dict)
    verified_at: dict[str, datetime] = field(default_factory=dict)
    identity_secret: str = "coffre/identity/main"  # noqa: S105 - a name
    identity: Answer[bool] = True
