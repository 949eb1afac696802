"""What overwrites a database needs the plan's token; the function looks at the database again before it changes it."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from tests.confirming import with_confirmation
from tests.integration.conftest import Context, new_id
from tests.integration.contents import RoundTrip, database_of, run, value

from coffre.model.backup import Backup, Status
from coffre.model.confirmation import Plan
from coffre.model.errors import CoffreError, ConfirmationError
from coffre.model.restore_report import RestoreReport
from coffre.operations.restore_database import replace_database, tables_attempts
from coffre.operations.restore_database.whole_database import restore_whole
from coffre.postgres.destination import row_merge

SHOP = (
    "CREATE TABLE orders (id int PRIMARY KEY, note text, created_at timestamptz DEFAULT now())",
    "CREATE INDEX orders_by_time ON orders (created_at)",
    "INSERT INTO orders SELECT n, 'n', '2026-11-01'::timestamptz + n * interval '1 min' FROM generate_series(1, 500) n",
    "CREATE TABLE parts (id int, at date) PARTITION BY RANGE (id)",
    "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (1) TO (100)",
    "ANALYZE",
)
WHOLE: dict[str, Any] = {"replace": True, "no_safety": True}
TABLE: dict[str, Any] = {"tables": ["orders"], "replace": True, "no_safety": True}
ROWS: dict[str, Any] = {"tables": ["orders"], "rows": {"where": "id < 100"}, "apply": True, "no_safety": True}


class Died(BaseException):
    """The end of a process: nothing is cleared away."""


@pytest.fixture
def shop(round_trip: RoundTrip) -> RoundTrip:
    round_trip.fill(*SHOP)
    return round_trip


def invoke(shop: RoundTrip, event: dict[str, Any]) -> dict[str, Any]:
    return shop.coffre.restore_function().handle(event, Context(function_name="restore"))


def planned(shop: RoundTrip, backup: Backup, scope: dict[str, Any]) -> dict[str, Any]:
    """Return the event with its confirmation."""
    return with_confirmation(lambda event: invoke(shop, event), {"backup_id": backup.id, **scope})


def refused(shop: RoundTrip, event: dict[str, Any]) -> CoffreError:
    with pytest.raises(CoffreError) as caught:
        invoke(shop, event)
    return caught.value


def report_of(shop: RoundTrip, answer: dict[str, Any]) -> RestoreReport:
    key = shop.coffre.catalog.get_restore(answer["id"]).report_key
    assert key
    return RestoreReport.model_validate_json(shop.coffre.objects(key)[key])


@pytest.mark.parametrize("scope", [WHOLE, TABLE, ROWS])
def test_a_bare_event_changes_nothing_and_says_what_to_send(shop: RoundTrip, scope: dict[str, Any]) -> None:
    backup = shop.back_up()
    shop.fill("DELETE FROM orders WHERE id < 10")
    restore_id = new_id()

    error = refused(shop, {"backup_id": backup.id, "restore_id": restore_id, "actor": "ada", **scope})

    assert (type(error), error.code) == (ConfirmationError, "CONFIRMATION_NEEDED")
    said = json.loads((error.hint or "").partition(": ")[2].partition(" . ")[0])
    assert said == {"backup_id": backup.id, "dry_run": True, **scope}
    assert value(shop.source, "SELECT count(*) FROM orders") == 491
    assert list(shop.coffre.catalog.restores()) == []
    events = list(shop.coffre.catalog.audit.events())
    assert [(one.action, one.actor) for one in events if one.result == "refused"] == [("restore.started", "ada")]
    # And that dry run is enough to do it
    assert invoke(shop, with_confirmation(lambda trial: invoke(shop, {**said, **trial}), said | {"dry_run": False}))


def test_the_plan_says_what_is_lost_and_only_the_answer_has_the_token(shop: RoundTrip) -> None:
    backup = shop.back_up()

    answer = invoke(shop, {"backup_id": backup.id, **WHOLE, "dry_run": True})

    plan = answer["plan"]
    assert plan["name"] == database_of(shop.source)
    assert (plan["backup_id"], plan["manifest_sha256"]) == (backup.id, backup.manifest_sha256)
    lost = plan["overwrites"]
    assert (lost["tables"], lost["rows_estimate"], lost["database"]) == (2, 500, plan["name"])
    assert lost["size_bytes"] > 1_000_000
    assert (lost["newest_row"], lost["newest_row_in"]) == ("2026-11-01 08:20:00", "public.orders.created_at")
    assert len(answer["token"]) >= 43
    coffre = shop.coffre
    kept = [*coffre.log_lines, *map(str, coffre.alerts()), *map(str, coffre.catalog.audit.events())]
    kept += [str(coffre.catalog.get_restore(answer["id"])), *(str(body) for body in coffre.objects("v1/rest").values())]
    kept += [str(one) for one in coffre.catalog.confirmations.beginning_with("")[0]]
    assert not any(answer["token"] in text for text in kept)


def test_a_token_is_used_once_and_by_its_own_event(shop: RoundTrip) -> None:
    backup = shop.back_up()
    event = planned(shop, backup, TABLE)

    others = [
        {**event, "tables": ["*"]},
        {**event, "actor": "eve"},
        {**event, "confirmation": {**event["confirmation"], "name": "shop"}},
        {**event, "confirmation": {**event["confirmation"], "token": "t" * 43}},
    ]
    codes = [refused(shop, other).code for other in others]
    done = invoke(shop, event)

    assert codes == ["CONFIRMATION_MISMATCH"] * 3 + ["CONFIRMATION_INVALID"]
    assert done["status"] == "COMPLETED"
    assert refused(shop, event).code == "CONFIRMATION_INVALID"
    # Refusals of one kind are counted, and recorded once an hour
    events = [(one.action, one.result) for one in shop.coffre.catalog.audit.events(target="shop")][::-1]
    assert [event for event in events if event[0] in ("restore.planned", "restore.confirmed")] == [
        ("restore.planned", "done"),
        ("restore.confirmed", "refused"),
        ("restore.confirmed", "refused"),
        ("restore.confirmed", "done"),
    ]
    assert shop.coffre.catalog.get_restore(done["id"]).confirmed


def test_an_event_that_is_delivered_twice_is_done_once(shop: RoundTrip) -> None:
    backup = shop.back_up()
    event = planned(shop, backup, {**TABLE, "restore_id": new_id()})

    first, second = invoke(shop, event), invoke(shop, event)

    assert first == second
    assert len([one for one in shop.coffre.catalog.restores() if not one.dry_run]) == 1


CHANGES = {
    "a column more": ("ALTER TABLE orders ADD COLUMN more int", "the definitions of its tables changed"),
    "another type": ("ALTER TABLE orders ALTER note TYPE varchar(99)", "the definitions of its tables changed"),
    "another table": (
        "ALTER TABLE orders RENAME TO was; CREATE TABLE orders (LIKE was INCLUDING ALL)",
        "the definitions of its tables changed",
    ),
    "much more": (
        "INSERT INTO orders SELECT n, repeat(md5(n::text), 50) FROM generate_series(1000, 150000) n",
        "its size was",
    ),
}


@pytest.mark.parametrize("scope", [WHOLE, TABLE], ids=["whole", "table"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_database_that_changed_after_the_plan_is_not_touched(
    shop: RoundTrip, scope: dict[str, Any], change: str
) -> None:
    backup = shop.back_up()
    event = planned(shop, backup, scope)
    statement, words = CHANGES[change]
    shop.fill(statement)
    before = value(shop.source, "SELECT count(*) FROM orders")

    error = refused(shop, event)

    assert error.code == "DESTINATION_CHANGED"
    assert words in error.message
    assert value(shop.source, "SELECT count(*) FROM orders") == before
    [record] = [one for one in shop.coffre.catalog.restores() if not one.dry_run]
    assert (record.status, record.confirmed) == (Status.FAILED, None)


def test_another_database_of_the_same_name_is_not_touched(shop: RoundTrip) -> None:
    backup = shop.back_up()
    event = planned(shop, backup, WHOLE)
    name = database_of(shop.source)
    run(shop.server.dsn(), f'ALTER DATABASE "{name}" RENAME TO "{name}_was"', f'CREATE DATABASE "{name}"')

    error = refused(shop, event)

    assert error.code == "DESTINATION_CHANGED"
    assert "the database changed" in error.message


@pytest.mark.parametrize("scope", [WHOLE, TABLE, ROWS], ids=["whole", "table", "rows"])
def test_ordinary_traffic_between_plan_and_run_is_no_obstacle(shop: RoundTrip, scope: dict[str, Any]) -> None:
    backup = shop.back_up()
    event = planned(shop, backup, scope)

    shop.fill(
        "INSERT INTO orders SELECT n, 'new' FROM generate_series(1001, 3000) n",
        "UPDATE orders SET note = 'changed' WHERE id < 50",
        "DELETE FROM orders WHERE id = 7",
        "CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (100) TO (200)",
        "CREATE TEMP TABLE scratch (id int)",
        "CREATE INDEX CONCURRENTLY by_note ON orders (note)",
        "REINDEX TABLE orders",
        "ANALYZE",
    )
    shop.fill("VACUUM orders")

    assert invoke(shop, event)["status"] == "COMPLETED"


def test_a_table_elsewhere_is_no_obstacle_to_the_restore_of_one(shop: RoundTrip) -> None:
    backup = shop.back_up()
    event = planned(shop, backup, TABLE)
    shop.fill("CREATE TABLE import_1 (id int)", "ALTER TABLE parts ADD COLUMN more int")

    assert invoke(shop, event)["status"] == "COMPLETED"


def test_a_table_that_changes_during_the_restore_is_not_merged(
    shop: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = shop.back_up()
    event = planned(shop, backup, TABLE)
    shop.fill("UPDATE orders SET note = 'later'")
    lock = row_merge.lock

    def migrate(cursor: Any, pair: Any) -> None:
        shop.fill("ALTER TABLE orders ADD COLUMN more int")
        lock(cursor, pair)

    monkeypatch.setattr(row_merge, "lock", migrate)

    error = refused(shop, event)

    assert error.code == "DESTINATION_CHANGED"
    assert value(shop.source, "SELECT count(*) FROM orders WHERE note = 'later'") == 500


def test_a_migration_during_a_replacement_keeps_the_database_in_use(
    shop: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = shop.back_up()
    event = planned(shop, backup, WHOLE)

    def migrate(*arguments: Any) -> None:
        restore_whole(*arguments)
        shop.fill("ALTER TABLE orders ADD COLUMN more int")

    monkeypatch.setattr(replace_database, "restore_whole", migrate)

    report = report_of(shop, invoke(shop, event))

    assert "was NOT replaced and is unchanged, because since the restore was confirmed" in report.exceptions[-1]
    assert "the definitions of its tables changed" in report.exceptions[-1]
    assert value(shop.source, "SELECT count(*) FROM information_schema.columns WHERE column_name = 'more'") == 1
    # And what was built is put in place by a confirmation of its own
    monkeypatch.undo()
    swap = planned(shop, backup, {**WHOLE, "swap": report.id})
    assert invoke(shop, swap)["exceptions"] == 0
    assert value(shop.source, "SELECT count(*) FROM information_schema.columns WHERE column_name = 'more'") == 0


def test_a_restore_is_continued_only_where_and_as_whom_it_was_confirmed(
    shop: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = shop.back_up()
    shop.fill("UPDATE orders SET note = 'later'")
    place = {"destination": "coffre/database/place"}
    urls = {"own": shop.source, "other": shop.copy, "role": shop.create_role("another", "LOGIN SUPERUSER")}
    name = database_of(shop.source)
    run(shop.server.dsn(), f'CREATE DATABASE "{database_of(shop.copy)}" TEMPLATE "{name}"')
    for secret, url in {"place": shop.source, **urls}.items():
        shop.coffre.secret(f"coffre/database/{secret}", url)
    event = planned(shop, backup, {**TABLE, **place, "restore_id": new_id()})

    def dies(*_: object) -> None:
        raise Died

    monkeypatch.setattr(tables_attempts, "MARKED_BYTES", 0)
    monkeypatch.setattr(row_merge, "lock", dies)
    with pytest.raises(Died):
        invoke(shop, event)
    monkeypatch.undo()
    monkeypatch.setattr(tables_attempts, "MARKED_BYTES", 0)
    begun = {"backup_id": backup.id, "restore_id": event["restore_id"], **TABLE, "invocation": 2}

    codes = [refused(shop, begun).code]  # the target's own database, by no name
    codes += [refused(shop, {**begun, "destination": f"coffre/database/{one}"}).code for one in urls]
    shop.coffre.secret("coffre/database/place", urls["role"])  # another role in the secret that was confirmed
    codes.append(refused(shop, {**begun, **place}).code)

    assert codes == ["CONFIRMATION_MISMATCH"] * 5
    for url in (shop.source, shop.copy):
        assert value(url, "SELECT count(*) FROM orders WHERE note = 'later'") == 500
    assert value(shop.copy, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE '%restored%'") == 0


def test_a_dry_run_is_asked_again_for_its_plan(shop: RoundTrip) -> None:
    backup = shop.back_up()
    trial = {"backup_id": backup.id, "restore_id": new_id(), **TABLE, "dry_run": True}

    first, second = invoke(shop, trial), invoke(shop, trial)

    assert first["plan"]["sha256"] == second["plan"]["sha256"]
    assert first["token"] != second["token"]
    other = refused(shop, {**trial, "tables": ["parts"]})
    assert other.code == "CONFIRMATION_MISMATCH"


def test_restart_removes_nothing_without_a_confirmation(shop: RoundTrip) -> None:
    backup = shop.back_up()
    run(shop.server.dsn(), f'CREATE DATABASE "{database_of(shop.copy)}"')
    run(shop.copy, "CREATE SCHEMA coffre_unfinished_restore", "CREATE TABLE left_over (id int)")
    run(shop.copy, f"COMMENT ON SCHEMA coffre_unfinished_restore IS '{new_id()} without large objects'")
    shop.coffre.secret("coffre/database/copy", shop.copy)
    event = {"backup_id": backup.id, "destination": "coffre/database/copy", "restart": True}

    assert refused(shop, event).code == "CONFIRMATION_NEEDED"
    assert value(shop.copy, "SELECT count(*) FROM left_over") == 0

    confirmed = with_confirmation(lambda trial: invoke(shop, trial), event)
    assert invoke(shop, confirmed)["status"] == "COMPLETED"
    assert value(shop.copy, "SELECT to_regclass('left_over') IS NULL")


def test_a_role_that_may_read_little_still_gets_a_plan(shop: RoundTrip) -> None:
    backup = shop.back_up()
    url = shop.create_role("owner_of_orders", "LOGIN")
    shop.fill(
        "ALTER TABLE orders OWNER TO owner_of_orders",
        f'GRANT CREATE ON DATABASE "{database_of(shop.source)}" TO owner_of_orders',
    )
    run(shop.source, "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    shop.coffre.secret("coffre/database/shop", url)

    answer = invoke(shop, {"backup_id": backup.id, **TABLE, "dry_run": True})

    assert answer["plan"]["overwrites"]["rows_estimate"] == 500
    plan = report_of(shop, answer).plan
    assert isinstance(plan, Plan)
    assert plan.seen.facts.exact["the server"] == "unknown"
    with closing(psycopg2.connect(shop.source)) as session:
        session.cursor().execute("GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC")
        session.commit()
