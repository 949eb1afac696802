"""What backups cost: of a run, of a month, and by kind. Estimates from counts and list prices; bills have the truth.

Amounts are Decimals in US dollars, and are rounded only when they are shown (`dollars`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, Self

from coffre.model.backup import Backup
from coffre.model.kinds import Status, TargetKind
from coffre.model.usage import Job, Spent, Usage
from coffre.model.vault_use import VaultUse
from coffre.policy.prices import GB, Prices

_ZERO: Final = Decimal(0)
# Records, locks, heartbeats and audit events of one invocation: roughly, of runs of some minutes.
_CATALOG_WRITES: Final = 40
_CATALOG_READS: Final = 40
# Of a drain of a journal, or of a tick that asks which are due: the state, the usage, the configuration.
_DRAIN_CATALOG_WRITES: Final = 4
_DRAIN_CATALOG_READS: Final = 4
# What a record without counts is taken for: the function's default memory, and one request for each full pack.
_MEMORY_MB: Final = 3_008
_PACK_BYTES: Final = 16 * 2**20
_OTHER_WRITES: Final = 4
_HOLDERS: Final = 2
_KEYS_OF_A_PAGE: Final = 1_000


@dataclass(frozen=True)
class Cost:
    """An amount of money, by kind. `catalog` is the DynamoDB table, `machine` are state transitions."""

    function: Decimal = _ZERO
    requests: Decimal = _ZERO
    storage: Decimal = _ZERO
    transfer: Decimal = _ZERO
    kms: Decimal = _ZERO
    catalog: Decimal = _ZERO
    machine: Decimal = _ZERO

    @property
    def total(self) -> Decimal:
        """The sum of all kinds."""
        return sum((getattr(self, kind) for kind in KINDS), _ZERO)

    def plus(self, other: Self) -> Self:
        """Return both together."""
        return type(self)(**{kind: getattr(self, kind) + getattr(other, kind) for kind in KINDS})

    def times(self, factor: Decimal) -> Self:
        """Return a multiple of it."""
        return type(self)(**{kind: getattr(self, kind) * factor for kind in KINDS})


KINDS: Final = tuple(field.name for field in fields(Cost))


@dataclass(frozen=True)
class TargetCost:
    """What a target cost, or (`name` None) what jobs about all targets cost.

    `runs` are those of all jobs, `backups` of them backups, and `estimated` those without counts. `protected_bytes` is
    the plaintext of its newest backup, `stored_bytes` its share of the vault. `run_cost` is of its backups alone,
    `journal_cost` of drains of its journal, both without storage.
    """

    name: str | None
    cost: Cost
    run_cost: Cost = Cost()
    runs: int = 0
    backups: int = 0
    estimated: int = 0
    protected_bytes: int = 0
    stored_bytes: int = 0
    first_bytes: int = 0
    journal_cost: Cost = Cost()


@dataclass(frozen=True)
class MonthCost:
    """What was used between `since` and `until` (at most a month; the current one until now)."""

    since: datetime
    until: datetime
    ends: datetime
    targets: tuple[TargetCost, ...]

    @property
    def cost(self) -> Cost:
        """That of all targets, and of jobs about all of them."""
        return total_of(one.cost for one in self.targets)

    @property
    def elapsed(self) -> Decimal:
        """Which share of the month these are: 1 for a month that has passed."""
        return _seconds(self.since, self.until) / _seconds(self.since, self.ends)

    @property
    def whole_month(self) -> Decimal:
        """What the whole month costs if it continues like this."""
        return self.cost.total / self.elapsed if self.elapsed else _ZERO

    @property
    def per_protected_gb(self) -> Decimal | None:
        """What a whole month costs for each GB (2**30 bytes) of plaintext in the newest backups; None without any."""
        protected = sum(one.protected_bytes for one in self.targets)
        return self.whole_month * GB / protected if protected else None

    @property
    def estimated(self) -> int:
        """How many of the runs have no counts."""
        return sum(one.estimated for one in self.targets)


def total_of(costs: Iterable[Cost]) -> Cost:
    """Return the sum."""
    total = Cost()
    for cost in costs:
        total = total.plus(cost)
    return total


def cost_of(used: Usage, prices: Prices) -> Cost:
    """Return what a run cost, without the storage of what it stored.

    Requests that delete, and bytes between a function and S3 in its region, cost nothing.
    """
    of_a_second = prices.arm_gb_second if used.is_arm else prices.x86_gb_second
    writes, reads = used.vault_writes + used.source_writes, used.vault_reads + used.source_reads
    return Cost(
        function=used.gb_seconds * of_a_second + used.invocations * prices.invocation,
        requests=writes * prices.write + reads * prices.read,
        transfer=Decimal(used.outside_bytes) / GB * prices.gb_out,
        kms=used.kms_requests * prices.kms_request,
        catalog=used.invocations * _catalog_cost(used.job, prices),
        machine=used.transitions * prices.transition,
    )


def _catalog_cost(job: Job, prices: Prices) -> Decimal:
    if job is Job.JOURNAL:
        return _DRAIN_CATALOG_WRITES * prices.catalog_write + _DRAIN_CATALOG_READS * prices.catalog_read
    return _CATALOG_WRITES * prices.catalog_write + _CATALOG_READS * prices.catalog_read


def estimated_usage(backup: Backup) -> Usage:
    """Return what a backup without counts may have used, from its duration and its sizes."""
    holders = _HOLDERS if backup.kind is TargetKind.DATABASE else 0
    functions = (backup.workers or 1) + holders if backup.spread is not None else 1
    return Usage(
        id=backup.id,
        job=Job.BACKUP,
        target=backup.target,
        at=backup.completed_at or backup.created_at,
        estimated=True,
        invocations=functions,
        function_mb_ms=(backup.duration_ms or 0) * _MEMORY_MB * functions,
        vault_writes=-(-(backup.stored_bytes or 0) // _PACK_BYTES) + _OTHER_WRITES,
        vault_sent_bytes=backup.stored_bytes or 0,
        source_writes=-(-(backup.objects or 0) // _KEYS_OF_A_PAGE),
    )


def month_cost(
    usages: Iterable[Usage],
    backups: Sequence[Backup],
    vault: VaultUse | None,
    prices: Prices,
    month: datetime,
    now: datetime,
) -> MonthCost:
    """Return what a month cost, by target.

    Parameters
    ----------
    usages
        What was recorded of the month's runs.
    backups
        Records of all backups that exist, and of the month's; the order is of no importance.
    vault
        What the newest sweep measured, if it is about this month: the bytes are then divided among the targets. None:
        those that each backup added are summed.
    month
        Any instant of it, with its zone.
    now
        The current month is counted until then.
    """
    since, ends = month_of(month)
    until = max(since, min(now, ends))
    counted = {used.id: used for used in usages}
    for backup in backups:
        if since <= backup.created_at < until and backup.id not in counted and backup.duration_ms is not None:
            counted[backup.id] = estimated_usage(backup)
    living = [one for one in backups if one.status is Status.COMPLETED and one.created_at < until]
    stored = _stored(living, vault)
    share = _seconds(since, until) / _seconds(since, ends)
    named = {*stored, *(used.target for used in counted.values() if used.target)}
    names: list[str | None] = [*sorted(named)]
    if any(used.target is None for used in counted.values()):
        names.append(None)
    return MonthCost(
        since=since,
        until=until,
        ends=ends,
        targets=tuple(_target_cost(name, counted.values(), living, stored, prices, share) for name in names),
    )


def spent(usages: Iterable[Usage], vault: VaultUse | None, prices: Prices, now: datetime) -> Spent:
    """Return what this month cost until now, and what all of it costs if it continues like this.

    From recorded counts and the measured size of the vault alone: no record of a backup is read. None of the storage is
    in it as long as `vault` was not measured.
    """
    since, ends = month_of(now)
    share = _seconds(since, now) / _seconds(since, ends)
    storage = Decimal(vault.held_bytes if vault else 0) / GB * prices.gb_month * share
    until_now = total_of(cost_of(used, prices) for used in usages).total + storage
    return Spent(until_now=until_now, whole_month=until_now / share if share else _ZERO)


def _target_cost(
    name: str | None,
    usages: Iterable[Usage],
    living: Sequence[Backup],
    stored: Mapping[str, int],
    prices: Prices,
    share: Decimal,
) -> TargetCost:
    runs = [used for used in usages if used.target == name]
    own = [one for one in living if one.target == name]
    newest = max(own, key=lambda one: (one.created_at, one.id), default=None)
    stored_bytes = stored.get(name or "", 0)
    storage = Cost(storage=Decimal(stored_bytes) / GB * prices.gb_month * share)
    of_backups = [used for used in runs if used.job is Job.BACKUP]
    return TargetCost(
        name=name,
        cost=total_of([storage, *(cost_of(used, prices) for used in runs)]),
        run_cost=total_of(cost_of(used, prices) for used in of_backups),
        runs=len(runs),
        backups=len(of_backups),
        estimated=sum(used.estimated for used in runs),
        protected_bytes=(newest.plaintext_bytes or 0) if newest else 0,
        stored_bytes=stored_bytes,
        journal_cost=total_of(cost_of(used, prices) for used in runs if used.job is Job.JOURNAL),
        first_bytes=min(stored_bytes, max((one.stored_bytes or 0 for one in own), default=0)),
    )


def _stored(living: Sequence[Backup], vault: VaultUse | None) -> dict[str, int]:
    """Return the bytes in the vault by target; a pack that several backups share counts once, where it was added."""
    added: dict[str, int] = {}
    for backup in living:
        added[backup.target] = added.get(backup.target, 0) + (backup.stored_bytes or 0)
    whole = sum(added.values())
    if vault is None or not whole:
        return added
    # Packs of deleted backups can still be needed, others wait for their removal, and journals are measured together:
    # divided in proportion.
    shares = {target: vault.held_bytes * size // whole for target, size in added.items()}
    largest = max(added, key=lambda target: added[target])
    shares[largest] += vault.held_bytes - sum(shares.values())
    return shares


def month_of(at: datetime) -> tuple[datetime, datetime]:
    """Return when the month (UTC) of an instant begins, and when the next one does."""
    utc = at.astimezone(UTC)
    since = datetime(utc.year, utc.month, 1, tzinfo=UTC)
    return since, datetime(utc.year + utc.month // 12, utc.month % 12 + 1, 1, tzinfo=UTC)


def _seconds(since: datetime, until: datetime) -> Decimal:
    return Decimal(str((until - since).total_seconds()))


def dollars(amount: Decimal) -> str:
    """Return an amount as it is shown: `$12.30`; below a dollar with two digits that say something: `$0.0012`."""
    if amount < 0:
        return f"-{dollars(-amount)}"
    places = 2
    if _ZERO < amount < 1:
        places = max(2, 1 - amount.adjusted())
    if places > 6:
        return "$0.00"
    return f"${amount.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP):,}"
