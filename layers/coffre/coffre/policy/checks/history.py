"""Checks of what is remembered: backups, verifications, drills, and keys."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from coffre.model.checkup import CheckResult
from coffre.policy.checks.answers import Refused
from coffre.policy.checks.code import blocker, warning
from coffre.policy.checks.history_facts import DrillSeen, KeyFacts, TargetHistory
from coffre.policy.checks.vault_facts import Trouble

NO_BACKUP: Final = blocker("NO_BACKUP")
NOT_VERIFIED: Final = warning("NO_VERIFIED_BACKUP")
NEVER_DRILLED: Final = warning("DRILL_NEVER_RUN")
DRILL_FAILS: Final = blocker("DRILL_FAILING")
DRILL_OLD: Final = warning("DRILL_STALE")
ONE_KEY: Final = warning("KEY_ONE_RECIPIENT")
NOT_TRIED: Final = warning("KEY_NOT_TRIED")
NO_IDENTITY: Final = blocker("KEY_IDENTITY_MISSING")

DRILL_MAX_AGE: Final = timedelta(days=14)
"""Drills run weekly: one that is older means that at least one did not happen."""
KEY_MAX_AGE: Final = timedelta(days=90)
"""How long ago a private key may have been tried."""
_HOURS_A_DAY: Final = 24


# --- backups, verifications, drills ---


def check_history(history: TargetHistory, now: datetime) -> Iterator[CheckResult]:
    """Judge what is remembered of a target."""
    target = history.target
    if history.newest_at is None:
        yield NO_BACKUP.found(
            "The target has no good backup.",
            "none in the catalog",
            f"coffre backup database {target} (buckets: coffre backup buckets {target})",
            target,
        )
        return
    yield NO_BACKUP.ok("The target has a good backup.", f"the newest is of {_moment(history.newest_at)}", target)
    yield _check_verified(history, now)
    if not history.drills_off:
        yield from _check_drill(history, now)


def _check_verified(history: TargetHistory, now: datetime) -> CheckResult:
    limit = timedelta(hours=history.verified_within_hours)
    cure = "coffre verify --level read, and look why the daily one does not run: coffre alerts list"
    if history.verified_at is None:
        return NOT_VERIFIED.found("No backup of the target was ever verified.", "none", cure, history.target)
    evidence = f"verified {_moment(history.verified_at)}; at most {_span(limit)} are expected"
    if now - history.verified_at > limit:
        words = f"No backup of the target was verified for {_span(now - history.verified_at)}."
        return NOT_VERIFIED.found(words, evidence, cure, history.target)
    return NOT_VERIFIED.ok("A backup of the target was verified recently.", evidence, history.target)


def _check_drill(history: TargetHistory, now: datetime) -> Iterator[CheckResult]:
    drill, target = history.drill, history.target
    again = f"coffre verify --level drill --target {target}"
    if isinstance(drill, Trouble):
        yield NEVER_DRILLED.unseen("The reports of drills", Refused("s3:GetObject", drill.message), target)
        return
    if drill is None:
        words = "No backup of the target was ever restored for a test."
        yield NEVER_DRILLED.found(words, "no report of a drill in the vault", again, target)
        return
    yield NEVER_DRILLED.ok("A backup of the target was restored for a test.", _described(drill), target)
    if drill.outcome in ("failed", "not_possible"):
        cure = f"coffre report {drill.backup_id}, and follow docs/runbooks/{_RUNBOOKS[drill.outcome]}.md; then {again}"
        yield DRILL_FAILS.found("The newest drill did not succeed.", _described(drill), cure, target)
    else:
        yield DRILL_FAILS.ok("The newest drill succeeded.", _described(drill), target)
    if now - drill.completed_at > DRILL_MAX_AGE:
        words = f"The newest drill is {_span(now - drill.completed_at)} old; drills run every week."
        yield DRILL_OLD.found(words, _described(drill), again, target)
    else:
        yield DRILL_OLD.ok("The newest drill is recent.", _described(drill), target)


_RUNBOOKS: Final = {"failed": "DRILL_FAILED", "not_possible": "DRILL_NOT_POSSIBLE"}


def _described(drill: DrillSeen) -> str:
    problem = f": {drill.problem}" if drill.problem else ""
    return f"{drill.outcome.replace('_', ' ')}, {_moment(drill.completed_at)}, backup {drill.backup_id}{problem}"


# --- keys ---


def check_keys(keys: KeyFacts, now: datetime) -> Iterator[CheckResult]:
    """Judge the keys of all targets. Without encryption nothing is judged: an alert reports that it is off."""
    if not keys.is_encrypted:
        return
    for target, recipients in keys.recipients.items():
        if len(recipients) > 1:
            yield ONE_KEY.ok("Backups open with more than one key.", f"{len(recipients)} public keys", target)
        else:
            yield ONE_KEY.found(
                "Backups open with one key alone: who loses it loses every backup.",
                f"{len(recipients)} public key",
                "coffre keys new --file ./offline.txt, then add the public key to the recipients (docs/keys.md)",
                target,
            )
    yield from (
        _check_tried(key, keys, now) for key in dict.fromkeys(key for all_ in keys.recipients.values() for key in all_)
    )
    yield from _check_identity(keys)


def _check_tried(key: str, keys: KeyFacts, now: datetime) -> CheckResult:
    """The function's key is tried by every verification, when it is the only one of a target."""
    alone = [target for target, recipients in keys.recipients.items() if recipients == (key,)]
    tried = [keys.opened[key]] if key in keys.opened else []
    tried += [keys.verified_at[target] for target in alone if target in keys.verified_at]
    last, since = max(tried, default=None), keys.used_since.get(key)
    name = f"{key[:12]}...{key[-6:]}"
    cure = "coffre keys check --identity FILE (the file with the private key)"
    if last is not None and now - last <= KEY_MAX_AGE:
        return NOT_TRIED.ok("The private key opened a backup recently.", f"{name}: {_moment(last)}", key)
    if last is None and (since is None or now - since <= KEY_MAX_AGE):
        words = f"{name}: in use since {_moment(since)}" if since else f"{name}: encrypts nothing yet"
        return NOT_TRIED.ok(f"The key is new: {KEY_MAX_AGE.days} days are given to try it.", words, key)
    evidence = f"{name}: {f'last tried {_moment(last)}' if last else 'no trial is recorded'}"
    return NOT_TRIED.found(
        f"No private key was seen to open a backup for {KEY_MAX_AGE.days} days: it may be lost.", evidence, cure, key
    )


def _check_identity(keys: KeyFacts) -> Iterator[CheckResult]:
    secret = keys.identity_secret or "coffre/identity/main"
    if keys.identity is None:
        return
    if isinstance(keys.identity, Refused):
        yield NO_IDENTITY.unseen("The secret with the private key", keys.identity, secret)
    elif keys.identity:
        yield NO_IDENTITY.ok("The secret with the private key exists.", secret, secret)
    else:
        yield NO_IDENTITY.found(
            "The secret with the private key does not exist: no function can verify, drill or restore.",
            f"no secret {secret}, or it is about to be deleted",
            f"aws secretsmanager restore-secret --secret-id {secret}, or store the private key of the kit in it: "
            "docs/keys.md",
            secret,
        )


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _span(time: timedelta) -> str:
    hours = int(time.total_seconds() // 3600)
    return f"{hours // _HOURS_A_DAY} days" if hours >= 2 * _HOURS_A_DAY else f"{hours} hours"
