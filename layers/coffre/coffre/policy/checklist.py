"""What a person does each week, month and year, and the facts that show that it was done. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from coffre.model.backup import Restore
from coffre.model.drill import Outcome
from coffre.model.kinds import Status
from coffre.model.report import Period, ReportFacts, Todo
from coffre.model.status import Standing

type _Fact = Callable[[ReportFacts, datetime], str | None]


def checklist(facts: ReportFacts) -> tuple[Todo, ...]:
    """Return what is to be done in the report's periods; an item is done by a fact of its own period."""
    wanted = facts.periods or (facts.period,)
    return tuple(
        Todo(period=period, text=text, command=command, done=fact(facts, _since(facts, period)) if fact else None)
        for period, text, command, fact in _ITEMS
        if period in wanted
    )


def _since(facts: ReportFacts, period: Period) -> datetime:
    return facts.status.at - timedelta(days=period.days)


# --- what the facts show ---


def _no_alert(facts: ReportFacts, since: datetime) -> str | None:
    del since
    return "no alert is open" if facts.status.standing is Standing.SAFE and not facts.status.alerts else None


def _no_failure(facts: ReportFacts, since: datetime) -> str | None:
    runs = [one for one in facts.backups if one.created_at >= since]
    is_good = runs and all(one.status is not Status.FAILED for one in runs)
    return f"none of {len(runs):,} runs failed" if is_good else None


def _room(facts: ReportFacts, since: datetime) -> str | None:
    vault, quota = facts.status.vault, facts.configuration.vault_quota_bytes
    if vault is None or vault.measured_at < since or quota is None or vault.held_bytes * 10 >= quota * 8:
        return None
    return f"{100 * vault.held_bytes // quota} % of the quota is used"


def _in_time(facts: ReportFacts, since: datetime) -> str | None:
    del since
    measured = [one.measured for one in facts.status.targets if one.measured is not None]
    is_met = measured and not any(one.rpo_missed or one.rto_missed for one in measured)
    is_known = all(None not in (one.rpo_missed, one.rto_missed) for one in measured)
    return "every objective is met" if is_met and is_known else None


def _verified(facts: ReportFacts, since: datetime) -> str | None:
    names = {one.name for one in facts.status.targets}
    seen = {one.target for one in facts.backups if one.verified_at is not None and one.verified_at >= since}
    return "every target has a backup that was verified" if names and names <= seen else None


def _drilled(facts: ReportFacts, since: datetime) -> str | None:
    drills = [one.drill for one in facts.status.targets]
    good = {Outcome.PASSED, Outcome.INCOMPLETE}
    if not drills or not all(one and one.completed_at >= since and one.outcome in good for one in drills):
        return None
    return f"every target was drilled, the last on {max(one.completed_at for one in drills if one):%Y-%m-%d}"


def _rehearsed(facts: ReportFacts, since: datetime) -> str | None:
    found = [one.rehearsal for one in facts.status.targets]
    if not found or not all(one and one.completed_at >= since for one in found):
        return None
    return f"every target was rehearsed, the last on {max(one.completed_at for one in found if one):%Y-%m-%d}"


def _tables(facts: ReportFacts, since: datetime) -> str | None:
    """Return when fewer tables were restored than the backup has."""
    whole = {one.id: one.tables for one in facts.backups}
    return _last(one for one in _good(facts, since) if (one.tables or 0) and (one.tables or 0) < _of(whole, one))


def _everything(facts: ReportFacts, since: datetime) -> str | None:
    whole = {one.id: one.tables for one in facts.backups}
    return _last(one for one in _good(facts, since) if one.tables and one.tables == _of(whole, one)) or _drilled(
        facts, since
    )


def _of(tables: Mapping[str, int | None], one: Restore) -> int:
    return tables.get(one.backup_id) or 0


def _good(facts: ReportFacts, since: datetime) -> Iterable[Restore]:
    return (
        one
        for one in facts.restores
        if one.status is Status.COMPLETED and not (one.dry_run or one.is_export) and one.created_at >= since
    )


def _last(restores: Iterable[Restore]) -> str | None:
    newest = max(restores, key=lambda one: one.created_at, default=None)
    return f"restored on {newest.created_at:%Y-%m-%d} ({newest.id})" if newest is not None else None


def _opened(facts: ReportFacts, since: datetime) -> str | None:
    tried = [at for one in facts.status.targets for at in one.keys_opened.values()]
    if not tried or not all(at is not None and at >= since for at in tried):
        return None
    return "every private key opened a backup"


_ITEMS: Final[tuple[tuple[Period, str, str, _Fact | None], ...]] = (
    (Period.WEEKLY, "Read the alerts that are open", "coffre alerts list", _no_alert),
    (Period.WEEKLY, "Look at runs that failed", "coffre list --status FAILED --since 7d", _no_failure),
    (Period.WEEKLY, "Look at the space that the vault takes", "coffre status", _room),
    (Period.WEEKLY, "Compare times with the objectives", "coffre status", _in_time),
    (Period.WEEKLY, "See that backups were verified", "coffre verify --level read", _verified),
    (Period.MONTHLY, "Test the restore of a table", "coffre restore tables latest NAME", _tables),
    (Period.MONTHLY, "Test the restore of everything", "coffre verify --level drill latest", _everything),
    (
        Period.MONTHLY,
        "Rehearse the recovery of everything",
        "coffre recover --kit kit --rehearse --stack NAME",
        _rehearsed,
    ),
    (Period.MONTHLY, "Test the encryption: each private key opens a backup", "coffre keys check", _opened),
    (Period.MONTHLY, "Look who read the vault", "coffre audit accesses --since 31d", None),
    (Period.MONTHLY, "Look who may do what, and who did", "coffre audit --since 31d", None),
    (Period.YEARLY, "Check the record of all acts with a mail that was kept", "coffre audit --verify-chain", None),
    (Period.YEARLY, "Write the recovery kit again, and try its passphrase", "coffre keys recovery-kit kit", None),
    (Period.YEARLY, "Look at the costs, and what a change would save", "coffre cost", None),
    (Period.YEARLY, "Read the contacts and the objectives, and correct them", "coffre config show", None),
)
