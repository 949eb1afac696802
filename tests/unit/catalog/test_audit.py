"""Who did what, when: how events are stored, and that writers at the same time make one chain."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from pynamodb.connection.base import Connection
from pynamodb.exceptions import CancellationReason, TransactWriteError, VerboseClientError
from ulid import ULID

from coffre.catalog.audit import Audit
from coffre.catalog.catalog import Catalog
from coffre.catalog.tables import DynamoTable
from coffre.model.audit import Actor, Anchor
from coffre.model.errors import CatalogError
from coffre.policy.audit_chain import ChainReport, verify_chain


def test_events_come_back_newest_first_as_they_were(catalog: Catalog, now: datetime) -> None:
    first = catalog.audit.record(
        now, "arn:aws:iam::1:user/ana", "restore.started", "shop", "01R", "into a new database"
    )
    last = catalog.audit.record(now + timedelta(seconds=1), "rotate", "configuration.read")
    assert list(catalog.audit.events()) == [last, first]
    assert (first.at, first.subject, last.target, last.detail) == (now, "01R", None, None)


def test_events_are_found_by_target_and_by_time(catalog: Catalog, now: datetime) -> None:
    events = [
        catalog.audit.record(now + timedelta(hours=hour), "rotate", "backup.deleted", target, "01B", "too old")
        for hour in range(3)
        for target in ("shop", "blog")
    ]
    shop = [event for event in reversed(events) if event.target == "shop"]
    assert list(catalog.audit.events(target="shop")) == shop
    assert list(catalog.audit.events(target="shop", since=now + timedelta(hours=1))) == shop[:2]
    assert len(list(catalog.audit.events(since=now + timedelta(hours=2)))) == 2
    assert list(catalog.audit.events(target="other")) == []


def test_events_of_one_instant_are_all_kept(catalog: Catalog, now: datetime) -> None:
    for number in range(120):
        catalog.audit.record(now, "rotate", "backup.deleted", "shop", str(number))
    assert {event.subject for event in catalog.audit.events()} == {str(number) for number in range(120)}


def test_events_do_not_expire(catalog: Catalog, now: datetime, raw_table: Any) -> None:
    event = catalog.audit.record(now, "rotate", "backup.deleted", "shop")
    item = raw_table.get_item(Key={"pk": "AUDIT#shop", "sk": "0" * 19 + "1"})["Item"]
    assert set(item) == {
        *("pk", "sk", "id", "at", "actor", "verified", "action", "target", "result"),
        *("shard", "sequence", "previous", "hash"),
    }
    assert item["id"] == event.id


def test_who_acts_from_where_and_with_which_result_is_kept(raw_table: Any, now: datetime) -> None:
    audit = Catalog("coffre-catalog", origin="command, eu-west-3").audit
    claimed = audit.record(now, "ana", "key.rotated")
    proven = audit.record(now, Actor("ana", verified=True), "key.rotated", result="failed", origin="console")
    assert list(audit.events()) == [proven, claimed]
    assert (claimed.verified, claimed.origin, claimed.result) == (False, "command, eu-west-3", "done")
    assert (proven.verified, proven.origin, proven.result) == (True, "console", "failed")


def test_events_from_before_the_chains_are_listed_and_are_in_no_chain(
    catalog: Catalog, now: datetime, raw_table: Any
) -> None:
    old = {"actor": "rotate", "action": "backup.deleted", "target": "shop", "target_key": "AUDIT#shop"}
    for hour in (1, 3):
        at = now + timedelta(hours=hour)
        raw_table.put_item(Item={"pk": "AUDIT", "sk": str(ULID.from_datetime(at)), "at": at.isoformat(), **old})
    new = catalog.audit.record(now + timedelta(hours=2), "rotate", "backup.deleted", "shop")
    for listed in (list(catalog.audit.events()), list(catalog.audit.events("shop"))):
        assert [event.sequence for event in listed] == [None, 1, None]
        assert listed[1] == new
        assert (listed[0].target, listed[0].verified, listed[0].hash) == ("shop", False, None)
    assert len(list(catalog.audit.events("shop", since=now + timedelta(minutes=90)))) == 2
    assert check(catalog).events == 1


def test_a_refused_request_about_an_unknown_target_begins_no_chain(catalog: Catalog, now: datetime) -> None:
    catalog.audit.record(now, "ana", "restore.started", "shop")
    for target in ("shop", "made-up-1", "made-up-2", None):
        catalog.audit.record(now, "mallory", "request.refused", target, result="refused")
    assert [(head.shard, head.sequence) for head in catalog.audit.heads()] == [("-", 3), ("shop", 2)]
    assert [event.action for event in catalog.audit.events("made-up-1")] == ["request.refused"]
    assert check(catalog).is_intact


# --- the chain ---


def check(catalog: Catalog, *anchors: Anchor) -> ChainReport:
    audit = catalog.audit
    heads = audit.heads()
    stored = (one for head in heads for one in audit.stored(head.shard, head))
    return verify_chain(stored, heads, anchors)


class Pauses(list[float]):
    """Takes the place of the clock: remembers how long was waited."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def writers(number: int) -> list[Audit]:
    return [Audit(DynamoTable("coffre-catalog"), f"function-{one}", Pauses()) for one in range(number)]


def test_writers_at_the_same_time_make_one_chain_without_fork_gap_or_loss(
    catalog: Catalog, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six writers, each call to the table in any order: every one but the fastest of a round has to try again."""
    # moto is not safe for threads: its calls are made one at a time, and their order is left to chance.
    turn = threading.Lock()
    dispatch = Connection.dispatch

    def one_at_a_time(connection: Connection, *given: Any, **named: Any) -> Any:
        with turn:
            return dispatch(connection, *given, **named)

    monkeypatch.setattr(Connection, "dispatch", one_at_a_time)
    everyone = writers(6)

    def write(writer: Audit) -> None:
        for number in range(5):
            writer.record(now, "rotate", "backup.deleted", "shop", f"{id(writer)}-{number}")

    with ThreadPoolExecutor(len(everyone)) as pool:
        list(pool.map(write, everyone))
    subjects = [event.subject for event in catalog.audit.events("shop")]
    assert sorted(filter(None, subjects)) == sorted(f"{id(one)}-{number}" for one in everyone for number in range(5))
    report = check(catalog)
    assert (report.findings, report.events) == ((), 30)


def test_a_writer_whose_memory_of_the_head_is_old_reads_it_again(catalog: Catalog, now: datetime) -> None:
    first, second = writers(2)
    for number in range(3):
        first.record(now, "rotate", "backup.deleted", "shop", f"1-{number}")
        second.record(now, "rotate", "backup.deleted", "shop", f"2-{number}")
    assert [event.subject for event in catalog.audit.events("shop")] == ["2-2", "1-2", "2-1", "1-1", "2-0", "1-0"]
    assert check(catalog).is_intact


def test_a_writer_that_is_alone_asks_once_for_each_further_event(catalog: Catalog, now: datetime) -> None:
    calls: list[str] = []
    client: Any = catalog._table._connection.connection.client
    client.meta.events.register("before-call.dynamodb.*", lambda model, **_: calls.append(model.name))
    catalog.audit.record(now, "rotate", "backup.deleted", "shop", "1")
    assert calls == ["GetItem", "TransactWriteItems"]
    catalog.audit.record(now, "rotate", "backup.deleted", "shop", "2")
    assert calls[2:] == ["TransactWriteItems"]


type Fault = Callable[[], None]


def inject(monkeypatch: pytest.MonkeyPatch, times: int, fault: Fault, *, after: bool) -> None:
    """Let the first transactions fail, before they are done or after it: then their answers are lost."""
    left = iter(range(times))
    write = Connection.transact_write_items

    def failing(connection: Connection, *given: Any, **named: Any) -> Any:
        fails = next(left, None) is not None
        if fails and not after:
            fault()
        answer = write(connection, *given, **named)
        if fails:
            fault()
        return answer

    monkeypatch.setattr(Connection, "transact_write_items", failing)


def lost() -> None:
    raise TransactWriteError("failed", ReadTimeoutError(endpoint_url="https://dynamodb"))


def cancelled(*reasons: str) -> Fault:
    def fault() -> None:
        response: Any = {"Error": {"Code": "TransactionCanceledException", "Message": "cancelled"}}
        given = [CancellationReason(code=reason) if reason != "None" else None for reason in reasons]
        error = VerboseClientError(response, "TransactWriteItems", cancellation_reasons=given)
        raise TransactWriteError("failed", error)

    return fault


def test_an_event_whose_answer_was_lost_is_recorded_once(
    catalog: Catalog, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    inject(monkeypatch, 1, lost, after=True)
    (writer,) = writers(1)
    event = writer.record(now, "rotate", "backup.deleted", "shop")
    assert list(catalog.audit.events()) == [event]
    assert writer.record(now, "rotate", "backup.deleted", "shop").sequence == 2
    assert check(catalog).is_intact


def test_the_same_link_is_sent_with_the_same_token(
    catalog: Catalog, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DynamoDB knows a repetition by it, also one that arrives while the first is under way."""
    tokens: list[str] = []
    client: Any = catalog._table._connection.connection.client
    client.meta.events.register(
        "provide-client-params.dynamodb.TransactWriteItems",
        lambda params, **_: tokens.append(params["ClientRequestToken"]),
    )
    inject(monkeypatch, 1, lost, after=True)
    monkeypatch.setattr(Audit, "_is_stored", lambda *_: False)
    monkeypatch.setattr(Audit, "head", lambda *_: None)
    monkeypatch.setattr("coffre.catalog.audit._ATTEMPTS", 2)
    with pytest.raises(CatalogError):
        catalog.audit.record(now, "rotate", "backup.deleted", "shop")
    assert len(tokens) == 2
    assert len(set(tokens)) == 1
    assert len(tokens[0]) == 36


@pytest.mark.parametrize(
    "fault",
    [lost, cancelled("None", "TransactionConflict"), cancelled("ThrottlingError", "None")],
    ids=("lost", "conflict", "throttled"),
)
def test_a_write_that_failed_once_is_done_again_after_a_pause(
    catalog: Catalog, now: datetime, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    inject(monkeypatch, 1, fault, after=False)
    pauses = Pauses()
    event = Audit(catalog._table, None, pauses).record(now, "rotate", "backup.deleted", "shop")
    assert list(catalog.audit.events()) == [event]
    assert len(pauses) == 1
    assert check(catalog).is_intact


def test_a_table_that_stays_throttled_is_an_error_and_leaves_no_gap(
    catalog: Catalog, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.audit.record(now, "rotate", "backup.deleted", "shop")
    with monkeypatch.context() as patch:
        inject(patch, 99, cancelled("ThrottlingError", "None"), after=False)
        with pytest.raises(CatalogError) as caught:
            Audit(catalog._table, None, Pauses()).record(now, "rotate", "backup.deleted", "shop")
    assert caught.value.code == "CATALOG_UNAVAILABLE"
    assert catalog.audit.record(now, "rotate", "backup.deleted", "shop").sequence == 2
    assert check(catalog).is_intact


def test_a_chain_that_was_changed_by_hand_is_not_continued(catalog: Catalog, now: datetime, raw_table: Any) -> None:
    """An event beyond the head: nothing overwrites it, and the error says what to do."""
    catalog.audit.record(now, "rotate", "backup.deleted", "shop")
    raw_table.put_item(Item={"pk": "AUDIT#shop", "sk": "0" * 19 + "2", "actor": "mallory"})
    pauses = Pauses()
    with pytest.raises(CatalogError) as caught:
        Audit(catalog._table, None, pauses).record(now, "rotate", "backup.deleted", "shop")
    assert caught.value.code == "AUDIT_STUCK"
    assert "coffre audit --verify-chain" in (caught.value.hint or "")
    assert sum(pauses) < 8
    assert [finding.code for finding in check(catalog).findings] == ["EVENT_CHANGED", "EVENT_INSERTED"]


def test_real_items_that_are_changed_removed_or_copied_are_found(
    catalog: Catalog, now: datetime, raw_table: Any
) -> None:
    for number in range(1, 5):
        catalog.audit.record(now, "rotate", "backup.deleted", "shop", str(number))
    anchor = Anchor(id="01K", at=now, heads=catalog.audit.heads())
    third = raw_table.get_item(Key={"pk": "AUDIT#shop", "sk": "0" * 19 + "3"})["Item"]
    assert check(catalog, anchor).is_intact

    raw_table.put_item(Item={**third, "actor": "somebody else"})
    assert [finding.code for finding in check(catalog, anchor).findings] == ["EVENT_CHANGED", "CHAIN_FORKED"]
    raw_table.delete_item(Key={"pk": "AUDIT#shop", "sk": third["sk"]})
    assert [finding.code for finding in check(catalog, anchor).findings] == ["EVENT_MISSING"]
    raw_table.put_item(Item={**third, "sk": "0" * 19 + "5"})
    raw_table.put_item(Item=third)
    assert [finding.code for finding in check(catalog, anchor).findings] == ["EVENT_MISFILED", "EVENT_INSERTED"]


def test_events_that_are_recorded_during_a_check_are_no_finding(catalog: Catalog, now: datetime) -> None:
    catalog.audit.record(now, "rotate", "backup.deleted", "shop", "1")
    heads = catalog.audit.heads()
    catalog.audit.record(now, "rotate", "backup.deleted", "shop", "2")
    stored = [one for head in heads for one in catalog.audit.stored(head.shard, head)]
    assert [one.event.subject for one in stored if one.event] == ["1"]
    assert verify_chain(stored, heads, ()).is_intact
