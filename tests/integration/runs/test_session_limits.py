"""Limits that a role has for its sessions: what each kind of session of ours sets instead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2.extensions
import pytest
from tests.integration.conftest import run_sql, with_password

from coffre.model.drill_options import DrillCheck
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.connection.connect import connect, connect_bare
from coffre.postgres.connection.connection_secret import parse_secret
from coffre.postgres.connection.create_database import maintenance_session
from coffre.postgres.destination.restore_lock import guarded
from coffre.postgres.inspection.sessions import limit
from coffre.postgres.scratch.owner_checks import ask
from coffre.postgres.source.dump import SliceReader
from coffre.postgres.source.snapshot import hold_snapshot
from coffre.postgres.source.snapshot_relay import join_snapshot

# What a role could have that holds much shorter transactions than ours, in milliseconds. None is so short that a slow
# machine would be cut off before it has set its own.
ROLE = {
    "statement_timeout": 61_000,
    "lock_timeout": 62_000,
    "idle_in_transaction_session_timeout": 63_000,
    "idle_session_timeout": 64_000,
    "transaction_timeout": 65_000,
    "tcp_user_timeout": 66_000,
}
# The sessions that have limits: those that wait for locks which others hold, and those that ask what a person wrote.
WAITS = {"lock_timeout": 7_000}
OWN = {
    "holder": WAITS,
    "worker": WAITS,
    "rows": {"lock_timeout": 10_000},
    "doctor": {"statement_timeout": 20_000, "lock_timeout": 2_000},
    "check of the owner": {"statement_timeout": 7_000},
}
ASK = f"""
SELECT string_agg(name || '=' || setting, ',' ORDER BY name) FROM pg_catalog.pg_settings
WHERE name = ANY ('{{{",".join(ROLE)}}}')
"""


def limits(session: psycopg2.extensions.connection) -> str:
    with session.cursor() as cursor:
        cursor.execute(ASK)
        ((found,),) = cursor.fetchall()
    return str(found)


def without_limits(kind: str) -> str:
    """Every limit is 0 (none), or the one that this kind of session has."""
    wanted = {**dict.fromkeys(ROLE, 0), **OWN.get(kind, {})}
    return ",".join(f"{name}={wanted[name]}" for name in sorted(wanted))


@pytest.fixture
def connection(shop: str) -> Iterator[Connection]:
    """As a role with limits in the database, too."""
    database = shop.rpartition("/")[2]
    run_sql(shop, "CREATE ROLE hurried LOGIN IN ROLE pg_read_all_data")
    for name, milliseconds in ROLE.items():
        run_sql(shop, f"ALTER ROLE hurried SET {name} = {milliseconds + 1}")
        run_sql(shop, f"ALTER ROLE hurried IN DATABASE {database} SET {name} = {milliseconds}")
    yield parse_secret(with_password(shop, "hurried"), where="test")
    run_sql(shop, "DROP OWNED BY hurried", "DROP ROLE hurried")


@contextmanager
def doctors(connection: Connection) -> Iterator[psycopg2.extensions.connection]:
    with connect(connection) as session:
        limit(session)
        yield session


def test_no_limit_of_the_role_or_the_database_holds_in_any_kind_of_session(connection: Connection) -> None:
    """Which are idle between statements (a spare holder, a watcher, a guard), wait for locks, or last for hours."""
    children = Children(run_id="01K9X0000000000000000000AB")
    ours = children.watching(connection)
    found: dict[str, str] = {}
    with (
        hold_snapshot(ours, children, lock_timeout_seconds=7) as holder,
        join_snapshot(ours, children, holder.snapshot, holder.identity(), lock_timeout_seconds=7) as joined,
        SliceReader(ours, children, snapshot=holder.snapshot, encoding="UTF8", buffer_bytes=1024) as rows,
    ):
        found["holder"], found["worker"] = limits(holder._session), limits(joined.holder._session)
        found["rows"] = limits(rows._copy._channel._session)
    sessions = {
        "source": connect(ours),
        "restore": connect(ours),
        "restore that lasts": connect(ours, lasts=True),
        "restore and drill without a run": connect(connection),
        "guard of a destination": guarded(ours),
        "databases of a server": maintenance_session(ours),
        "doctor": doctors(connection),
    }
    for kind, opened in sessions.items():
        with opened as session:
            found[kind] = limits(session)
    check = DrillCheck(name="limits", query=ASK, expect="")
    (proof,) = ask([check], ours, children, timeout_seconds=7)
    found["check of the owner"] = str(proof.found)
    assert found == {kind: without_limits(kind) for kind in found}
    # Where nothing of ours sets others, the role has its own: those of the database
    with connect_bare(connection) as session:
        assert limits(session) == ",".join(f"{name}={ROLE[name]}" for name in sorted(ROLE))
