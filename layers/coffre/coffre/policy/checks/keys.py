"""Checks of the keys: can backups be opened, and by more than one person?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from coffre.model.checkup import Severity
from coffre.policy.checks.answers import Refused
from coffre.policy.checks.check import Finding, Unread, check
from coffre.policy.checks.history import moment
from coffre.policy.checks.history_facts import KeyFacts

KEY_MAX_AGE: Final = timedelta(days=90)
"""How long ago a private key may have been tried."""

type Found = Iterator[Finding | Unread]


@check(
    "KEY_ONE_RECIPIENT",
    Severity.WARNING,
    KeyFacts,
    fine="Backups open with more than one key.",
    cure="coffre keys new --file ./offline.txt, then add the public key to the recipients (docs/keys.md).",
)
def key_one_recipient(keys: KeyFacts) -> Found:
    """Find targets whose backups open with one key alone."""
    for target, recipients in keys.recipients.items():
        if len(recipients) == 1:
            yield Finding(
                f"Backups of {target} open with one key alone: if it is lost, all of them are.",
                f"recipient {_short(recipients[0])}",
                subject=target,
            )


@check(
    "KEY_NOT_TRIED",
    Severity.WARNING,
    KeyFacts,
    fine="Every private key was tried recently, or is new.",
    cure="coffre keys check --identity FILE, with the file that has the private key.",
)
def key_not_tried(keys: KeyFacts) -> Found:
    """Find public keys whose private key was not seen to open a backup for `KEY_MAX_AGE`."""
    for key in dict.fromkeys(key for recipients in keys.recipients.values() for key in recipients):
        alone = [target for target, recipients in keys.recipients.items() if recipients == (key,)]
        # A verification opens backups: with the only key, if a target has one alone.
        tried = [keys.opened[key]] if key in keys.opened else []
        tried += [keys.verified_at[target] for target in alone if target in keys.verified_at]
        last = max(tried, default=None)
        since = last or keys.used_since.get(key)
        if since is not None and keys.now - since > KEY_MAX_AGE:
            yield Finding(
                f"The private key of {_short(key)} was not seen to open a backup for {KEY_MAX_AGE.days} days: it may "
                "be lost.",
                f"last tried {moment(last)}" if last else f"in use since {moment(since)}, no trial is recorded",
                subject=key,
            )


@check(
    "KEY_IDENTITY_MISSING",
    Severity.BLOCKER,
    KeyFacts,
    fine="The secret with the private key exists.",
    cure="Store the private key of the recovery kit in the secret (docs/keys.md).",
)
def key_identity_missing(keys: KeyFacts) -> Found:
    """Find a stack without the secret that its functions read backups with."""
    if isinstance(keys.identity, Refused):
        yield keys.identity.unread(f"Whether the secret {keys.identity_secret} exists")
    elif not keys.identity:
        yield Finding(
            "The secret with the private key does not exist: no function can verify, drill or restore.",
            f"no secret {keys.identity_secret}, or it is about to be deleted",
            f"aws secretsmanager restore-secret --secret-id {keys.identity_secret}; if it is gone, store the private "
            "key of the recovery kit in it (docs/keys.md).",
            keys.identity_secret,
        )


def _short(key: str) -> str:
    return f"{key[:12]}...{key[-6:]}"
