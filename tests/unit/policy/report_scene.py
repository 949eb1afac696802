"""Facts of a week, in every condition."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from tests.unit.policy.safety_scene import KEY, NOW, alert, database, drill, facts, run

from coffre.model.audit import AuditEvent
from coffre.model.backup import Backup, Restore, Status
from coffre.model.configuration import Configuration
from coffre.model.copies import Copy, CopyStatus
from coffre.model.objectives import Objective
from coffre.model.report import Money, Period, ReportFacts
from coffre.model.usage import Job, Usage
from coffre.policy.status_report import report_of as status_of

SECRET = "coffre/database/shop"
CONFIGURATION = Configuration.model_validate(
    {
        "encryption": "age",
        "recipients": ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"],
        "targets": [
            {
                "name": "shop",
                "secret": SECRET,
                "alerts": {"heartbeat_url": "https://hc-ping.com/heart-beat"},
                "tls": {"ca": "secret:coffre/database/ca"},
            }
        ],
        "objectives": {"database": {"rpo_minutes": 60, "rto_minutes": 15}},
        "copies": [{"name": "offsite", "store": {"type": "s3", "bucket": "acme-copy"}}],
        "contacts": [{"name": "Ada Lovelace", "role": "database owner", "phone": "+41 44 000 00 00"}],
        "vault_quota_bytes": 100_000_000_000,
    }
)


def restore(days: float = 2, **fields: Any) -> Restore:
    known: dict[str, Any] = {
        "backup_id": run(10).id,
        "tables": 1,
        "status": Status.COMPLETED,
        "duration_ms": 12_000,
        "destination": "db/shop",
    }
    at = NOW - timedelta(days=days)
    return Restore(id="01KR0000000000000000000001", target="shop", created_at=at, **{**known, **fields})


def event(action: str, actor: str = "arn:aws:iam::123456789012:user/ada", *, verified: bool = True) -> AuditEvent:
    return AuditEvent(id="01KA", at=NOW - timedelta(days=1), actor=actor, action=action, verified=verified)


def copy(backup: Backup, status: CopyStatus = CopyStatus.COMPLETED) -> Copy:
    at = backup.created_at
    verified = at if status is CopyStatus.COMPLETED else None
    return Copy(
        destination="offsite", backup_id=backup.id, target="shop", status=status, started_at=at, verified_at=verified
    )


def week(period: Period = Period.WEEKLY, **fields: Any) -> ReportFacts:
    """Return a good week: daily backups that are verified, a drill, a restore, copies."""
    objective = Objective(rpo_minutes=60 * 25, rto_minutes=15)
    backups = tuple(one.model_copy(update={"tables": 12}) for one in database().recent)
    status = fields.pop("status", None) or status_of(facts(database(objective=objective)))
    known: dict[str, Any] = {
        "since": NOW - timedelta(days=period.days),
        "status": status,
        "configuration": CONFIGURATION,
        "backups": backups,
        "restores": (restore(),),
        "usages": tuple(Usage(id=f"01KU{n}", job=Job.VERIFY, at=NOW - timedelta(days=n)) for n in range(3)),
        "events": (event("restore.started"), event("backup.started", "backup"), event("config", "ana", verified=False)),
        "copies": {"offsite": [*map(copy, backups[1:]), copy(backups[0], CopyStatus.FAILED)]},
        "cost": Money(until_now=Decimal("1.234"), whole_month=Decimal("1.32"), kinds={"storage": Decimal("1.2")}),
        "periods": tuple(Period),
    }
    return ReportFacts(period=period, **{**known, **fields})


def first_week() -> ReportFacts:
    """Return a stack that was deployed a minute ago."""
    nothing = database(recent=(), good=None, verified=None, drill=None)
    status = status_of(facts(nothing, vault=None, opened={}))
    return week(status=status, backups=(), restores=(), usages=(), events=(), copies={}, cost=None)


def bad_week() -> ReportFacts:
    """Return a week in which every run failed."""
    failed = tuple(run(10 + 24 * day, Status.FAILED) for day in range(7))
    target = database(
        recent=failed, good=None, verified=None, drill=drill(20), objective=Objective(rpo_minutes=60, rto_minutes=1)
    )
    status = status_of(facts(target, alerts=(alert("BACKUP_FAILED"),)))
    return week(status=status, backups=failed, restores=(restore(status=Status.FAILED),))


__all__ = ["KEY", "NOW", "bad_week", "first_week", "restore", "week"]
