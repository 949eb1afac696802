"""The logs of a period are found by their folders and read as a stream."""

from __future__ import annotations

import tracemalloc
from datetime import date, timedelta

from tests.access_logs import ACCOUNT, ALICE, MALLORY, NOON, OWN, REGION, ROLES, VAULT, LogStore, line, log_key

from coffre.model.access import AccessReport
from coffre.operations.accesses.read_logs import AccessLogs
from coffre.policy.access_log import LONGEST_LINE_BYTES
from coffre.policy.accesses import Principals, Tally

DAY = timedelta(days=1)


def read(store: LogStore, days: int = 0, **options: object) -> AccessReport:
    tally = Tally(Principals(ACCOUNT, ROLES), by_day=True)
    AccessLogs(store, ACCOUNT, REGION, VAULT).read(tally, (NOON - days * DAY).date(), NOON.date(), **options)  # type: ignore[arg-type]
    return tally.report()


def test_a_period_is_read_by_its_days() -> None:
    store = LogStore()
    for back in range(5):
        store.add(f"A{back}", line(at=NOON - back * DAY), day=NOON - back * DAY)
    store.bodies[log_key(NOON, "B", vault="another")] = (line(ALICE).encode(), NOON)

    report = read(store, days=2)

    assert [one.day for one in report.groups] == ["2026-11-25", "2026-11-26", "2026-11-27"]
    assert {one.principal for one in report.groups} == {MALLORY}
    assert (report.logs, report.newest_log) == (3, NOON + timedelta(hours=3))
    assert store.listed[0] == "vault/123456789012/eu-west-1/vault/2026/11/25/"


def test_the_oldest_day_is_that_of_the_first_log() -> None:
    store = LogStore()
    logs = AccessLogs(store, ACCOUNT, REGION, VAULT)
    assert logs.oldest_day() is None

    store.add("B", line(), day=NOON - 40 * DAY)
    store.add("A", line())
    assert logs.oldest_day() == (NOON - 40 * DAY).date()

    store.bodies[f"vault/{ACCOUNT}/{REGION}/{VAULT}/0"] = (b"", NOON)
    assert logs.oldest_day() == date.min


def test_logs_that_were_delivered_before_are_not_read_again() -> None:
    store = LogStore()
    store.add("old", line(), delivered=NOON)
    store.add("new", line(ALICE), delivered=NOON + timedelta(hours=1))

    report = read(store, delivered_after=NOON + timedelta(minutes=1))

    assert [one.principal for one in report.groups] == [ALICE]
    assert store.read == [log_key(NOON, "new")]


def test_a_log_that_expires_while_it_is_read_is_none() -> None:
    store = LogStore()
    store.add("gone")
    store.bodies[log_key(NOON, "gone")] = (b"", NOON)
    store.add("here", line())

    def listed(prefix: str = "") -> object:
        for info in LogStore.list(store, prefix):
            yield type(info)(info.key, info.size or 10, last_modified=info.last_modified)

    store.list = listed  # type: ignore[method-assign, assignment]

    assert [one.requests for one in read(store).groups] == [1]


def test_a_day_of_ten_thousand_lines_is_read_as_a_stream() -> None:
    # Given 10,000 requests of Coffre in one log of many megabytes, two of someone else in between (the last without an
    # end of its line), and a line that is longer than any can be
    own = line(OWN, key=f"v1/packs/{'k' * 400}", agent="a" * 400)
    store = LogStore()
    store.add(
        "big", *[own] * 5_000, line(operation="REST.DELETE.OBJECT"), "x" * (5 * LONGEST_LINE_BYTES), *[own] * 5_000
    )
    body, delivered = store.bodies[log_key(NOON, "big")]
    store.bodies[log_key(NOON, "big")] = (body + line(ALICE).encode(), delivered)
    assert len(body) > 15_000_000

    # When it is read
    tracemalloc.start()
    report = read(store)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # Then every line was, in pieces
    assert (report.own, report.unreadable) == (10_000, 1)
    assert sorted((one.principal, one.action.value) for one in report.groups) == [(ALICE, "read"), (MALLORY, "delete")]
    assert store.largest == 1024 * 1024
    assert peak < 6 * 2**20
