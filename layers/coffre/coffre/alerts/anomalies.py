"""The texts of alerts about what is unusual: sizes, durations, success rates, the quota, keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from coffre.alerts.alert import EVERY_TARGET, Alert, AlertKind, digest_of
from coffre.alerts.wording import alert_of, body_of, bullets, ids_of, moment
from coffre.model.backup import Backup
from coffre.model.words import size, span
from coffre.policy.anomaly import QUOTA_PERCENT, RATE_DAYS, Deviation, Rate


def size_anomaly(backup: Backup, found: Sequence[Deviation], *, before: Backup, compared: int, noun: str) -> Alert:
    """Report a backup that is much larger or smaller than those before. `noun` is what is counted: rows or objects.

    `before` is the newest of the `compared` backups: it still has what was deleted.
    """
    grew = {deviation.grew for deviation in found}
    how = "an unusual size" if len(grew) > 1 else "grown a lot" if grew == {True} else "shrunk a lot"
    proven = f", verified {moment(before.verified_at)}" if before.verified_at else ", not verified"
    first = (
        f'The backup of "{backup.target}" is complete, but it differs a lot from the {compared} before it. Either the '
        "data was changed intentionally, or it was deleted, flooded, or encrypted by an attacker:"
    )
    return alert_of(
        AlertKind.SIZE_ANOMALY,
        backup.target,
        f"The backup of {backup.target} has {how}",
        body_of(
            "\n".join([first, *bullets([_line(one, noun) for one in found])]),
            since=backup.created_at,
            safe=f"The backup before it: {before.id}, taken {moment(before.created_at)}{proven}. It is untouched.",
            hint="Look at what changed, and ask the owner of the data whether it was intended. If not: pin the "
            "previous backup, so that rotation keeps it, and restore what is missing (docs/restore.md).",
            commands=[f"coffre diff {before.id} {backup.id}", f"coffre pin {before.id}"],
        ),
        ids=ids_of(backup=backup.id, request=backup.request_id),
        fingerprint=digest_of(*(f"{one.what} {one.unit} {one.grew}" for one in found)),
    )


def _line(one: Deviation, noun: str) -> str:
    change = f"{100 * (one.value - one.mean) / one.mean:+.0f} %" if one.mean else "nothing before"
    if one.unit == "bytes":
        return f"{one.what}: {size(one.value)}, usually {size(one.mean)} ({change})"
    return f"{one.what}: {one.value:,} {noun}, usually {one.mean:,.0f} ({change})"


def duration_exceeded(backup: Backup, *, took: timedelta, limit: timedelta) -> Alert:
    """Report a backup that took, or has been taking, longer than its target's limit."""
    done = backup.status.is_final
    taken = "took" if done else "has been running for"
    return alert_of(
        AlertKind.DURATION_EXCEEDED,
        backup.target,
        f"The backup of {backup.target} {taken} {span(took.total_seconds())}",
        body_of(
            f'The backup of "{backup.target}" {taken} {span(took.total_seconds())}; the limit is '
            f"{span(limit.total_seconds())}. {'It is complete.' if done else 'It is not complete yet.'}",
            since=backup.created_at,
            hint="Check whether the database is busy or has grown, or the network is slow. More memory gives the "
            "function more cores; alerts.duration_minutes of the target sets another limit.",
            commands=[f"coffre show {backup.id}", f"coffre list {backup.target}"],
        ),
        ids=ids_of(backup=backup.id, request=backup.request_id),
    )


def success_rate_low(target: str, rate: Rate, *, wanted_percent: float, safe: str) -> Alert:
    """Report that too many backups of the last weeks failed. Each failure had an alert of its own."""
    return alert_of(
        AlertKind.SUCCESS_RATE,
        target,
        f"{rate.failed} of {rate.good + rate.failed} backups of {target} failed in {RATE_DAYS} days",
        body_of(
            f'Of the backups of "{target}" in the last {RATE_DAYS} days, {rate.percent:.1f} % succeeded: {rate.good} '
            f"of {rate.good + rate.failed}. At least {wanted_percent:g} % should.",
            safe=safe,
            hint="Look at the failures together: if most have the same code, they have one cause.",
            commands=[f"coffre list {target} --status FAILED"],
        ),
    )


def quota_near(used_bytes: int, quota_bytes: int) -> Alert:
    """Report that the vault is nearly as large as its quota. Nothing stops at the limit."""
    return alert_of(
        AlertKind.QUOTA,
        EVERY_TARGET,
        f"The vault is {100 * used_bytes / quota_bytes:.0f} % full",
        body_of(
            f"The vault holds {size(used_bytes)}; vault_quota_bytes is {size(quota_bytes)}. This alert comes from "
            f"{QUOTA_PERCENT} % on. Coffre refuses and deletes nothing because of the quota: backups continue, and "
            "cost more.",
            hint="See what rotation would delete and keep, keep backups for a shorter time, or raise the quota.",
            commands=["coffre rotate --dry-run", "coffre list"],
        ),
    )


def key_rotation_due(first_used: Mapping[str, datetime], days: int) -> Alert:
    """Report recipients that have been in use for too long. `first_used` has their dates, by public key."""
    oldest = min(first_used.values())
    lines = [f"{key[:12]}...{key[-6:]}, since {moment(since)}" for key, since in sorted(first_used.items())]
    return alert_of(
        AlertKind.KEY_ROTATION_DUE,
        EVERY_TARGET,
        f"The backup keys have been in use for more than {days} days",
        body_of(
            "\n".join(
                [f"Backups have been encrypted to the same public keys for {days} days or more:", *bullets(lines)]
            ),
            since=oldest,
            hint="Create a new key for new backups, and deploy the public key that the command prints. The old private "
            "keys stay for the old backups. Keys of one target: --target NAME.",
            commands=["coffre keys list", "coffre keys rotate --dry-run"],
        ),
        fingerprint=digest_of(*first_used),
    )


def certificate_expires(target: str, host: str, name: str, ends: datetime) -> Alert:
    """Report that backups will fail when a certificate ends: a server's, or the authority's that it is checked with."""
    return alert_of(
        AlertKind.CERTIFICATE_EXPIRES,
        target,
        f"A certificate that {target} depends on expires on {ends:%Y-%m-%d}",
        body_of(
            f"The connection to {host} is verified with the certificate {name}, which expires on {moment(ends)}. "
            "Backups work until then, and fail from then on.",
            hint="If it is the server's, renew it there (managed servers do that themselves, or offer it). If it is "
            "the authority's, put the provider's present CA file into the target's tls.ca.",
            commands=[f"coffre backup database {target}"],
        ),
        fingerprint=digest_of(name, ends.isoformat()),
    )


def encryption_off() -> Alert:
    """Report that the configuration asks for backups that Coffre does not encrypt."""
    return alert_of(
        AlertKind.ENCRYPTION_OFF,
        EVERY_TARGET,
        "Backups are NOT encrypted by Coffre",
        body_of(
            'The configuration says "encryption": "none". Anyone with read access to the bucket can read every backup: '
            "the bucket's own encryption at rest does not stop them.",
            hint="Make a key pair, set encryption to age with its public key in recipients, and take a full backup. "
            "Existing backups stay as they are.",
            commands=["coffre keys new --offline ./offline.txt", "coffre backup database --full"],
        ),
    )
