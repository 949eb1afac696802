"""What runs used: invocations add up in the table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.unit.catalog.conftest import NOON, RawTable
from ulid import ULID

from coffre.catalog.catalog import Catalog
from coffre.model.usage import Counts, Job, Usage


def usage(at: datetime = NOON, *, target: str | None = "shop", **counts: int) -> Usage:
    return Usage(id=str(ULID.from_timestamp(at.timestamp())), job=Job.BACKUP, target=target, at=at, **counts)


def test_invocations_of_one_run_add_up(catalog: Catalog) -> None:
    first = usage(invocations=1, function_mb_ms=10**13, vault_writes=3)
    second = first.model_copy(update={"at": NOON + timedelta(minutes=14), "vault_writes": 4, "source_reads": 7})

    catalog.usages.add(first)
    catalog.usages.add(second)

    found = catalog.usages.find(first.id)
    assert found is not None
    assert found.counts == Counts(invocations=2, function_mb_ms=2 * 10**13, vault_writes=7, source_reads=7)
    assert (found.job, found.target, found.at) == (Job.BACKUP, "shop", second.at)
    assert catalog.usages.find(str(ULID())) is None


def test_runs_of_a_month_are_listed_latest_first(catalog: Catalog) -> None:
    days = [
        datetime(2026, 10, 31, 23, tzinfo=UTC),
        datetime(2026, 11, 1, tzinfo=UTC),
        datetime(2026, 11, 30, tzinfo=UTC),
    ]
    made = [usage(day, target=None) for day in days]
    for one in made:
        catalog.usages.add(one)

    listed = catalog.usages.between(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))

    assert [one.id for one in listed] == [made[2].id, made[1].id]


def test_a_record_expires_after_two_years_and_no_index_has_it(catalog: Catalog, raw_table: RawTable) -> None:
    catalog.usages.add(usage(invocations=1))

    (item,) = raw_table.scan()["Items"]
    assert item["expires_at_epoch"] == int((NOON + timedelta(days=800)).timestamp())
    assert not {"target_key", "status_key"} & item.keys()
