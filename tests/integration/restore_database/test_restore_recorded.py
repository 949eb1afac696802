"""Restores that are done while nobody takes their report or their record, and events that come twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.integration.conftest import Coffre, Context, new_id, run_sql

from coffre.catalog.catalog import Catalog
from coffre.catalog.deliveries import Deliveries
from coffre.model.backup import Backup, Failure, Restore, Status
from coffre.model.errors import CatalogError, CoffreError, StoreTransientError
from coffre.operations.runs import restore_lifecycle as restore_run
from coffre.operations.runs.dead_runs import settle_restores
from coffre.runtime.function import utc_now
from coffre.runtime.reading import Reading
from coffre_local.sample import fingerprint

FOR_EVER = 10**6


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore_run, "_PAUSES_SECONDS", (0.0, 0.0))


def failing(work: Callable[..., Any], error: CoffreError, times: int, only: Callable[..., bool]) -> Callable[..., Any]:
    """Let a call fail so many times before it works."""
    left = iter(range(times))

    def call(*arguments: Any, **named: Any) -> Any:
        if only(*arguments) and next(left, None) is not None:
            raise error
        return work(*arguments, **named)

    return call


def refuse_reports(coffre: Coffre, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    store = coffre.restore_function().services.vault.store
    error = StoreTransientError("The store is busy.", code="STORE_BUSY")
    monkeypatch.setattr(store, "put", failing(store.put, error, times, lambda key, *_: "/restores/" in key))


def refuse_records(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    error = CatalogError("The catalog did not answer.")
    monkeypatch.setattr(Catalog, "finish_restore", failing(Catalog.finish_restore, error, times, lambda *_: True))


def kinds(coffre: Coffre) -> Iterator[tuple[str, str]]:
    for alert in coffre.alerts():
        yield alert["MessageAttributes"]["kind"]["Value"], alert["Message"]


def test_a_report_and_a_record_that_are_refused_once_are_written_again(
    coffre: Coffre, shop: str, new_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    coffre.configure(shop)
    done = coffre.backup()
    refuse_reports(coffre, monkeypatch, 2)
    refuse_records(monkeypatch, 2)

    said = coffre.restore(done["id"], new_database)

    restore = coffre.catalog.get_restore(said["id"])
    assert (restore.status, restore.exceptions) == (Status.COMPLETED, ())
    assert coffre.restore_function().services.vault.read_report(restore.report_key or "").id == restore.id


def test_a_restore_whose_report_cannot_be_written_is_complete_and_says_where_the_old_data_is(
    coffre: Coffre, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    coffre.configure(shop)
    done = coffre.backup()
    before = fingerprint(shop)
    run_sql(shop, "DELETE FROM orders")
    planned = coffre.restore(done["id"], None, replace=True, dry_run=True)
    confirmation = {"token": planned["token"], "name": planned["plan"]["name"]}
    refuse_reports(coffre, monkeypatch, FOR_EVER)

    said = coffre.restore(done["id"], None, replace=True, confirmation=confirmation)

    query = f"SELECT datname FROM pg_database WHERE datname ~ '^{urlsplit(shop).path[1:]}_before_'"
    ((old,),) = run_sql(shop, query)
    restore = coffre.catalog.get_restore(said["id"])
    assert (restore.status, restore.report_key, restore.failure) == (Status.COMPLETED, None, None)
    (lacking,) = [text for text in restore.exceptions if "report" in text]
    assert "The data is restored" in lacking
    assert "STORE_BUSY" in lacking
    assert old in lacking
    told = dict(kinds(coffre))
    assert "RESTORE_FAILED" not in told
    assert lacking in told["RESTORE_INCOMPLETE"]
    assert fingerprint(shop) == before


def test_a_restore_whose_record_cannot_be_written_is_told_as_complete_and_recorded_later(
    coffre: Coffre, shop: str, new_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    coffre.configure(shop)
    done = coffre.backup()
    with monkeypatch.context() as silent:
        refuse_records(silent, FOR_EVER)
        said = coffre.restore(done["id"], new_database)

    assert said["status"] == "COMPLETED"
    assert said["exceptions"] == 1
    told = dict(kinds(coffre))
    assert "RESTORE_FAILED" not in told
    assert "the catalog did not take the record" in told["RESTORE_INCOMPLETE"]
    assert fingerprint(new_database) == fingerprint(shop)
    # And whoever takes it for dead later finds its report
    assert coffre.catalog.get_restore(said["id"]).status is Status.IN_PROGRESS
    function = coffre.restore_function()
    later = utc_now() + timedelta(hours=1)
    died: list[Restore] = []
    settle_restores(coffre.catalog, function.services.vault, later, timedelta(minutes=1), died.append)
    found = coffre.catalog.get_restore(said["id"])
    assert (found.status, found.rows, died) == (Status.COMPLETED, 1050, [])


def test_a_restore_that_was_taken_for_dead_and_is_done_after_all_is_complete(
    coffre: Coffre, shop: str, new_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its function was stopped for a while, between its last commit and its record."""
    coffre.configure(shop)
    done = coffre.backup()
    finish = Catalog.finish_restore

    def late(self: Catalog, restore: Restore) -> Restore:
        dead = {"status": Status.FAILED, "failure": Failure(code="RUN_DIED", message="It died.")}
        finish(self, restore.model_copy(update=dead))
        return finish(self, restore)

    monkeypatch.setattr(Catalog, "finish_restore", late)
    said = coffre.restore(done["id"], new_database)

    restore = coffre.catalog.get_restore(said["id"])
    assert (restore.status, restore.failure, restore.exceptions) == (Status.COMPLETED, None, ())
    assert [one.id for one in coffre.catalog.restores(status=Status.COMPLETED)] == [restore.id]


def test_an_event_that_is_delivered_twice_restores_once_and_fails_nothing(
    coffre: Coffre, shop: str, new_database: str
) -> None:
    coffre.configure(shop)
    done = coffre.backup()
    restore_id = new_id()
    first = coffre.restore(done["id"], new_database, restore_id=restore_id)
    run_sql(new_database, "INSERT INTO customers VALUES (1000, 'Grace Hopper')")
    coffre.alerts()

    again = coffre.restore(done["id"], new_database, restore_id=restore_id)

    assert again == first
    assert coffre.alerts() == []
    assert [restore.id for restore in coffre.catalog.restores()] == [restore_id]
    assert run_sql(new_database, "SELECT count(*) FROM customers") == [(51,)]


def dead_restore(coffre: Coffre, backup_id: str) -> str:
    """Record a restore whose process died ten minutes ago, before it did anything, and return its id."""
    long_ago = utc_now() - timedelta(minutes=10)
    dead = Restore(
        id=new_id(), backup_id=backup_id, target="shop", destination="coffre/database/destination",
        status=Status.IN_PROGRESS, created_at=long_ago, heartbeat_at=long_ago,
    )  # fmt: skip
    coffre.catalog.create_restore(dead)
    return dead.id


def test_an_event_whose_first_run_died_is_taken_up(coffre: Coffre, shop: str, new_database: str) -> None:
    coffre.configure(shop)
    done = coffre.backup()
    dead = dead_restore(coffre, done["id"])

    answers = [coffre.restore(done["id"], new_database, restore_id=dead)["status"] for _ in range(2)]

    assert answers == ["COMPLETED"] * 2
    assert [kind for kind, _ in kinds(coffre)] == ["RESTORE_COMPLETED"]


def test_a_restore_that_died_without_marks_is_left_to_a_person_and_reported_once(
    coffre: Coffre, shop: str, new_database: str
) -> None:
    """The database in use has as many rows as the backup: that does not prove that they are the backup's."""
    coffre.configure(shop)
    done = coffre.backup()
    coffre.restore(done["id"], new_database)
    rows = run_sql(new_database, "SELECT xmin, * FROM orders ORDER BY 2")
    coffre.alerts()
    for scope in ({"tables": ["orders"]}, {}, {"contents": "schema"}, {"contents": "data"}):
        dead = dead_restore(coffre, done["id"])

        with pytest.raises(CoffreError) as caught:
            coffre.restore(done["id"], new_database, restore_id=dead, **scope)
        again = coffre.restore(done["id"], new_database, restore_id=dead, **scope)

        assert caught.value.code == "RESUME_UNCLEAR", scope
        if scope.get("contents") != "data" and "tables" not in scope:
            assert "it has public.customers" in caught.value.message
            assert "drop it, and restore again; otherwise name another database" in (caught.value.hint or "")
        assert again["status"] == "FAILED"
        assert [kind for kind, _ in kinds(coffre)] == ["RESTORE_FAILED"]
    assert run_sql(new_database, "SELECT xmin, * FROM orders ORDER BY 2") == rows


def test_an_event_without_an_id_that_is_delivered_twice_restores_once(
    coffre: Coffre, shop: str, new_database: str
) -> None:
    coffre.configure(shop)
    done = coffre.backup()
    first = coffre.restore(done["id"], new_database, context=Context(aws_request_id="asked-once"))
    coffre.alerts()

    again = coffre.restore(done["id"], new_database, context=Context(aws_request_id="asked-once"))

    assert again == first
    assert coffre.alerts() == []
    assert [restore.id for restore in coffre.catalog.restores()] == [first["id"]]


@pytest.mark.parametrize("restore_id", [None, "chosen"])
def test_two_deliveries_at_the_same_time_restore_once_and_silence_no_failure(
    coffre: Coffre, shop: str, new_database: str, monkeypatch: pytest.MonkeyPatch, restore_id: str | None
) -> None:
    """Given one that finds no record, and creates its own when the other has begun."""
    coffre.configure(shop)
    done = coffre.backup()
    named = {"restore_id": new_id()} if restore_id else {}
    context = Context(aws_request_id="asked-once")
    answers: list[dict[str, Any]] = []
    choose = Reading.choose

    def meanwhile(reading: Reading, backup_id: str, target: str | None) -> Backup:
        if not answers:
            answers.append({})
            answers[0] = coffre.restore(done["id"], new_database, context=context, **named)
        return choose(reading, backup_id, target)

    monkeypatch.setattr(Reading, "choose", meanwhile)

    answers.append(coffre.restore(done["id"], new_database, context=context, **named))

    assert answers[0] == answers[1]
    assert answers[0]["status"] == "COMPLETED"
    assert sorted(kind for kind, _ in kinds(coffre)) == ["RESTORE_COMPLETED", "RESTORE_STARTED"]
    assert len(list(coffre.catalog.restores())) == 1


def test_a_failure_is_reported_once_and_an_event_that_comes_again_repeats_nothing(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    done = coffre.backup()
    context = Context(aws_request_id="asked-once")
    with pytest.raises(CoffreError) as caught:
        coffre.restore(done["id"], shop, context=context)
    assert caught.value.code == "DESTINATION_NOT_EMPTY"

    again = coffre.restore(done["id"], shop, context=context)

    assert again["status"] == "FAILED"
    assert [kind for kind, _ in kinds(coffre)].count("RESTORE_FAILED") == 1


def test_an_event_whose_delivery_cannot_be_recorded_restores_nothing(
    coffre: Coffre, shop: str, new_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could be restored twice: that is reported, and not risked."""
    coffre.configure(shop)
    done = coffre.backup()

    def refuse(*_: Any) -> str:
        raise CatalogError("The catalog did not answer.")

    monkeypatch.setattr(Deliveries, "run_of", refuse)

    with pytest.raises(CatalogError):
        coffre.restore(done["id"], new_database)

    assert list(coffre.catalog.restores()) == []
    assert [kind for kind, _ in kinds(coffre)] == ["RESTORE_FAILED"]
