"""Targets in every condition, as facts: what `coffre status` decides from."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ulid import ULID

from coffre.model.backup import Backup, Failure, Status, Tier
from coffre.model.bucket_target import BucketSource, BucketTarget
from coffre.model.database_target import DatabaseTarget
from coffre.model.drill import DrillSummary, Outcome
from coffre.model.kinds import TargetKind
from coffre.model.status_facts import Facts, OpenAlert, Schedule, TargetFacts
from coffre.model.vault_use import VaultUse

NOW: Final = datetime(2026, 11, 28, 12, tzinfo=UTC)  # a Saturday
KEY: Final = "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"


def run(hours: float, status: Status = Status.COMPLETED, **fields: Any) -> Backup:
    """Return a run that began this number of hours ago."""
    began = NOW - timedelta(hours=hours)
    if status is Status.COMPLETED:
        fields = {"completed_at": began + timedelta(minutes=4), "plaintext_bytes": 5_000_000, **fields}
    if status is Status.FAILED:
        fields.setdefault("failure", Failure(code="CONNECTION_REFUSED", message="The server refused."))
    target = fields.pop("target", "shop")
    number = ULID.from_timestamp(began.timestamp())
    backup_id = fields.pop("id", str(number)[:10] + "0" * 16)
    return Backup(
        id=backup_id, target=target, tiers=fields.pop("tiers", (Tier.DAILY,)), status=status, created_at=began, **fields
    )


def drill(days: float = 3, outcome: Outcome = Outcome.PASSED, **fields: Any) -> DrillSummary:
    """Return a drill that ended this number of days ago."""
    at = NOW - timedelta(days=days)
    known: dict[str, Any] = {"restore_seconds": 245.0, "restore_limit_seconds": 1800, "target": "shop", **fields}
    return DrillSummary(
        id="01KD0000000000000000000001",
        backup_id="01KB0000000000000000000001",
        outcome=outcome,
        completed_at=at,
        **known,
    )


def database(name: str = "shop", **fields: Any) -> TargetFacts:
    """Return a database that is safe: backed up daily, verified, drilled."""
    recent = tuple(
        run(
            10 + 24 * day,
            target=name,
            plaintext_bytes=5_000_000 - 400_000 * day,
            stored_bytes=90_000,
            verified_at=NOW - timedelta(hours=8 + 24 * day),
        )
        for day in range(10)
    )
    known = TargetFacts(
        name=name,
        kind=TargetKind.DATABASE,
        target=DatabaseTarget(name=name, secret=f"coffre/database/{name}"),
        recent=recent,
        good=recent[0],
        verified=recent[0],
        drill=drill(target=name),
        recipients=(KEY,),
    )
    return replace(known, **fields)


def buckets(name: str = "photos", **fields: Any) -> TargetFacts:
    """Return a target of buckets that is safe: backed up weekly."""
    recent = tuple(
        run(33 + 168 * week, target=name, kind=TargetKind.BUCKET, verified_at=NOW - timedelta(hours=20))
        for week in range(4)
    )
    known = TargetFacts(
        name=name,
        kind=TargetKind.BUCKET,
        target=BucketTarget(name=name, kind=TargetKind.BUCKET, buckets=(BucketSource(name="photos"),)),
        recent=recent,
        good=recent[0],
        verified=recent[0],
        drill=drill(target=name, restore_seconds=None, restore_limit_seconds=None),
        recipients=(KEY,),
    )
    return replace(known, **fields)


def schedule(job: str, hours: float = 14, **fields: Any) -> Schedule:
    """Return a rule that fires in this number of hours."""
    known: dict[str, Any] = {
        "rule": f"safe-{job}",
        "state": "enabled",
        "expression": "cron(0 2 * * ? *)",
        "next_at": NOW + timedelta(hours=hours),
    }
    return Schedule(job=job, **{**known, **fields})


def alert(kind: str, target: str = "shop", severity: str = "critical", **fields: Any) -> OpenAlert:
    """Return a problem that has been open for six hours."""
    known = {"subject": f"{kind} of {target}", "since": NOW - timedelta(hours=6), "runbook": f"docs/runbooks/{kind}.md"}
    return OpenAlert.model_validate({"kind": kind, "target": target, "severity": severity, **known, **fields})


SCHEDULES: Final = (
    schedule("daily-databases"),
    schedule("weekly-databases"),
    schedule("monthly-databases", 62),
    schedule("weekly-buckets", 15),
    schedule("monthly-buckets", 63),
    schedule("rotate", 17),
    schedule("weekly-drill", 18),
    schedule("monthly-drill", 66),
    schedule("fresh", 0.25),
    schedule("inventory", 16),
    schedule("read", 16.5),
)
VAULT: Final = VaultUse(
    measured_at=NOW - timedelta(hours=7),
    packs=1_234,
    size_bytes=26_000_000_000,
    used_bytes=25_000_000_000,
    needed_bytes=145_000_000_000,
    plaintext_bytes=400_000_000_000,
)


def facts(*targets: TargetFacts, **fields: Any) -> Facts:
    """Return the facts of a stack with these targets; none: a database and buckets that are safe."""
    known: dict[str, Any] = {
        "schedules": SCHEDULES,
        "vault": VAULT,
        "first_used": {KEY: NOW - timedelta(days=40)},
        "opened": {KEY: NOW - timedelta(days=12)},
        **fields,
    }
    return Facts(now=NOW, targets=targets or (database(), buckets()), **known)
