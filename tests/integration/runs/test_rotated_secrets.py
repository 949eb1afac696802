"""Passwords and access keys that change while a function uses them: the secret is read again, once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest
from tests.integration.conftest import SHOP, Coffre, client, run_sql
from tests.integration.contents import after_plan
from tests.integration.expect import failed_backup, failed_restore, no_secret

from coffre.runtime import bootstrap
from coffre.runtime.sources import read_secret
from coffre_local.postgres_server import PostgresServer
from coffre_local.sample import fingerprint

FIRST, SECOND, WRONG = "first/p@ss:word", "second%p@ss word", "never-was-one"
SECRET = "coffre/database/shop"


@dataclass
class Keeper:
    """A role whose password changes, and the database that it owns, on a server that asks for passwords."""

    server: PostgresServer
    database: str
    role: str

    def url(self, password: str, database: str | None = None) -> str:
        place = f"127.0.0.1:{self.server.port}/{database or self.database}"
        return f"postgresql://{self.role}:{quote(password, safe='')}@{place}?sslmode=require"

    def fields(self, password: str) -> str:
        """The secret as RDS's rotation writes it."""
        address = {"host": "127.0.0.1", "port": self.server.port, "dbname": self.database, "engine": "postgres"}
        return json.dumps({**address, "username": self.role, "password": password, "sslmode": "require"})

    def set_password(self, password: str) -> None:
        run_sql(self.server.dsn(), f"ALTER ROLE {self.role} PASSWORD '{password}'")

    def refusals(self) -> int:
        """How often the server refused the role's password so far."""
        said = self.server.cluster.log.read_text()
        return said.count(f'password authentication failed for user "{self.role}"')


@pytest.fixture
def keeper(tls_server: PostgresServer) -> Iterator[Keeper]:
    keeper = Keeper(tls_server, "kept_shop", "keeper")
    run_sql(tls_server.create_database("kept_shop"), SHOP)
    run_sql(tls_server.dsn(), "CREATE ROLE keeper LOGIN CREATEDB IN ROLE pg_read_all_data")
    keeper.set_password(FIRST)
    yield keeper
    for database in ("kept_shop", "kept_copy"):
        tls_server.drop_database(database)
    run_sql(tls_server.dsn(), "DROP ROLE keeper")


@dataclass
class Readings:
    """Which secrets were read, and what happens right after the first reading of each."""

    after_first: Callable[[], object] = lambda: None
    read: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> Readings:
    """The edge at which the world changes between the reading of a secret and its use."""
    readings = Readings()

    def read(secrets: Any, reference: str, stage: Any) -> str:
        text = read_secret(secrets, reference, stage)
        is_first = reference not in {name for name, _ in readings.read}
        readings.read.append((reference, stage))
        if is_first and reference.startswith(("coffre/database/", "coffre/storage/")):
            readings.after_first()
        return text

    monkeypatch.setattr(bootstrap, "read_secret", read)
    return readings


@contextmanager
def counted(keeper: Keeper, expected: int) -> Iterator[None]:
    before = keeper.refusals()
    yield
    assert keeper.refusals() - before == expected


@pytest.mark.parametrize("shape", [Keeper.url, Keeper.fields], ids=["url", "rds"])
def test_a_password_that_is_rotated_between_reading_and_connecting_fails_no_backup(
    coffre: Coffre, keeper: Keeper, readings: Readings, shape: Callable[[Keeper, str], str]
) -> None:
    coffre.configure(shape(keeper, FIRST))

    def rotate() -> None:
        keeper.set_password(SECOND)
        coffre.secret(SECRET, shape(keeper, SECOND))

    readings.after_first = rotate

    with counted(keeper, 1):
        assert coffre.backup()["status"] == "COMPLETED"

    assert readings.read == [(SECRET, "AWSCURRENT")] * 2
    assert not coffre.troubles()
    # And the same process needs no second reading the next time
    assert coffre.backup()["status"] == "COMPLETED"
    assert readings.read == [(SECRET, "AWSCURRENT")] * 3
    no_secret(coffre)
    assert not [line for line in coffre.log_lines if FIRST in line or SECOND in line]


def test_a_rotation_under_way_is_met_with_the_version_to_come(
    coffre: Coffre, keeper: Keeper, readings: Readings
) -> None:
    """Secrets Manager changes the server first, and makes AWSPENDING the current version seconds later."""
    coffre.configure(keeper.fields(FIRST))
    client("secretsmanager").put_secret_value(
        SecretId=SECRET, SecretString=keeper.fields(SECOND), VersionStages=["AWSPENDING"]
    )
    keeper.set_password(SECOND)

    with counted(keeper, 1):
        assert coffre.backup()["status"] == "COMPLETED"

    assert readings.read == [(SECRET, "AWSCURRENT"), (SECRET, "AWSCURRENT"), (SECRET, "AWSPENDING")]


def test_a_pending_version_is_not_used_as_long_as_the_current_one_is_accepted(
    coffre: Coffre, keeper: Keeper, readings: Readings
) -> None:
    coffre.configure(keeper.fields(FIRST))
    client("secretsmanager").put_secret_value(
        SecretId=SECRET, SecretString=keeper.fields(SECOND), VersionStages=["AWSPENDING"]
    )

    with counted(keeper, 0):
        assert coffre.backup()["status"] == "COMPLETED"

    assert readings.read == [(SECRET, "AWSCURRENT")]


def test_a_password_that_is_rotated_while_a_backup_reads_does_not_fail_its_end(
    coffre: Coffre, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last sessions of a backup are opened when it has begun to read."""
    coffre.configure(keeper.url(FIRST))

    def rotate() -> None:
        keeper.set_password(SECOND)
        coffre.secret(SECRET, keeper.url(SECOND))

    after_plan(monkeypatch, rotate)

    with counted(keeper, 1):
        assert coffre.backup()["status"] == "COMPLETED"


def test_a_password_that_is_wrong_is_tried_twice_and_no_more(
    coffre: Coffre, keeper: Keeper, readings: Readings
) -> None:
    """Some servers lock a role out after some attempts."""
    coffre.configure(keeper.url(WRONG))

    with counted(keeper, 2):
        failed_backup(coffre, "AUTHENTICATION_FAILED", 'the role "keeper" or its password', f"in the secret {SECRET}")

    assert WRONG not in "\n".join([*coffre.log_lines, *coffre.alerts_read])


def test_a_secret_that_names_another_database_by_now_is_not_sent_to_this_one(
    coffre: Coffre, keeper: Keeper, readings: Readings
) -> None:
    coffre.configure(keeper.url(WRONG))
    readings.after_first = lambda: coffre.secret(SECRET, keeper.url(FIRST, database="elsewhere"))

    with counted(keeper, 1):
        failed_backup(coffre, "AUTHENTICATION_FAILED", "role")


def test_a_destinations_password_is_read_again_too(coffre: Coffre, keeper: Keeper, readings: Readings) -> None:
    coffre.configure(keeper.url(FIRST))
    backup = coffre.backup()["id"]
    destination = "coffre/database/destination"

    def rotate() -> None:
        if readings.read[-1][0] == destination:
            keeper.set_password(SECOND)
            coffre.secret(destination, keeper.url(SECOND, database="kept_copy"))

    readings.after_first = rotate

    with counted(keeper, 1):
        coffre.restore(backup, keeper.url(FIRST, database="kept_copy"))

    copy = keeper.server.dsn("kept_copy")
    assert fingerprint(copy) == fingerprint(keeper.server.dsn("kept_shop"))
    # And a wrong one is tried twice
    with counted(keeper, 2):
        failed_restore(
            coffre,
            "AUTHENTICATION_FAILED",
            f"the secret {destination}",
            backup_id=backup,
            destination=keeper.url(WRONG, database="kept_copy"),
        )
