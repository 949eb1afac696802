"""Whatever a record holds comes back from the table."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from ulid import ULID

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Failure, Progress, Restore, Status, Tier
from coffre.model.kinds import TargetKind

ZONES = st.integers(-23, 23).map(lambda hours: timezone(timedelta(hours=hours)))
TIMES = st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=ZONES)  # noqa: DTZ001
COUNTS = st.integers(0, 2**63)
TEXTS = st.text(max_size=40)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)
TIERS = st.sets(st.sampled_from(Tier), min_size=1).map(lambda tiers: tuple(tier for tier in Tier if tier in tiers))

PROGRESS = st.builds(
    Progress,
    phase=TEXTS,
    done_bytes=COUNTS,
    total_bytes=COUNTS,
    done_tables=COUNTS,
    total_tables=COUNTS,
    current=st.none() | TEXTS,
)
RUN = {
    "id": st.binary(min_size=16, max_size=16).map(lambda some: str(ULID.from_bytes(some))),
    "target": NAMES,
    "status": st.sampled_from(Status),
    "created_at": TIMES,
    "heartbeat_at": st.none() | TIMES,
    "completed_at": st.none() | TIMES,
    "duration_ms": st.none() | COUNTS,
    "tables": st.none() | COUNTS,
    "rows": st.none() | COUNTS,
    "exceptions": st.lists(TEXTS, max_size=4).map(tuple),
    "progress": PROGRESS,
    "failure": st.none() | st.builds(Failure, code=TEXTS, message=TEXTS, hint=st.none() | TEXTS),
    "request_id": st.none() | TEXTS,
}
BACKUPS = st.builds(
    Backup,
    **RUN,
    kind=st.sampled_from(TargetKind),
    tiers=TIERS,
    slot=st.none() | TEXTS,
    started_at=st.none() | TIMES,
    plaintext_bytes=st.none() | COUNTS,
    stored_bytes=st.none() | COUNTS,
    manifest_key=st.none() | TEXTS,
    manifest_sha256=st.none() | TEXTS,
    source_version=st.none() | TEXTS,
    encryption=st.none() | TEXTS,
)
RESTORES = st.builds(Restore, **RUN, backup_id=TEXTS, destination=TEXTS, report_key=st.none() | TEXTS)

# One table serves all examples: an id that an earlier example had is left out.
many = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture
def used_ids() -> set[str]:
    return set()


@given(backup=BACKUPS)
@many
def test_any_backup_comes_back_as_it_was(catalog: Catalog, used_ids: set[str], backup: Backup) -> None:
    assume(backup.id not in used_ids)
    used_ids.add(backup.id)
    catalog.create_backup(backup)
    found = catalog.get_backup(backup.id)
    assert found == backup
    assert found.created_at.tzinfo == UTC


@given(restore=RESTORES)
@many
def test_any_restore_comes_back_as_it_was(catalog: Catalog, used_ids: set[str], restore: Restore) -> None:
    assume(restore.id not in used_ids)
    used_ids.add(restore.id)
    catalog.create_restore(restore)
    assert catalog.get_restore(restore.id) == restore
