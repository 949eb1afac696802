"""Networks between a run, its server and its vault: slow, silent, cut, or with a byte that arrives as another one."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from tests.contract.faults import Answer, FaultyStore, Request, Silence
from tests.contract.weed import OWNER, Weed
from tests.integration.conftest import SHOP, Coffre, run_sql
from tests.integration.expect import failed_backup, no_secret
from tests.integration.faults import FaultyWire, flip_at, reset_at, stall_at
from tests.integration.runs.test_stopped_server import Sand

from coffre.model.backup import Status
from coffre.model.errors import CoffreError
from coffre.operations.runs import heartbeat
from coffre.postgres.connection import client_tools as tools
from coffre.postgres.connection import connect, end_sessions
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import make_client
from coffre.vault.vault import Vault
from coffre_local.postgres_server import PostgresServer
from coffre_local.sample import fingerprint

_numbers = itertools.count(1)
# A backup of the shop reads about 200 KB of its server's; the first 2 KB of them let it in.
PLACES = (0, 1, 700, 5_000, 60_000, 150_000)


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here answers: there is no need to wait for it as long as for a server."""
    monkeypatch.setattr(heartbeat.Watch, "_next_wait", lambda self: 0.05)
    monkeypatch.setattr(tools, "_CANCEL_SECONDS", 0.3)
    monkeypatch.setattr(tools, "_END_SECONDS", 0.3)
    monkeypatch.setattr(end_sessions, "_MOST_SECONDS", 1.0)
    monkeypatch.setattr(connect, "_CLEARING_CONNECT_SECONDS", 0.5)


def through(wire: FaultyWire, url: str) -> str:
    """The URL of a database as it is reached over a wire."""
    return url.replace(f":{urlsplit(url).port}/", f":{wire.port}/")


# --- between the run and its server ---


@pytest.mark.parametrize("place", PLACES)
def test_a_server_behind_a_network_that_falls_silent_costs_a_backup_no_more_than_its_time(
    coffre: Coffre, shop: str, place: int
) -> None:
    sand = Sand("backup-database")
    with FaultyWire(urlsplit(shop).port or 0, stall_at(place, sand.run_out)) as wire:
        coffre.configure(through(wire, shop), target={"limits": {"connect_timeout_seconds": 60}})

        failed_backup(coffre, "DEADLINE", context=sand)

        assert sand.remaining() > 0


@pytest.mark.parametrize("place", PLACES)
def test_a_connection_that_is_reset_at_any_place_is_a_failed_backup(coffre: Coffre, shop: str, place: int) -> None:
    with FaultyWire(urlsplit(shop).port or 0, reset_at(place)) as wire:
        coffre.configure(through(wire, shop))

        error = failed_backup_of_any_kind(coffre)

    assert error.code in {"CONNECTION_LOST", "CONNECTION_FAILED", "TOOL_FAILED", "CONNECT_FAILED"}


@pytest.fixture
def tls_shop(tls_server: PostgresServer) -> Iterator[str]:
    name = f"tls_shop_{next(_numbers)}"
    url = tls_server.create_database(name)
    run_sql(url, SHOP)
    yield url
    tls_server.drop_database(name)


@pytest.mark.parametrize("place", [40, 900, 9_000, 60_000, 150_000])
def test_a_byte_that_is_another_one_at_the_end_is_found_by_tls(
    coffre: Coffre, tls_shop: str, new_database: str, place: int
) -> None:
    sand = Sand("backup-database")
    coffre.alerts()
    with FaultyWire(urlsplit(tls_shop).port or 0, flip_at(place)) as wire:
        coffre.configure(through(wire, tls_shop))
        # A length that is another one can leave both sides waiting for each other.
        timer = threading.Timer(5.0, sand.run_out)
        timer.start()
        try:
            done = coffre.backup(sand)
        except CoffreError as error:
            recorded_as_failed(coffre, error)
            return
        finally:
            timer.cancel()

    # Which connection gets the byte is chance: what is read again when it fails (the roles) makes a whole backup
    coffre.restore(done["id"], new_database)
    assert fingerprint(new_database) == fingerprint(tls_shop)


def failed_backup_of_any_kind(coffre: Coffre, context: Sand | None = None) -> CoffreError:
    """Run a backup that has to fail with an error that a person understands, recorded and told once."""
    coffre.alerts()
    with pytest.raises(CoffreError) as caught:
        coffre.backup(context)
    recorded_as_failed(coffre, caught.value)
    return caught.value


def recorded_as_failed(coffre: Coffre, error: CoffreError) -> None:
    """The only backup is recorded and told as failed with this error, and nothing of it is published."""
    assert error.hint
    (backup,) = coffre.backups()
    assert backup.status is Status.FAILED
    assert backup.failure is not None
    assert backup.failure.code == error.code
    (alert,) = coffre.troubles()
    assert error.code in alert["Subject"]
    assert not [key for key in coffre.objects() if key.endswith("manifest.json")]
    no_secret(coffre, error)


def test_a_slow_network_only_takes_longer(coffre: Coffre, shop: str, new_database: str) -> None:
    with FaultyWire(urlsplit(shop).port or 0, bytes_per_second=150_000) as wire:
        coffre.configure(through(wire, shop))
        done = coffre.backup()

    coffre.restore(done["id"], new_database)
    assert fingerprint(new_database) == fingerprint(shop)


# --- between the run and its vault ---


@pytest.fixture
def vault_at(coffre: Coffre, weed: Weed, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let the vault be in SeaweedFS, reached at an address."""
    bucket = f"vault-{next(_numbers)}"
    with closing(make_client(region="us-east-1", endpoint_url=weed.endpoint_url, credentials=OWNER)) as client:
        client.create_bucket(Bucket=bucket)

    def put(endpoint_url: str) -> None:
        client = make_client(region="us-east-1", endpoint_url=endpoint_url, credentials=OWNER)
        vault = Vault(S3Store(bucket, client=client))
        for function in (coffre.backup_function(), coffre.restore_function()):
            monkeypatch.setitem(function.services.__dict__, "vault", vault)

    return put


def every_twentieth(answer: Answer, first: int) -> Callable[[Request], Answer]:
    """Meet 5 % of the requests with an answer, beginning with the one of this number."""
    numbers = itertools.count(1)
    return lambda _: answer if next(numbers) % 20 == first else None  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("status", "code", "first"), [(503, "ServiceUnavailable", 1), (503, "SlowDown", 4), (500, "InternalError", 9)]
)
def test_a_vault_that_is_busy_now_and_then_only_takes_longer(
    coffre: Coffre,
    shop: str,
    new_database: str,
    weed: Weed,
    vault_at: Callable[[str], None],
    status: int,
    code: str,
    first: int,
) -> None:
    coffre.configure(shop)
    with FaultyStore(weed.endpoint_url) as store:
        vault_at(store.endpoint_url)
        store.script = every_twentieth(Answer.error(status, code), first)

        done = coffre.backup()
        coffre.restore(done["id"], new_database)

        assert len(store.requests) >= first
    assert fingerprint(new_database) == fingerprint(shop)
    assert coffre.troubles() == []


@pytest.mark.parametrize("first", [1, 4, 9])
def test_a_vault_that_refuses_now_and_then_never_gets_half_a_backup(
    coffre: Coffre, shop: str, new_database: str, weed: Weed, vault_at: Callable[[str], None], first: int
) -> None:
    coffre.configure(shop)
    with FaultyStore(weed.endpoint_url) as store:
        vault_at(store.endpoint_url)
        store.script = every_twentieth(Answer.error(403, "AccessDenied"), first)
        codes = [code_of(coffre.backup)]
        while len(codes) < 20 and codes[-1] is None:
            codes.append(code_of(coffre.backup))
        store.script = None

        assert codes[-1] == "STORE_DENIED"
        backups = coffre.backups()
        assert [backup.status for backup in backups] == [
            Status.COMPLETED if code is None else Status.FAILED for code in reversed(codes)
        ]
        done = coffre.backup()
        coffre.restore(done["id"], new_database)
    assert fingerprint(new_database) == fingerprint(shop)


def code_of(run: Callable[[], object]) -> str | None:
    try:
        run()
    except CoffreError as error:
        return error.code
    return None


def test_a_vault_that_does_not_answer_costs_a_backup_no_more_than_its_time(
    coffre: Coffre, shop: str, weed: Weed, vault_at: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its uploads are tried several times, a minute each: longer than what is left."""
    monkeypatch.setattr(heartbeat, "RECORDING_SECONDS", 18.0)
    sand = Sand("backup-database")
    coffre.configure(shop)

    def silent(request: Request) -> Answer:
        sand.run_out()
        return Silence()  # type: ignore[return-value]  # any fault may be answered

    with FaultyStore(weed.endpoint_url) as store:
        vault_at(store.endpoint_url)
        store.script = silent

        error = failed_backup(coffre, "DEADLINE", context=sand)

        assert "was left behind" in str(error.__notes__)
        assert sand.remaining() > 0


def test_a_vault_behind_a_slow_network_only_takes_longer(
    coffre: Coffre, shop: str, new_database: str, weed: Weed, vault_at: Callable[[str], None]
) -> None:
    coffre.configure(shop)
    with FaultyWire(urlsplit(weed.endpoint_url).port or 0, bytes_per_second=150_000) as wire:
        vault_at(f"http://127.0.0.1:{wire.port}")
        done = coffre.backup()
        coffre.restore(done["id"], new_database)

    assert fingerprint(new_database) == fingerprint(shop)


def test_a_vault_whose_first_connections_are_reset_is_asked_again(
    coffre: Coffre, shop: str, new_database: str, weed: Weed, vault_at: Callable[[str], None]
) -> None:
    left = iter(range(2))
    reset = reset_at(-1)

    def fault(before: int, data: bytes) -> bytes | None:
        return data if next(left, None) is None else reset(before, data)

    coffre.configure(shop)
    with FaultyWire(urlsplit(weed.endpoint_url).port or 0, fault) as wire:
        vault_at(f"http://127.0.0.1:{wire.port}")
        done = coffre.backup()
        coffre.restore(done["id"], new_database)

    assert fingerprint(new_database) == fingerprint(shop)
