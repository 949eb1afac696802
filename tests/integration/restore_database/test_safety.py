"""What a restore overwrites is in a backup first: the function checks it, by facts of the destination."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from tests.integration.conftest import Coffre, beside, run_sql, with_password
from tests.integration.contents import RoundTrip

from coffre.model.backup import Status
from coffre.model.errors import CoffreError
from coffre.model.restore_report import RestoreReport
from coffre.model.safety import Safety, SafetyState
from coffre.operations.runs import safety
from coffre.postgres.destination.database_identity import identity_of
from coffre_local.postgres_server import PostgresServer
from coffre_local.sample import fingerprint


@pytest.fixture
def mended(coffre: Coffre, shop: str) -> str:
    """The shop, whose restores take a SAFETY backup first."""
    coffre.configure(shop)
    coffre.with_safety = True
    return shop


def report_of(coffre: Coffre, answer: dict[str, Any]) -> RestoreReport:
    record = coffre.catalog.get_restore(answer["id"])
    return coffre.restore_function().services.vault.read_report(record.report_key or "")


def safety_of(coffre: Coffre, answer: dict[str, Any]) -> Safety:
    found = report_of(coffre, answer).safety
    assert found is not None
    return found


def refused(coffre: Coffre, *arguments: Any, **scope: Any) -> CoffreError:
    with pytest.raises(CoffreError) as caught:
        coffre.restore(*arguments, **scope)
    return caught.value


def test_a_database_is_replaced_by_an_older_backup_and_set_back_to_what_it_was(coffre: Coffre, mended: str) -> None:
    old = coffre.backup()
    first = fingerprint(mended)
    run_sql(mended, "DELETE FROM orders WHERE id <= 500", "UPDATE customers SET name = 'Grace' WHERE id = 7")
    present = fingerprint(mended)

    # A bare event changes nothing, and says which event does
    error = refused(coffre, old["id"], None, replace=True)
    assert error.code == "SAFETY_NEEDED"
    assert '{"target": "shop", "tier": "SAFETY"} to the function backup_database' in (error.hint or "")
    assert fingerprint(mended) == present

    saved = coffre.backup(tier="SAFETY")
    done = coffre.restore(old["id"], None, replace=True)
    assert fingerprint(mended) == first
    found = safety_of(coffre, done)
    assert (found.state, found.backup_id, found.kept_days) == (SafetyState.PRESENT, saved["id"], 7)

    # And back: what is there now is backed up too
    coffre.backup(tier="SAFETY")
    coffre.restore(saved["id"], None, replace=True)
    assert fingerprint(mended) == present


def test_tables_and_rows_need_a_backup_too_and_a_plan_says_so(coffre: Coffre, mended: str) -> None:
    backup = coffre.backup()
    run_sql(mended, "UPDATE orders SET note = 'oops'")
    rows: dict[str, Any] = {"tables": ["orders"], "rows": {"where": "id < 10"}, "apply": True}

    plan = safety_of(coffre, coffre.restore(backup["id"], None, **rows, dry_run=True))
    assert (plan.state, plan.target, plan.kept_days) == (SafetyState.NEEDED, "shop", 7)
    assert refused(coffre, backup["id"], None, **rows).code == "SAFETY_NEEDED"
    assert refused(coffre, backup["id"], None, tables=["orders"], replace=True).code == "SAFETY_NEEDED"
    # What overwrites nothing needs none
    assert report_of(coffre, coffre.restore(backup["id"], None, tables=["orders"])).safety is None
    run_sql(mended, "DROP TABLE orders")
    gone = coffre.restore(backup["id"], None, tables=["orders"], replace=True)
    assert safety_of(coffre, gone).state is SafetyState.NOT_NEEDED


def test_a_safety_backup_of_minutes_ago_is_named_with_its_time_and_a_damaged_or_older_one_is_not(
    coffre: Coffre, mended: str
) -> None:
    old, newer = coffre.backup(), coffre.backup(tier="SAFETY")
    chosen: dict[str, Any] = {"tables": ["orders"], "replace": True, "dry_run": True}
    found = safety_of(coffre, coffre.restore(old["id"], None, **chosen))
    assert found.backup_id == newer["id"]
    assert f'The state of "shop" at {found.taken_at:%H:%M:%S} UTC is in the SAFETY backup {newer["id"]}.' in found.text
    vault = coffre.restore_function().services.vault
    records = safety.SafetyRecords(
        coffre.catalog, vault, safety.moment(coffre.catalog.get_backup(newer["id"])), restored=old["id"]
    )
    assert records.newest("shop", timedelta(), lambda _: ()) is not None
    assert records.newest("other", timedelta(hours=1), lambda _: ()) is None

    coffre.catalog.keeping.mark_damaged(newer["id"], "A pack is lost.", records.now)

    assert safety_of(coffre, coffre.restore(old["id"], None, **chosen)).state is SafetyState.NEEDED


@pytest.mark.parametrize(("tiers", "restored"), [(("MANUAL", "SAFETY"), 1), (("MANUAL", "DAILY"), 0)])
def test_a_backup_from_before_the_accident_never_holds_what_the_restore_overwrites(
    coffre: Coffre, mended: str, tiers: tuple[str, str], restored: int
) -> None:
    """However recent it is: the one that is restored, and one that a schedule or a person took."""
    backup = [coffre.backup(tier=tier) for tier in tiers][restored]
    run_sql(mended, "UPDATE orders SET note = 'oops' WHERE id < 10")

    plan = safety_of(coffre, coffre.restore(backup["id"], None, tables=["orders"], replace=True, dry_run=True))

    assert plan.state is SafetyState.NEEDED
    assert refused(coffre, backup["id"], None, tables=["orders"], replace=True).code == "SAFETY_NEEDED"


def test_a_backup_from_before_another_restore_does_not_hold_what_that_one_left(coffre: Coffre, mended: str) -> None:
    old = coffre.backup()
    run_sql(mended, "UPDATE orders SET note = 'oops' WHERE id < 10")
    coffre.backup(tier="SAFETY")
    coffre.restore(old["id"], None, tables=["orders"], replace=True)

    again = safety_of(coffre, coffre.restore(old["id"], None, tables=["orders"], replace=True, dry_run=True))

    assert again.state is SafetyState.NEEDED


def test_another_address_of_the_targets_own_database_is_its_own(coffre: Coffre, mended: str) -> None:
    backup = coffre.backup()
    run_sql(mended, "CREATE ROLE owner_of_shop LOGIN SUPERUSER")
    by_name = with_password(mended, user="owner_of_shop").replace("127.0.0.1", "localhost")

    assert refused(coffre, backup["id"], by_name, tables=["orders"], replace=True).code == "SAFETY_NEEDED"
    saved = coffre.backup(tier="SAFETY")
    done = coffre.restore(backup["id"], by_name, tables=["orders"], replace=True)

    assert safety_of(coffre, done).backup_id == saved["id"]


def test_a_destination_in_use_that_is_no_target_needs_a_plain_word(
    coffre: Coffre, mended: str, postgres_server: PostgresServer
) -> None:
    backup = coffre.backup()
    other = beside(mended, f"copy_of_{urlsplit(mended).path[1:]}")
    coffre.restore(backup["id"], other)
    run_sql(other, "UPDATE orders SET note = 'theirs'")
    try:
        error = refused(coffre, backup["id"], other, tables=["orders"], replace=True)
        assert error.code == "SAFETY_IMPOSSIBLE"
        assert "it is no target of Coffre" in error.message
        assert run_sql(other, "SELECT DISTINCT note FROM orders") == [("theirs",)]
        plan = coffre.restore(backup["id"], other, tables=["orders"], replace=True, dry_run=True)
        assert safety_of(coffre, plan).state is SafetyState.IMPOSSIBLE
        done = coffre.restore(backup["id"], other, tables=["orders"], replace=True, no_safety=True)
        assert safety_of(coffre, done).state is SafetyState.DECLINED
        assert run_sql(other, "SELECT count(*) FROM orders WHERE note = 'theirs'") == [(0,)]
    finally:
        postgres_server.drop_database(urlsplit(other).path[1:])


def test_a_table_that_the_configuration_leaves_out_is_not_called_safe(coffre: Coffre, mended: str) -> None:
    backup = coffre.backup()
    coffre.configure(mended, target={"tables": {"exclude": ["orders"]}})
    coffre.backup(tier="SAFETY")
    coffre.catalog.keeping.mark_damaged(
        backup["id"], "Lost.", coffre.catalog.get_backup(backup["id"]).created_at
    )  # so that it is not the recent backup

    error = refused(coffre, backup["id"], None, tables=["orders"], replace=True)

    assert error.code == "SAFETY_IMPOSSIBLE"
    assert "backups of shop leave out public.orders" in error.message


def test_a_failure_names_the_backup_with_the_state_before(coffre: Coffre, mended: str) -> None:
    backup = coffre.backup()
    run_sql(mended, "ALTER TABLE orders DROP CONSTRAINT orders_pkey")
    saved = coffre.backup(tier="SAFETY")

    error = refused(coffre, backup["id"], None, tables=["orders"], replace=True)

    assert error.code == "KEY_MISSING"
    (record,) = [one for one in coffre.catalog.restores() if one.status is Status.FAILED]
    assert record.failure is not None
    assert f"The state before this restore is in the backup {saved['id']}." in record.failure.message


def test_the_latest_backup_is_never_the_state_that_was_replaced(coffre: Coffre, mended: str) -> None:
    """Whoever sends the refused event again after the SAFETY backup means the same backup as before."""
    good = coffre.backup()
    run_sql(mended, "DELETE FROM orders")
    coffre.alerts()
    coffre.backup(tier="SAFETY")

    done = coffre.restore("latest", None, target="shop", tables=["orders"], replace=True)

    assert done["backup_id"] == good["id"]
    assert run_sql(mended, "SELECT count(*) FROM orders") == [(1000,)]
    # And nobody is told that the shop has lost its orders: it was about to be restored
    assert [alert["Subject"] for alert in coffre.troubles()] == []


@pytest.mark.parametrize("user", [None, "reader"])
def test_facts_tell_one_database_from_another(
    round_trip: RoundTrip, postgres_server: PostgresServer, user: str | None
) -> None:
    round_trip.fill("DROP ROLE IF EXISTS reader", "CREATE ROLE reader LOGIN")
    own = with_password(round_trip.source, user=user)
    others = [postgres_server.create_database(f"other_{user}")]

    def identity(url: str) -> Any:
        with closing(psycopg2.connect(url)) as session:
            return identity_of(session)

    try:
        assert identity(own).is_same(identity(round_trip.source))
        assert not identity(own).is_same(identity(others[0]))
    finally:
        postgres_server.drop_database(f"other_{user}")
        round_trip.fill("DROP ROLE reader")


def test_a_copy_of_a_servers_files_is_another_database(round_trip: RoundTrip) -> None:
    """It has the same system identifier and the same oids, and was started at another time."""
    with closing(psycopg2.connect(round_trip.source)) as session:
        own = identity_of(session)
    assert own.system_identifier is not None
    copy = type(own)(own.system_identifier, own.started_at + timedelta(seconds=1), own.oid)
    unreadable = type(own)(None, own.started_at, own.oid)

    assert not own.is_same(copy)
    assert own.is_same(unreadable)


def test_a_safety_backup_and_a_restore_without_one_are_on_record(coffre: Coffre, mended: str) -> None:
    backup = coffre.backup()
    saved = coffre.backup(tier="SAFETY")
    coffre.restore(backup["id"], None, tables=["orders"], replace=True, no_safety=True)

    events = {(one.action, one.subject, one.detail) for one in coffre.catalog.audit.events(target="shop")}

    assert ("backup.taken", saved["id"]) in {(action, subject) for action, subject, _ in events}
    assert any(
        action == "restore.started" and "replace, without a SAFETY backup" in (detail or "")
        for action, _, detail in events
    )
