"""Which backups are copied, and which are late: every backup since the oldest copy, else the newest alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from ulid import ULID

from coffre.model.backup import Backup, Status, Tier
from coffre.model.copies import Copy, CopyStatus, Destination
from coffre.policy.copies import due_copies, overdue_copies

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
OFFSITE = Destination.model_validate({"name": "offsite", "store": {"type": "directory", "path": "/mnt/nas"}})
BUCKET = Destination.model_validate({"name": "far", "store": {"type": "s3", "bucket": "acme-coffre-copy"}})


def backup(hours: float, status: Status = Status.COMPLETED, tier: Tier = Tier.DAILY) -> Backup:
    at = NOW - timedelta(hours=hours)
    return Backup(
        id=str(ULID.from_datetime(at)), target="shop", tiers=(tier,), status=status, created_at=at, completed_at=at
    )


def copied(one: Backup, status: CopyStatus = CopyStatus.COMPLETED) -> dict[str, Copy]:
    copy = Copy(destination="offsite", backup_id=one.id, target="shop", status=status, started_at=one.created_at)
    return {one.id: copy}


def test_a_new_destination_gets_the_newest_backup_alone() -> None:
    backups = [backup(hours) for hours in (50, 26, 2)]

    assert due_copies(backups, {}) == [backups[2]]
    assert due_copies([], {}) == []


def test_every_backup_since_the_oldest_copy_is_due_the_newest_first() -> None:
    backups = [backup(hours) for hours in (74, 50, 26, 2)]

    assert due_copies(backups, copied(backups[1])) == [backups[3], backups[2]]
    assert due_copies(backups, copied(backups[1]) | copied(backups[3])) == [backups[2]]


def test_what_a_long_outage_has_left_out_is_due_though_the_vault_has_no_copied_one_any_more() -> None:
    gone, *left = (backup(hours) for hours in (300, 100, 2))
    other = {
        one.id: copy.model_copy(update={"target": "blog"}) for one in [backup(400)] for copy in copied(one).values()
    }

    for status in (CopyStatus.COMPLETED, CopyStatus.DELETED):
        assert due_copies(left, copied(gone, status) | other) == [left[1], left[0]]
    assert due_copies(left, copied(gone, CopyStatus.FAILED) | other) == [left[1]]


def test_what_a_destination_has_deleted_is_not_copied_again() -> None:
    backups = [backup(hours) for hours in (50, 26, 2)]
    copies = copied(backups[0], CopyStatus.DELETED) | copied(backups[2])

    assert due_copies(backups, copies) == [backups[1]]


def test_a_copy_that_failed_or_is_under_way_is_due() -> None:
    backups = [backup(hours) for hours in (26, 2)]
    copies = copied(backups[0]) | copied(backups[1], CopyStatus.FAILED)

    assert due_copies(backups, copies) == [backups[1]]
    assert due_copies(backups, copied(backups[0]) | copied(backups[1], CopyStatus.IN_PROGRESS)) == [backups[1]]


def test_only_good_backups_are_copied_and_none_of_what_restores_overwrote() -> None:
    failed, running, safety = backup(1, Status.FAILED), backup(2, Status.IN_PROGRESS), backup(3, tier=Tier.SAFETY)
    good = backup(26)

    assert due_copies([failed, running, safety, good], {}) == [good]


def test_a_copy_is_late_after_the_minutes_of_its_destination() -> None:
    backups = [backup(26), backup(0.9)]
    copies = copied(backups[0])

    assert overdue_copies(OFFSITE, backups, copies, NOW) == []
    assert overdue_copies(OFFSITE, backups, copies, NOW + timedelta(minutes=7)) == [backups[1]]


def test_the_first_copy_of_a_destination_has_a_day() -> None:
    backups = [backup(25)]

    assert overdue_copies(BUCKET, backups, {}, NOW) == []
    assert overdue_copies(BUCKET, backups, {}, NOW + timedelta(hours=2)) == backups


def test_a_directory_that_only_the_command_copies_to_is_never_late() -> None:
    made = copied(backup(200))
    by_command = {key: one.model_copy(update={"by_command": True}) for key, one in made.items()}

    assert overdue_copies(OFFSITE, [backup(200)], {}, NOW) == []
    assert overdue_copies(OFFSITE, [backup(100), backup(200)], by_command, NOW) == []
    assert overdue_copies(OFFSITE, [backup(100), backup(200)], made, NOW) != []


@given(
    st.lists(
        st.tuples(st.integers(0, 400), st.sampled_from(CopyStatus) | st.none()),
        max_size=12,
        unique_by=lambda one: one[0],
    )
)
def test_nothing_that_is_there_is_due_and_the_newest_always_is_until_it_is_there(
    given_backups: list[tuple[int, CopyStatus | None]],
) -> None:
    pairs = [(backup(hours), status) for hours, status in given_backups]
    copies: dict[str, Copy] = {}
    for one, status in pairs:
        copies |= copied(one, status) if status else {}
    backups = [one for one, _ in pairs]

    due = due_copies(backups, copies)

    there = {name for name, copy in copies.items() if copy.status in (CopyStatus.COMPLETED, CopyStatus.DELETED)}
    assert not {one.id for one in due} & there
    newest = max(backups, key=lambda one: one.id, default=None)
    assert newest is None or newest.id in there or due[0] == newest
    assert [one.id for one in due] == sorted((one.id for one in due), reverse=True)
