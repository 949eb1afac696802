"""The texts of alerts about copies of the vault: damaged, not as recorded, not verified, nearly full.

Their target is `copy:NAME`, so that the state of a copy is no target's: what is in order in the vault ends no alert
about a copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from coffre.alerts.alert import Alert, AlertKind, digest_of
from coffre.alerts.wording import alert_of, because, body_of, bullets, ids_of
from coffre.model.backup import Failure
from coffre.model.copies import Copy
from coffre.model.rotation import Problem
from coffre.model.words import size
from coffre.policy.anomaly import QUOTA_PERCENT

_TARGET: Final = "copy:"
_VAULT_IS_SAFE: Final = "The vault itself is not affected: backups are restored from it as usual."


def target_of(copy: str) -> str:
    """Return the target of alerts about a copy. No target of a configuration can have this name."""
    return f"{_TARGET}{copy}"


def is_copy(target: str) -> bool:
    """Return whether the target of an alert is a copy."""
    return target.startswith(_TARGET)


def copy_damaged(name: str, damaged: Sequence[Copy], *, level: str, request_id: str) -> Alert:
    """Report backups whose copies are damaged, those of the newest first."""
    lines = [f"{copy.backup_id} of {copy.target}: {copy.damaged}" for copy in damaged]
    of = "A backup" if len(damaged) == 1 else f"{len(damaged)} backups"
    return alert_of(
        AlertKind.VERIFY_FAILED,
        target_of(name),
        f"{of} in the copy {name} {'is' if len(damaged) == 1 else 'are'} DAMAGED",
        body_of(
            "\n".join([f'In the copy "{name}", stored bytes are missing or changed (level {level}):', *bullets(lines)]),
            safe=_VAULT_IS_SAFE,
            hint="The next rotation of the copy deletes what is damaged there, and the copier sends it again from the "
            "vault. To do both now, run these commands. Then find out what changed the copy.",
            commands=[f"coffre rotate --at {name}", f"coffre copy {damaged[0].backup_id} --to {name}"],
        ),
        ids=ids_of(request=request_id),
        fingerprint=f"damaged {digest_of(*(copy.backup_id for copy in damaged))}",
    )


def copy_not_verified(name: str, failure: Failure, *, level: str, request_id: str) -> Alert:
    """Report that a copy could not be looked at. It says nothing about the backups there."""
    return alert_of(
        AlertKind.VERIFY_FAILED,
        target_of(name),
        f"The copy {name} could not be verified: {failure.code}",
        body_of(
            f'The verification of the copy "{name}" at level {level} stopped with an error. No backup there is known '
            "to be damaged, but none is checked.",
            why=because(failure),
            safe=_VAULT_IS_SAFE,
            hint=failure.hint,
            commands=[
                f"coffre verify --at {name}" if level == "fresh" else f"coffre verify --at {name} --level {level}"
            ],
        ),
        ids=ids_of(request=request_id),
        fingerprint=f"{level} {failure.code}",
    )


def copy_rotation_failed(name: str, failure: Failure, *, request_id: str) -> Alert:
    """Report a rotation of a copy that stopped: old backups stay there longer than configured, and nothing is lost."""
    return alert_of(
        AlertKind.ROTATION_FAILED,
        target_of(name),
        f"Rotation of the copy {name} FAILED: {failure.code}",
        body_of(
            f'The rotation of the copy "{name}" stopped. No backup is lost; old ones stay there until a rotation '
            "succeeds.",
            why=because(failure),
            hint=failure.hint,
            commands=[f"coffre rotate --at {name} --dry-run"],
        ),
        ids=ids_of(request=request_id),
        fingerprint=failure.code,
    )


def copy_inconsistent(name: str, problems: Sequence[Problem], *, request_id: str) -> Alert:
    """Report that a copy does not hold what the catalog recorded of it."""
    first = (
        f'A rotation of the copy "{name}" found what is not as recorded. It deleted nothing there that may be needed.'
    )
    return alert_of(
        AlertKind.VAULT_INCONSISTENT,
        target_of(name),
        f"The copy {name} does not agree with the catalog",
        body_of(
            "\n".join([first, *bullets([f"{problem.text} [{problem.code}]" for problem in problems])]),
            safe=_VAULT_IS_SAFE,
            hint="Verify the copy: its result names the backups that have to be copied again. Then find out who "
            "changed it.",
            commands=[f"coffre verify --at {name} --level inventory"],
        ),
        ids=ids_of(request=request_id),
        fingerprint=digest_of(*(f"{problem.code} {problem.target} {problem.text}" for problem in problems)),
    )


def copy_quota_near(name: str, used_bytes: int, quota_bytes: int) -> Alert:
    """Report that a copy is nearly as large as its quota. Nothing stops at the limit."""
    return alert_of(
        AlertKind.QUOTA,
        target_of(name),
        f"The copy {name} is {100 * used_bytes / quota_bytes:.0f} % full",
        body_of(
            f'The copy "{name}" holds {size(used_bytes)}; its quota_bytes is {size(quota_bytes)}. This alert comes '
            f"from {QUOTA_PERCENT} % on. Coffre refuses and deletes nothing because of the quota: copies continue, and "
            "cost more.",
            hint="See what rotation would delete and keep there. Give the copy a shorter retention, or raise the "
            "quota.",
            commands=[f"coffre rotate --at {name} --dry-run"],
        ),
    )
