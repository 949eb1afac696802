"""Doctor at real servers: what it sees, what it could not see, and that it changes nothing."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg2
import pytest
from tests.integration.conftest import SHOP, Coffre, run_sql, with_password
from tests.integration.contents import RoundTripOn
from tests.integration.runs.authority import Authority
from tests.shared_server import own_databases
from tests.unit.policy.checks.fixtures_database import HEALTHY

from coffre.model.checkup import CheckResult, Checkup
from coffre.model.errors import SettingsError
from coffre.policy.checks.check import Check
from coffre.policy.checks.registry import CHECKS
from coffre.runtime import checkup_readers
from coffre_local.postgres_server import PostgresServer

_numbers = itertools.count(1)
# What the superuser of a test's server on this machine provokes in any database.
USUAL: Final = {"ROLE_TOO_STRONG"}


@pytest.fixture
def database_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what doctor says about the vault and the stack."""
    monkeypatch.setattr(checkup_readers, "readers_of_every_target", lambda *_, **__: ())


pytestmark = pytest.mark.usefixtures("database_alone")


def look(coffre: Coffre, **event: Any) -> Checkup:
    return Checkup.model_validate(coffre.backup(doctor=True, **event))


def findings(checkup: Checkup) -> dict[str, CheckResult]:
    return {one.code: one for one in checkup.findings}


@pytest.fixture
def reader(shop: str) -> str:
    """The name of a role that may read the shop, and nothing else."""
    name = f"reader_{next(_numbers)}"
    run_sql(
        shop,
        f"CREATE ROLE {name} LOGIN BYPASSRLS",
        f"GRANT pg_read_all_data TO {name}",
        f"ALTER ROLE {name} SET default_transaction_read_only = on",
    )
    return name


def test_a_healthy_database_is_seen_whole_by_a_role_that_may_only_read(coffre: Coffre, shop: str, reader: str) -> None:
    coffre.configure(with_password(shop, reader))

    checkup = look(coffre)

    assert [(one.code, one.sentence) for one in checkup.unseen] == []
    assert set(findings(checkup)) == {"ROLE_SETTINGS"}
    assert "default_transaction_read_only=on" in (findings(checkup)["ROLE_SETTINGS"].evidence or "")
    assert {one.code for one in checkup.results} == {check.code for check in CHECKS if _is_of_databases(check)}
    assert coffre.catalog.checkups.find("shop") == checkup
    assert list(coffre.catalog.checkups.all()) == [checkup]


def _is_of_databases(check: Check) -> bool:
    return set(check.needs) <= set(HEALTHY)


def test_nothing_is_changed_and_no_backup_is_taken(coffre: Coffre, shop: str, reader: str) -> None:
    coffre.configure(with_password(shop, reader))
    before = _traces(shop)

    look(coffre)

    assert _traces(shop) == before
    assert coffre.backups() == []
    assert coffre.objects() == {}
    assert coffre.troubles() == []


def test_a_journal_that_a_target_does_not_have_yet_is_looked_for_and_not_kept(
    coffre: Coffre, shop: str, reader: str
) -> None:
    coffre.configure(with_password(shop, reader))

    checkup = look(coffre, journal={"maximum_lag_bytes": 1 << 30}, slots=1_000)

    found = [(one.code, one.subject) for one in checkup.findings]
    assert checkup.unseen == ()
    assert {("JOURNAL_NOT_POSSIBLE", "role"), ("JOURNAL_NOT_POSSIBLE", "slots"), ("JOURNAL_WAL_LIMIT", None)} <= {
        *found
    }
    assert all(code.startswith("JOURNAL_") for code, _ in found)
    assert coffre.catalog.checkups.find("shop") is None


def _traces(url: str) -> list[tuple[Any, ...]]:
    """What a write or a definition would leave: ids of transactions that wrote, files, rows of the catalog."""
    return run_sql(
        url,
        "SELECT txid_snapshot_xmax(txid_current_snapshot()), count(*), sum(hashtextextended(c::text, 0)) "
        "FROM pg_class c WHERE relname <> 'pg_class' GROUP BY 1",
    )


def test_what_a_role_cannot_read_is_named_with_the_sql_that_cures_it(coffre: Coffre, shop: str) -> None:
    weak = f"weak_{next(_numbers)}"
    run_sql(
        shop,
        f"CREATE ROLE {weak} LOGIN",
        f"GRANT SELECT ON customers TO {weak}",
        "ALTER TABLE customers ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY few ON customers USING (id < 3)",
        "CREATE SEQUENCE numbers",
        "SELECT lo_create(0)",
    )
    coffre.configure(with_password(shop, weak))

    found = findings(look(coffre))

    assert found["ROLE_CANNOT_READ"].evidence == "public.orders"
    assert found["ROLE_NO_BYPASSRLS"].evidence == "public.customers"
    assert found["SEQUENCES_UNREADABLE"].evidence == "public.numbers, public.orders_id_seq"
    assert "may not read 1 large objects" in found["LARGE_OBJECTS_UNREADABLE"].sentence
    for code in ("ROLE_CANNOT_READ", "ROLE_NO_BYPASSRLS", "LARGE_OBJECTS_UNREADABLE"):
        cure = (found[code].cure or "").removeprefix("As their owner or a superuser: ").partition(" Or ")[0]
        run_sql(shop, cure)

    assert set(findings(look(coffre))) == set()


def test_excluded_tables_need_not_be_readable(coffre: Coffre, shop: str) -> None:
    weak = f"weak_{next(_numbers)}"
    run_sql(shop, f"CREATE ROLE {weak} LOGIN", f"GRANT SELECT ON customers TO {weak}")
    coffre.configure(with_password(shop, weak), target={"tables": {"include": ["customers"]}})

    assert findings(look(coffre)) == {}


CONTENTS: Final = """
CREATE TABLE log (line text);
CREATE UNLOGGED TABLE cache (id int PRIMARY KEY);
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER nothing;
CREATE FOREIGN TABLE remote (id int) SERVER elsewhere;
CREATE FUNCTION total(int) RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM log';
CREATE FUNCTION safe(int) RETURNS bigint LANGUAGE sql SET search_path = public AS 'SELECT count(*) FROM log';
CREATE MATERIALIZED VIEW totals AS SELECT total(1) WITH NO DATA;
CREATE MATERIALIZED VIEW safe_totals AS SELECT safe(1);
CREATE COLLATION german (provider = libc, locale = 'C');
CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE SCHEMA restored_01k9x000000000000000000000;
CREATE SCHEMA restored_by_hand;
CREATE EVENT TRIGGER watcher ON ddl_command_end EXECUTE FUNCTION watch();
CREATE SCHEMA auth;
CREATE TABLE auth.users (id int PRIMARY KEY);
CREATE FUNCTION on_signup() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER signup AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION on_signup();
CREATE POLICY mine ON auth.users USING (true);
CREATE SCHEMA vault;
CREATE TABLE vault.secrets (id int PRIMARY KEY);
INSERT INTO vault.secrets VALUES (1)
"""


def test_what_is_in_the_database_is_named(coffre: Coffre, shop: str) -> None:
    run_sql(shop, CONTENTS)
    coffre.configure(shop, target={"provider": "supabase", "schemas": {"exclude": ["auth"]}})

    checkup = look(coffre)

    found = findings(checkup)
    assert set(found) - USUAL == {
        "TABLES_WITHOUT_KEY",
        "UNLOGGED",
        "FOREIGN_TABLES",
        "MATVIEW_UNQUALIFIED",
        "EVENT_TRIGGERS",
        "LEFT_BY_RESTORES",
        "MANAGED_SCHEMA_LEFT_OUT",
        "USER_OBJECTS_ON_MANAGED_TABLES",
        "VAULT_SECRETS_UNREADABLE_ELSEWHERE",
    }
    assert found["TABLES_WITHOUT_KEY"].evidence == "public.log"
    assert found["UNLOGGED"].evidence == "public.cache"
    assert found["FOREIGN_TABLES"].evidence == "public.remote"
    assert found["MATVIEW_UNQUALIFIED"].evidence == "public.totals calls public.total(integer)"
    assert found["EVENT_TRIGGERS"].evidence == "watcher"
    assert found["LEFT_BY_RESTORES"].evidence == "restored_01k9x000000000000000000000"
    assert found["MANAGED_SCHEMA_LEFT_OUT"].evidence == "auth"
    assert found["USER_OBJECTS_ON_MANAGED_TABLES"].evidence == "policy mine on auth.users, trigger signup on auth.users"
    assert found["VAULT_SECRETS_UNREADABLE_ELSEWHERE"].evidence == "vault.secrets"
    assert [one.code for one in checkup.unseen] == []
    run_sql(shop, found["MATVIEW_UNQUALIFIED"].cure or "", found["LEFT_BY_RESTORES"].cure or "")


def test_a_statement_that_waits_for_a_table_is_seen(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    with _session(shop) as holding, _session(shop) as waiting:
        holding.cursor().execute("LOCK TABLE orders IN ACCESS SHARE MODE")
        with _waiting(waiting, "LOCK TABLE orders IN ACCESS EXCLUSIVE MODE", shop):
            found = findings(look(coffre))
            pid = waiting.info.backend_pid

    assert found["QUEUED_DDL_BEHIND_US"].evidence == f"public.orders (pid {pid})"
    assert f"pg_blocking_pids({pid})" in (found["QUEUED_DDL_BEHIND_US"].cure or "")


@contextmanager
def _session(url: str) -> Iterator[psycopg2.extensions.connection]:
    with closing(psycopg2.connect(url)) as session:
        yield session


@contextmanager
def _waiting(session: psycopg2.extensions.connection, statement: str, url: str) -> Iterator[None]:
    """Let a session wait for a lock in a thread until the block is left."""
    pid = session.info.backend_pid

    def work() -> None:
        with suppress(psycopg2.Error), session.cursor() as cursor:
            cursor.execute(statement)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while not run_sql(url, f"SELECT 1 FROM pg_locks WHERE pid = {pid} AND NOT granted"):
            time.sleep(0.01)
        yield
    finally:
        run_sql(url, f"SELECT pg_cancel_backend({pid})")
        thread.join()


# --- when the server cannot be reached, or not as it should be ---


def test_a_server_that_does_not_answer_is_a_finding(coffre: Coffre) -> None:
    coffre.configure("postgresql://postgres:secret@127.0.0.1:1/shop")

    checkup = look(coffre)

    assert set(findings(checkup)) == {"SERVER_UNREACHABLE"}
    unseen = {one.code: one.sentence for one in checkup.unseen}
    assert unseen["ROLE_CANNOT_READ"].startswith("Nothing answers at 127.0.0.1")
    assert "SIZE_WINDOW" in unseen


def test_a_refused_login_is_a_finding_and_shows_no_password(coffre: Coffre, tls_server: PostgresServer) -> None:
    coffre.configure(tls_server.dsn(user="postgres", password="another-secret"))

    checkup = look(coffre)

    assert set(findings(checkup)) == {"LOGIN_REFUSED"}
    assert "another-secret" not in checkup.model_dump_json() + "".join(coffre.log_lines)


def test_tls_without_a_ca_is_not_verified_and_with_another_ca_it_fails(
    coffre: Coffre, tls_server: PostgresServer
) -> None:
    coffre.configure(tls_server.dsn())
    unverified = findings(look(coffre))
    coffre.configure(tls_server.dsn(), target={"tls": {"ca": tls_server.certificate.read_text()}})
    verified = findings(look(coffre))
    coffre.configure(tls_server.dsn(), target={"tls": {"ca": Authority().pem}})
    other = findings(look(coffre))

    assert "TLS_NOT_VERIFIED" not in unverified  # it is on this machine
    assert not {code for code in verified if code.startswith("TLS_")}
    assert set(other) == {"TLS_FAILED"}


@pytest.mark.parametrize(
    ("secret", "missing"),
    [
        ('{"username": "postgres", "password": "hunter2hunter2"}', "host, dbname"),
        ('{"host": "db", "username": "postgres", "dbname": "shop"}', "password"),
        ("postgresql://postgres:hunter2hunter2@db", "database"),
        ("", "neither a postgresql:// URL nor a JSON object"),
    ],
)
def test_a_secret_without_a_field_names_the_field(coffre: Coffre, secret: str, missing: str) -> None:
    coffre.configure("postgresql://u:p@db/shop")
    coffre.secret("coffre/database/shop", secret or "-")

    checkup = look(coffre)

    assert set(findings(checkup)) == {"DATABASE_SECRET"}
    assert missing in findings(checkup)["DATABASE_SECRET"].sentence
    assert "hunter2" not in checkup.model_dump_json()


def test_a_transaction_pooler_is_known_by_its_port_and_not_connected_to(coffre: Coffre) -> None:
    coffre.configure("postgresql://postgres:secret@127.0.0.1:6543/shop")

    checkup = look(coffre)

    assert set(findings(checkup)) == {"POOLER_TRANSACTION"}
    assert "port 5432" in (findings(checkup)["POOLER_TRANSACTION"].cure or "")


def test_two_servers_behind_one_address_are_found(
    coffre: Coffre, shop: str, server_of_major: Callable[[int], PostgresServer]
) -> None:
    other = server_of_major(18)
    name = urlsplit(shop).path[1:]
    with own_databases(other, name), Alternating([urlsplit(shop).port or 0, other.port]) as port:
        coffre.configure(f"postgresql://postgres:secret@127.0.0.1:{port}/{name}")
        found = findings(look(coffre))

    assert "ENDPOINT_NOT_ONE_INSTANCE" in found


def test_a_server_with_little_room_is_found(coffre: Coffre, shop: str) -> None:
    small = f"small_{next(_numbers)}"
    run_sql(
        shop,
        f"CREATE ROLE {small} LOGIN CONNECTION LIMIT 6",
        f"GRANT pg_read_all_data TO {small}",
    )
    coffre.configure(with_password(shop, small), target={"limits": {"streams": 16}})

    found = findings(look(coffre))

    assert set(found) == {"POOLER_WIDTH"}


class Alternating:
    """A port of 127.0.0.1 whose connections go to each of several ports in turn."""

    def __init__(self, ports: list[int]) -> None:
        self._ports = itertools.cycle(ports)
        self._listener = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> int:
        threading.Thread(target=self._serve, daemon=True).start()
        port: int = self._listener.getsockname()[1]
        return port

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", next(self._ports)))
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError), sink:
        while data := source.recv(65536):
            sink.sendall(data)


# --- what becomes of it ---


def test_a_blocker_is_reported_once_and_its_end_too(coffre: Coffre, shop: str) -> None:
    weak = f"weak_{next(_numbers)}"
    run_sql(shop, f"CREATE ROLE {weak} LOGIN BYPASSRLS")
    coffre.configure(with_password(shop, weak))
    look(coffre)
    assert coffre.troubles() == []

    for _ in range(2):
        look(coffre, report=True)
    [alert] = coffre.troubles()
    run_sql(shop, f"GRANT pg_read_all_data TO {weak}")
    look(coffre)
    [over] = coffre.troubles()

    assert alert["MessageAttributes"]["kind"]["Value"] == "DOCTOR_BLOCKER"
    assert "ROLE_CANNOT_READ" in alert["Message"]
    assert f'GRANT pg_read_all_data TO "{weak}";' in alert["Message"]
    assert over["MessageAttributes"]["state"]["Value"] == "recovered"


@pytest.mark.parametrize("major", [12, 15])
def test_every_question_is_understood_by_older_servers(
    coffre: Coffre, round_trip_on: RoundTripOn, server_of_major: Callable[[int], PostgresServer], major: int
) -> None:
    url = round_trip_on(server_of_major(major)).source
    run_sql(url, SHOP)
    coffre.configure(url)

    checkup = look(coffre)

    assert [(one.code, one.sentence) for one in checkup.unseen] == []
    assert set(findings(checkup)) == USUAL


def test_the_weekly_level_asks_the_functions_that_back_up(
    coffre: Coffre, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    coffre.configure(shop)
    document = json.loads(coffre.document_text())
    document["targets"].append({"name": "files", "kind": "bucket", "buckets": [{"name": "photos"}]})
    coffre.document(json.dumps(document))
    coffre.environment |= {
        "COFFRE_BACKUP_DATABASE_FUNCTION": "the-backup-database",
        "COFFRE_BACKUP_STORAGE_FUNCTION": "the-backup-storage",
    }
    invoked: list[dict[str, Any]] = []
    monkeypatch.setattr(coffre.verify_function().services.functions, "invoke", lambda **call: invoked.append(call))

    answer = coffre.verify("doctor")

    assert answer == {"level": "doctor", "started": ["shop", "files"]}
    assert [(call["FunctionName"], json.loads(call["Payload"])) for call in invoked] == [
        ("the-backup-database", {"doctor": True, "target": "shop", "report": True}),
        ("the-backup-storage", {"doctor": True, "target": "files", "report": True}),
    ]


def test_the_weekly_level_of_an_older_stack_says_what_is_missing(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)

    with pytest.raises(SettingsError, match="does not know which functions back up"):
        coffre.verify("doctor")
