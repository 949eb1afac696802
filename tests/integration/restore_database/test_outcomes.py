"""What a record says of a restore is true: done; not done, nothing changed; or not known, and how to find out."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg2
import pytest
from tests.integration.conftest import Context
from tests.integration.contents import RoundTrip, database_of, rows, run, value

from coffre.model.backup import Backup, Restore, Status
from coffre.model.errors import CoffreError, ConnectError, RestoreError
from coffre.operations.restore_database import replace_schemas, tables
from coffre.operations.runs.dead_runs import settle_restores
from coffre.postgres.destination import commit_outcome, database_swap
from coffre.runtime.function import utc_now
from coffre_local.sample import fingerprint

type Fault = Callable[[Any], None]


def answer_lost(session: Any) -> None:
    """Commit, and lose the connection before the answer."""
    session.commit()
    session.close()
    raise psycopg2.OperationalError("server closed the connection unexpectedly")


def connection_lost(session: Any) -> None:
    """Lose the connection before the server reads the commit."""
    session.close()
    raise psycopg2.OperationalError("server closed the connection unexpectedly")


@pytest.fixture
def shop(round_trip: RoundTrip) -> RoundTrip:
    """Two tables with a key, and rows that were damaged after the backup (`damage`)."""
    round_trip.fill(
        "CREATE TABLE customers (id int PRIMARY KEY, name text)",
        "INSERT INTO customers SELECT n, 'c' || n FROM generate_series(1, 50) n",
        "CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers)",
        "INSERT INTO orders SELECT n, 1 + n % 50 FROM generate_series(1, 200) n",
    )
    return round_trip


def damage(shop: RoundTrip) -> dict[str, Any]:
    shop.fill("DELETE FROM orders WHERE id <= 100", "UPDATE customers SET name = 'oops'")
    return fingerprint(shop.source)


def owner(shop: RoundTrip) -> str:
    """Return the URL of a role that can neither create nor rename databases."""
    url = shop.create_role("owns_schemas", "LOGIN")
    run(shop.server.dsn(), f'ALTER DATABASE "{database_of(shop.source)}" OWNER TO owns_schemas')
    shop.fill(*(f"ALTER {what} OWNER TO owns_schemas" for what in ("SCHEMA public", "TABLE customers", "TABLE orders")))
    return url


def failed(shop: RoundTrip, backup: Backup, **scope: Any) -> CoffreError:
    with pytest.raises(CoffreError) as caught:
        shop.restore_in_place(backup, **scope)
    return caught.value


def last(shop: RoundTrip) -> Restore:
    return max(shop.coffre.catalog.restores(), key=lambda one: one.id)


def failure_of(shop: RoundTrip) -> tuple[str, str]:
    record = last(shop)
    assert record.status is Status.FAILED
    assert record.failure is not None
    return record.failure.code, f"{record.failure.message} {record.failure.hint}"


# --- rows of tables: --apply and --replace ---


def test_rows_whose_commit_never_arrived_are_unchanged_and_nothing_is_left(
    shop: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = shop.back_up()
    damaged = damage(shop)
    monkeypatch.setattr(commit_outcome, "_send", connection_lost)

    assert failed(shop, backup, tables=["orders", "customers"], replace=True).code == "CONNECTION_LOST"

    assert fingerprint(shop.source) == damaged
    assert last(shop).status is Status.FAILED


@pytest.mark.parametrize("fault", [answer_lost, connection_lost])
def test_rows_whose_outcome_cannot_be_asked_are_not_called_failed_or_done_and_the_old_ones_stay(
    shop: RoundTrip, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    backup = shop.back_up()
    damage(shop)
    monkeypatch.setattr(commit_outcome, "_send", fault)
    monkeypatch.setattr(commit_outcome, "took_effect", lambda *_: None)

    assert failed(shop, backup, tables=["orders"], replace=True).code == "OUTCOME_UNKNOWN"

    code, said = failure_of(shop)
    schema = f"restored_{last(shop).id.lower()}"
    assert code == "OUTCOME_UNKNOWN"
    assert f"\\dn+ {schema}" in said
    # What the message says to look at is there, and true
    described = value(shop.source, f"SELECT obj_description('{schema}'::regnamespace, 'pg_namespace')")
    assert described.startswith("Applied") is (fault is answer_lost)
    assert (value(shop.source, "SELECT count(*) FROM orders") == 200) is (fault is answer_lost)
    (alert,) = [one for one in shop.coffre.alerts() if "UNKNOWN" in one["Subject"]]
    assert "it is not known whether it took effect" in alert["Message"]


def test_what_fails_after_rows_were_changed_makes_them_no_failure(
    shop: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = shop.back_up()
    damage(shop)

    def lost(*_: Any) -> None:
        raise RestoreError("The connection was lost.", code="CONNECTION_LOST")

    monkeypatch.setattr(tables, "create_followers", lost)

    report = shop.restore_in_place(backup, tables=["orders"], replace=True)

    assert value(shop.source, "SELECT count(*) FROM orders") == 200
    (said,) = report.exceptions
    assert said.startswith("The data in use is restored. What came after it was not done: keys, views and policies: ")
    assert said.endswith("The connection was lost (CONNECTION_LOST).")
    assert [kept.what for kept in report.kept] == [f"the schema restored_{report.id.lower()}"]


# --- schemas, in one transaction ---


def test_schemas_whose_commit_has_no_answer_are_replaced(shop: RoundTrip, monkeypatch: pytest.MonkeyPatch) -> None:
    backup = shop.back_up(reader=owner(shop))
    before = fingerprint(shop.source)
    damage(shop)
    monkeypatch.setattr(commit_outcome, "_send", answer_lost)

    report = shop.restore_in_place(backup, replace=True)

    assert fingerprint(shop.source).items() >= before.items()
    assert [kept.what for kept in report.kept] == [f"the old schema, as public_before_{report.id.lower()}"]


@pytest.mark.parametrize(("knows", "code"), [(True, "CONNECTION_LOST"), (False, "OUTCOME_UNKNOWN")])
def test_schemas_whose_commit_never_arrived_are_unchanged(
    shop: RoundTrip, monkeypatch: pytest.MonkeyPatch, knows: bool, code: str
) -> None:
    backup = shop.back_up(reader=owner(shop))
    damaged = damage(shop)
    monkeypatch.setattr(commit_outcome, "_send", connection_lost)
    if not knows:
        monkeypatch.setattr(commit_outcome, "took_effect", lambda *_: None)

    assert failed(shop, backup, replace=True).code == code

    assert fingerprint(shop.source) == damaged
    if not knows:
        assert f"public_before_{last(shop).id.lower()}" in failure_of(shop)[1]


def test_statistics_that_fail_after_schemas_were_replaced_are_an_exception(
    shop: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = shop.back_up(reader=owner(shop))
    before = fingerprint(shop.source)
    damage(shop)

    def lost(*_: Any) -> None:
        raise psycopg2.OperationalError("terminating connection due to administrator command")

    monkeypatch.setattr(replace_schemas, "analyze", lost)

    report = shop.restore_in_place(backup, replace=True)

    assert fingerprint(shop.source).items() >= before.items()
    assert any("What came after it was not done: ANALYZE" in text for text in report.exceptions)


# --- a whole database ---


@pytest.mark.parametrize("is_done", [True, False])
def test_a_swap_that_cannot_be_asked_about_says_how_to_find_out(
    shop: RoundTrip, monkeypatch: pytest.MonkeyPatch, is_done: bool
) -> None:
    backup = shop.back_up()
    damage(shop)
    end = "SELECT pg_terminate_backend(pg_backend_pid())"

    def unreachable() -> Any:
        raise ConnectError("The server is gone.")

    def asked(*_: Any) -> bool | None:
        return commit_outcome.took_effect(unreachable, 0, lambda _: True)

    monkeypatch.setattr(commit_outcome, "_SECONDS", 0.0)
    monkeypatch.setattr(database_swap, "_COMMIT", f"COMMIT; {end}" if is_done else end)
    monkeypatch.setattr(database_swap, "took_effect", asked)

    assert failed(shop, backup, replace=True).code == "OUTCOME_UNKNOWN"

    code, said = failure_of(shop)
    old = f"{database_of(shop.source)}_before_{last(shop).id.lower()}"
    assert code == "OUTCOME_UNKNOWN"
    assert f'If "{old}" exists, it was replaced' in said
    exists = rows(shop.server.dsn(), f"SELECT FROM pg_database WHERE datname = '{old}'")
    assert bool(exists) is is_done


def test_a_server_that_still_commits_is_waited_for(shop: RoundTrip) -> None:
    """A process that has the transaction may still commit it: only its end decides."""
    with psycopg2.connect(shop.source) as session:
        backend = session.info.backend_pid
        seen: list[bool] = []

        def is_done(cursor: Any) -> bool:
            seen.append(False)
            if len(seen) == 2:
                run(shop.server.dsn(), f"SELECT pg_terminate_backend({backend})")
            return False

        done = commit_outcome.took_effect(lambda: psycopg2.connect(shop.source), backend, is_done)

    assert done is False
    assert len(seen) > 2


# --- killed, abandoned ---


def test_a_killed_restore_is_not_said_to_have_changed_nothing(shop: RoundTrip) -> None:
    backup = shop.back_up()
    long_ago = utc_now() - timedelta(hours=1)
    dead = Restore(
        id="01K9X000000000000000000000", backup_id=backup.id, target="shop", destination="db", heartbeat_at=long_ago,
        status=Status.IN_PROGRESS, created_at=long_ago,
    )  # fmt: skip
    catalog, vault = shop.coffre.catalog, shop.coffre.restore_function().services.vault
    catalog.create_restore(dead)

    (ended,) = settle_restores(catalog, vault, utc_now(), timedelta(minutes=1), lambda _: None)

    assert ended.failure is not None
    assert not ended.failure.is_certain
    assert "it is not known what it did" in ended.failure.message
    hint = ended.failure.hint or ""
    assert "one whose name ends in _before_01k9x000000000000000000000 exists, and is the old one" in hint


def test_work_that_hangs_at_the_deadline_says_how_to_find_out_what_it_did(
    shop: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = shop.back_up()
    damage(shop)
    released: list[Any] = []

    def hang(session: Any) -> None:
        released.append(session)
        while len(released) < 2:
            time.sleep(0.05)
        session.commit()

    monkeypatch.setattr(commit_outcome, "_send", hang)
    calls = iter(range(10**6))

    def remaining() -> float:
        return 900.0 if not released else max(5.0, 21.0 - next(calls))

    try:
        with pytest.raises(CoffreError) as caught:
            shop.coffre.restore(
                backup.id, None, context=Context(remaining, function_name="restore"), tables=["orders"], replace=True
            )
    finally:
        released.append(None)

    assert caught.value.code == "DEADLINE"
    assert "It is not known what its last step did." in str(caught.value.__notes__)
    assert f"restored_{last(shop).id.lower()}" in str(caught.value.__notes__)
