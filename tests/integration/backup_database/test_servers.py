"""The databases of one server: found at each run, each a target of its own, new and gone ones reported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from tests.integration.conftest import Coffre, Context, beside, run_sql, with_password
from tests.integration.started import deliver, starting

from coffre.model.errors import ConfigurationError, ConnectError, EventError
from coffre.model.names import quoted
from coffre.model.server import SeenDatabase
from coffre.operations.browse.contents import roles_of
from coffre.operations.stored_backup.open_backup import open_manifest
from coffre.policy.server_databases import hashed_name, plain_name
from coffre.postgres.connection.roles import split_statements
from coffre.vault.codec import new_identity, public_key
from coffre_local.postgres_server import PostgresServer

SLOT = "2026-11-01T02:00:00Z"
# 63 bytes of everything that a name can hold.
HOSTILE = ("srv \"Odd'; DROP  $HOME/../\\x=1 é漢🐘" + "-" * 63).encode()[:63].decode(errors="ignore")


class Server:
    """A server with `srv_shop` and `srv_orders`; all others with `srv` are a test's own. Other tests share it."""

    def __init__(self, coffre: Coffre, postgres: PostgresServer) -> None:
        self.coffre = coffre
        self.root = postgres.dsn()
        self.made: list[str] = []
        self.configure()

    def configure(self, **changes: Any) -> None:
        """Write a document whose target `srv` is this server."""
        target = {"databases": {"include": ["srv*"]}, "name": "srv", **changes.pop("target", {})}
        self.coffre.configure(with_password(self.root), target=target, **changes)

    def create(self, *names: str) -> None:
        for name in names:
            run_sql(self.root, f"CREATE DATABASE {quoted(name)} TEMPLATE srv_shop")
        self.made += names

    def drop(self, *names: str) -> None:
        for name in names:
            run_sql(self.root, f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")
            self.made.remove(name)

    def url(self, name: str) -> str:
        return beside(self.root, quote(name, safe=""))

    def find(self, **event: Any) -> list[str]:
        """Start a backup of the server, and return the targets that it starts, which stay as they are."""
        starting(self.coffre)
        names: list[str] = self.coffre.backup_function().handle({"target": "srv", **event}, Context())["started"]
        return names

    def run(self, **event: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Back up the server, and deliver what that starts; return both answers."""
        started = starting(self.coffre)
        answer = self.coffre.backup_function().handle({"target": "srv", **event}, Context())
        return answer, deliver(self.coffre, started)

    def seen(self) -> dict[str, SeenDatabase]:
        return {one.database: one for one in self.coffre.catalog.servers.seen()}


@pytest.fixture(scope="module")
def databases(postgres_server: PostgresServer) -> Iterator[None]:
    run_sql(postgres_server.create_database("srv_shop"), "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1), (2)")
    postgres_server.create_database("srv_orders", template="srv_shop")
    yield
    postgres_server.drop_database("srv_shop")
    postgres_server.drop_database("srv_orders")


@pytest.fixture
def server(coffre: Coffre, postgres_server: PostgresServer, databases: None) -> Iterator[Server]:
    made = Server(coffre, postgres_server)
    yield made
    made.drop(*made.made)


def kinds(coffre: Coffre) -> list[str]:
    return [alert["MessageAttributes"]["kind"]["Value"] for alert in coffre.alerts()]


def test_each_database_of_a_server_is_backed_up_as_a_target_of_its_own(coffre: Coffre, server: Server) -> None:
    answer, answers = server.run(tier="DAILY", scheduled_time=SLOT)

    assert answer == {"server": "srv", "started": ["srv-srv-orders", "srv-srv-shop"], "backups": {}}
    assert [(one["target"], one["outcome"]) for one in answers] == [
        ("srv-srv-orders", "completed"),
        ("srv-srv-shop", "completed"),
    ]
    configuration = coffre.backup_function().services.configuration()
    assert [target.name for target in configuration.targets] == ["srv-srv-orders", "srv-srv-shop"]
    assert configuration.target("srv-srv-shop").retention == configuration.target("srv").retention
    (alert,) = coffre.alerts()
    assert alert["MessageAttributes"]["kind"]["Value"] == "DATABASE_FOUND"
    assert '"srv_shop", as the target srv-srv-shop' in alert["Message"]
    # And the next run of the same slot joins both
    assert [one["outcome"] for one in server.run(tier="WEEKLY", scheduled_time=SLOT)[1]] == ["joined", "joined"]
    assert coffre.alerts() == []


def test_a_rule_starts_the_server_and_by_hand_each_run_has_an_id_to_follow(coffre: Coffre, server: Server) -> None:
    started = starting(coffre)
    rule = coffre.backup_function().handle({"tier": "DAILY", "scheduled_time": SLOT}, Context())
    assert rule == {"started": ["srv"]}
    assert started.take() == [{"target": "srv", "tier": "DAILY", "scheduled_time": SLOT}]

    answer, answers = server.run(keep="7d")

    assert answer["backups"] == {one["target"]: one["id"] for one in answers}
    assert all(backup.expires_at is not None for backup in coffre.backups())


def test_new_databases_are_picked_up_and_dropped_ones_are_reported_and_never_overdue(
    coffre: Coffre, server: Server
) -> None:
    # Given a run, after which one database is dropped and another one is new
    server.create("srv_old")
    server.configure(target={"databases": {"include": ["srv_old", "srv_new", "srv_shop"]}})
    server.run()
    coffre.alerts()
    server.drop("srv_old")
    server.create("srv_new")

    # When the server is backed up again
    _, answers = server.run()

    # Then the new one is backed up, and both are reported
    assert [one["target"] for one in answers] == ["srv-srv-new", "srv-srv-shop"]
    found, gone = coffre.alerts()
    assert '"srv_new", as the target srv-srv-new' in found["Message"]
    assert gone["MessageAttributes"]["kind"]["Value"] == "DATABASE_GONE"
    assert gone["MessageAttributes"]["severity"]["Value"] == "warning"
    old = next(one for one in coffre.backups() if one.target == "srv-srv-old")
    assert 'Dropped from the server "srv"' in gone["Message"]
    assert f"srv-srv-old. Last good backup: {old.id}" in gone["Message"]
    # And what is dropped is a target whose backups are kept and rotated, and of which nothing is expected
    report = coffre.verify("fresh")
    assert {check["target"] for check in report["checks"]} == {"srv-srv-new", "srv-srv-shop"}
    assert coffre.rotate(dry_run=True)["not_configured"] == []
    coffre.restore(old.id, server.url("srv_back"))
    server.made.append("srv_back")
    assert run_sql(server.url("srv_back"), "SELECT count(*) FROM t") == [(2,)]
    coffre.alerts()
    # And when it is there again, it is backed up again under its name
    server.create("srv_old")
    assert server.find() == ["srv-srv-new", "srv-srv-old", "srv-srv-shop"]
    assert kinds(coffre) == ["DATABASE_FOUND"]


def test_a_database_that_the_document_leaves_out_is_not_called_dropped(coffre: Coffre, server: Server) -> None:
    server.find()
    coffre.alerts()
    server.configure(target={"databases": {"include": ["srv*"], "exclude": ["srv_orders"]}})

    assert server.find() == ["srv-srv-shop"]

    (gone,) = coffre.alerts()
    assert "but excluded by `databases`, or not taking connections any more" in gone["Message"]
    assert "Dropped" not in gone["Message"]


def test_databases_of_any_name_are_backed_up_and_restored(coffre: Coffre, server: Server) -> None:
    odd = (HOSTILE, "postgresql://srv")
    server.create(*odd)
    server.configure(target={"databases": {"include": [quoted(name) for name in odd]}})

    _, answers = server.run()

    assert {answer["target"] for answer in answers} == {hashed_name("srv", name) for name in odd}
    assert {answer["status"] for answer in answers} == {"COMPLETED"}
    assert {server.seen()[name].name for name in odd} == {answer["target"] for answer in answers}
    # And a restore without a destination goes into that database, and no other
    for name in odd:
        run_sql(server.url(name), "DROP TABLE t")
        coffre.restore("latest", None, target=hashed_name("srv", name), tables=["t"])
        assert run_sql(server.url(name), "SELECT count(*) FROM t") == [(2,)]


def test_a_role_that_may_not_connect_to_one_database_fails_that_one_alone(coffre: Coffre, server: Server) -> None:
    run_sql(server.root, "CREATE ROLE srv_limited LOGIN SUPERUSER")
    run_sql(server.root, "ALTER ROLE srv_limited NOSUPERUSER; GRANT pg_read_all_data TO srv_limited")
    run_sql(server.root, "REVOKE CONNECT ON DATABASE srv_orders FROM PUBLIC")
    coffre.secret("coffre/database/shop", with_password(server.root, "srv_limited"))
    started = starting(coffre)
    coffre.backup_function().handle({"target": "srv", "tier": "DAILY", "scheduled_time": SLOT}, Context())
    orders, shop = started.take()

    with pytest.raises(ConnectError) as caught:
        coffre.backup_function().handle(orders, Context())
    good = coffre.backup_function().handle(shop, Context())
    run_sql(server.root, "DROP OWNED BY srv_limited", "DROP ROLE srv_limited")

    assert caught.value.code == "CONNECT_DENIED"
    assert caught.value.message == 'The role "srv_limited" may not connect to the database "srv_orders".'
    assert 'GRANT CONNECT ON DATABASE "srv_orders" TO "srv_limited"' in (caught.value.hint or "")
    assert good["outcome"] == "completed"


def test_a_server_that_cannot_be_reached_is_one_alert_and_forgets_nothing(coffre: Coffre, server: Server) -> None:
    server.find()
    coffre.alerts()
    coffre.secret("coffre/database/shop", "postgresql://x:y@127.0.0.1:1/postgres")

    with pytest.raises(ConnectError, match="Nothing answers at"):
        server.find()

    (alert,) = coffre.alerts()
    assert alert["MessageAttributes"]["kind"]["Value"] == "BACKUP_FAILED"
    assert alert["MessageAttributes"]["target"]["Value"] == "srv"
    assert all(one.gone_since is None for one in server.seen().values())
    server.configure()
    server.find()
    assert [alert["MessageAttributes"]["state"]["Value"] for alert in coffre.alerts()] == ["recovered"]


def test_patterns_that_fit_nothing_are_one_clear_error_and_change_nothing(coffre: Coffre, server: Server) -> None:
    server.find()
    server.configure(target={"databases": {"include": ["shops"]}})

    with pytest.raises(ConfigurationError) as caught:
        server.find()

    assert caught.value.code == "NO_DATABASE_FITS"
    assert '"srv_shop"' in (caught.value.detail or "")
    assert all(one.gone_since is None for one in server.seen().values())


def test_a_name_that_is_taken_gets_a_hash_and_keeps_it(coffre: Coffre, server: Server) -> None:
    # Given a target in the document whose name a database would get
    document = json.loads(coffre.document_text())
    other = {"name": "srv-srv-shop", "secret": "coffre/database/shop"}
    coffre.document(json.dumps({**document, "targets": [*document["targets"], other]}))

    assert server.find() == ["srv-srv-orders", hashed_name("srv", "srv_shop")]

    # Then the database keeps the name when the other target is gone
    server.configure()
    assert server.find() == ["srv-srv-orders", hashed_name("srv", "srv_shop")]
    assert plain_name("srv", "srv_shop") == "srv-srv-shop"


def test_two_servers_never_share_the_name_of_a_target(coffre: Coffre, server: Server) -> None:
    document = json.loads(coffre.document_text())
    other = {"name": "srv-srv", "secret": "coffre/database/shop", "databases": {"include": ["shop", "srv_orders"]}}
    server.create("shop")
    server.find()

    coffre.document(json.dumps({**document, "targets": [*document["targets"], other]}))

    assert server.find(target="srv-srv") == sorted([hashed_name("srv-srv", "shop"), "srv-srv-srv-orders"])


def test_what_is_for_one_database_is_refused_for_a_server(coffre: Coffre, server: Server) -> None:
    with pytest.raises(EventError, match="backup_id is for one database"):
        server.find(backup_id="01K9X000000000000000000000")
    with pytest.raises(EventError, match="tier SAFETY is for one database"):
        server.find(tier="SAFETY")
    assert server.seen() == {}


def test_a_servers_own_keys_open_the_backups_of_its_databases(coffre: Coffre, server: Server) -> None:
    own = new_identity()
    coffre.secret("coffre/identity/main/srv", own)
    server.configure(target={"recipients": [public_key(own)], "databases": {"include": ["srv_shop"]}})
    _, (answer,) = server.run()

    coffre.restore(answer["id"], server.url("srv_copy"))
    server.made.append("srv_copy")

    assert run_sql(server.url("srv_copy"), "SELECT count(*) FROM t") == [(2,)]


def test_roles_are_made_once_when_the_databases_of_a_server_are_restored(coffre: Coffre, server: Server) -> None:
    # Given two databases whose tables belong to roles of the server; then everything is lost
    names = ("srv_a", "srv_b")
    server.create(*names)
    run_sql(server.root, "CREATE ROLE srv_owner", "CREATE ROLE srv_reader")
    for name in names:
        run_sql(server.url(name), "ALTER TABLE t OWNER TO srv_owner", "GRANT SELECT ON t TO srv_reader")
    server.configure(target={"databases": {"include": list(names)}})
    backups = [coffre.catalog.get_backup(answer["id"]) for answer in server.run()[1]]
    server.drop(*names)
    run_sql(server.root, "DROP ROLE srv_owner", "DROP ROLE srv_reader")

    # When the roles of one backup are made, and both databases are restored
    opens = coffre.restore_function().services
    scripts = {
        b"".join(roles_of(opens.vault, open_manifest(opens.vault, one), opens.decoder(one.target))).decode()
        for one in backups
    }
    (script,) = scripts  # each backup has them
    run_sql(server.root, *(one for one in split_statements(script) if "srv_" in one))
    answers = [coffre.restore(one.id, server.url(name)) for one, name in zip(backups, names, strict=True)]
    server.made += names

    # Then nothing is missing
    assert [answer["exceptions"] for answer in answers] == [0, 0]
    for name in names:
        assert run_sql(server.url(name), "SELECT tableowner FROM pg_tables WHERE tablename = 't'") == [("srv_owner",)]
        assert run_sql(server.url(name), "SELECT has_table_privilege('srv_reader', 't', 'SELECT')") == [(True,)]
    server.drop(*names)
    run_sql(server.root, "DROP ROLE srv_owner", "DROP ROLE srv_reader")
