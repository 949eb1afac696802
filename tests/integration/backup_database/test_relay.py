"""One snapshot in session after session: what is imported is what was planned, or nothing."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from tests.integration.conftest import run_sql

from coffre.model.errors import ConnectError
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.connection.connection_secret import parse_secret
from coffre.postgres.source.snapshot import Holder, hold_snapshot
from coffre.postgres.source.snapshot_relay import Joined, SnapshotGoneError, join_snapshot


@pytest.fixture
def address(shop: str) -> Connection:
    return parse_secret(shop, where="a test")


def begin(address: Connection, stack: ExitStack) -> Holder:
    return stack.enter_context(hold_snapshot(address, Children(), lock_timeout_seconds=1))


def join(address: Connection, snapshot: str, planned: Holder, stack: ExitStack) -> Joined:
    joining = join_snapshot(address, Children(), snapshot, planned.identity(), lock_timeout_seconds=1)
    return stack.enter_context(joining)


def test_a_snapshot_outlives_the_sessions_that_held_it(shop: str, address: Connection) -> None:
    with ExitStack() as first:
        planned = begin(address, first)
        identity = planned.identity()
        with ExitStack() as second:
            holder = join(address, planned.snapshot, planned, second).holder
            first.close()
            for number in range(3):
                run_sql(shop, f"INSERT INTO customers VALUES ({100 + number}, 'later')")
                third = ExitStack()
                joining = join_snapshot(address, Children(), holder.snapshot, identity, lock_timeout_seconds=1)
                joined = third.enter_context(joining)
                second.close()
                holder, second = joined.holder, third
                assert holder.identity() == identity
                assert joined.transactions >= number + 1
            second.close()
    assert run_sql(shop, "SELECT count(*) FROM customers") == [(53,)]


def test_a_snapshot_without_a_session_is_gone(address: Connection) -> None:
    with ExitStack() as stack:
        planned = begin(address, stack)
        identity, snapshot = planned.identity(), planned.snapshot
    joining = join_snapshot(address, Children(), snapshot, identity, lock_timeout_seconds=1)

    with pytest.raises(SnapshotGoneError) as caught, joining:
        pass

    assert caught.value.code == "SNAPSHOT_LOST"


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"system": "7"}, "Its system identifier is"),
        ({"database": "other"}, "its database 'empty_"),
        ({"visible": "1:1:"}, "shows other transactions"),
    ],
)
def test_another_server_database_or_snapshot_is_refused(
    address: Connection, changes: dict[str, Any], detail: str
) -> None:
    with ExitStack() as stack:
        planned = begin(address, stack)
        other = replace(planned.identity(), **changes)
        joining = join_snapshot(address, Children(), planned.snapshot, other, lock_timeout_seconds=1)

        with pytest.raises(ConnectError) as caught:
            stack.enter_context(joining)

    assert caught.value.code == "WRONG_SERVER"
    assert detail in (caught.value.detail or "")
