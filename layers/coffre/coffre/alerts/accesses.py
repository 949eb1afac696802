"""The text of the alert about an access to the vault by someone who is not Coffre."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from coffre.alerts.alert import EVERY_TARGET, Alert, AlertKind, digest_of
from coffre.alerts.wording import alert_of, body_of, bullets, moment
from coffre.model.access import AccessAction, AccessGroup
from coffre.model.names import visible

_DID: Final = {
    AccessAction.READ: "read objects of the vault",
    AccessAction.WRITE: "wrote objects into the vault",
    AccessAction.DELETE: "deleted objects of the vault",
    AccessAction.CONFIGURE: "changed the settings of the vault's bucket",
}


def vault_accessed(group: AccessGroup) -> Alert:
    """Report what a principal did to the vault on one day: once for each kind of action."""
    who = "Someone without credentials" if group.principal == "-" else visible(group.principal)
    did = _DID[group.action]
    done = group.requests - group.refused
    facts = [
        f"who: {who}",
        f"requests that succeeded: {done:,}" + (f" ({group.refused:,} more were refused)" if group.refused else ""),
        f"first {moment(group.first_at)}, last {moment(group.last_at)}",
        f"from: {', '.join(group.ips)}",
        *(f"object: {key}" for key in group.keys),
    ]
    what = f"On {group.day}, a principal that is not one of Coffre's functions {did}:"
    return alert_of(
        AlertKind.VAULT_ACCESSED,
        EVERY_TARGET,
        f"Not Coffre: {_short(who)} {did}",
        body_of(
            "\n".join([what, *bullets(facts)]),
            hint="If it was one of you, nothing: name the principal in access.expected of the configuration. If not, "
            "take its credentials away first, then follow the runbook.",
            commands=["coffre audit accesses --since 7d", "coffre verify --level inventory"],
        ),
        fingerprint=f"{group.day} {group.action} {digest_of(group.principal)}",
    )


def accesses_unknown(now: datetime, why: str) -> Alert:
    """Report, once a day, that the logs of accesses cannot be read or do not arrive."""
    return alert_of(
        AlertKind.VAULT_ACCESSED,
        EVERY_TARGET,
        "It is not known who accessed the vault",
        body_of(
            "The logs of accesses to the vault's bucket do not say who accessed it.",
            why=why,
            hint="Check that the vault's bucket still has its logging, and that the logs' bucket was not changed. "
            "Backups and restores are not concerned.",
            commands=["coffre audit accesses --since 7d"],
        ),
        fingerprint=f"{now:%Y-%m-%d} unknown",
    )


def _short(who: str) -> str:
    """Return the last part of an ARN, which is what people know: `Operators/alice`, `user/alice`."""
    return who.rpartition(":")[2].removeprefix("assumed-role/")[:50]
