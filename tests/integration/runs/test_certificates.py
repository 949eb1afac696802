"""Servers that are verified: by a CA in the document, in a secret, or of the system; and what is said when it fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.conftest import SHOP, Coffre, run_sql
from tests.integration.expect import failed_backup
from tests.integration.runs.authority import Authority

from coffre.postgres.connection import certificates
from coffre_local.postgres_server import PostgresServer, ServerOptions
from coffre_local.toolchain import Toolchain


@pytest.fixture(scope="module")
def verified_server(toolchain: Toolchain) -> Iterator[PostgresServer]:
    with PostgresServer(toolchain.postgresql(18), ServerOptions(tls=True, password="hidden-word")) as server:
        run_sql(server.create_database("shop"), SHOP)
        yield server


@pytest.fixture
def authority() -> Authority:
    return Authority()


def heard(coffre: Coffre) -> list[tuple[str, str]]:
    attributes = [alert["MessageAttributes"] for alert in coffre.alerts()]
    return [(one["kind"]["Value"], one["state"]["Value"]) for one in attributes]


def test_a_ca_in_the_document_verifies_the_server(
    coffre: Coffre, verified_server: PostgresServer, authority: Authority
) -> None:
    authority.install(verified_server)
    coffre.configure(verified_server.dsn("shop"), target={"tls": {"ca": authority.pem}})

    assert coffre.backup()["status"] == "COMPLETED"
    assert heard(coffre) == []


def test_a_bundle_may_have_others_and_expired_ones(
    coffre: Coffre, verified_server: PostgresServer, authority: Authority
) -> None:
    """Those of RDS have all that were ever in use."""
    authority.install(verified_server)
    bundle = Authority("expired", left=-1).pem + Authority("of another region").pem + authority.pem
    coffre.secret("coffre/database/ca", f"# a comment, as some files have\n{bundle}")
    coffre.configure(
        verified_server.dsn("shop"), target={"tls": {"mode": "verify-full", "ca": "secret:coffre/database/ca"}}
    )

    assert coffre.backup()["status"] == "COMPLETED"
    assert heard(coffre) == []


def test_system_means_the_authorities_of_the_system(
    coffre: Coffre,
    verified_server: PostgresServer,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    authority.install(verified_server)
    coffre.configure(verified_server.dsn("shop"), target={"tls": {"ca": "system"}})
    failed_backup(coffre, "TLS_UNTRUSTED", "was signed by no authority in tls.ca")

    store = tmp_path / "store.pem"
    store.write_text(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(store))
    assert coffre.backup()["status"] == "COMPLETED"

    # And in an address, as Neon shows it
    coffre.configure(verified_server.dsn("shop", sslmode="verify-full", sslrootcert="system"))
    assert coffre.backup()["status"] == "COMPLETED"


def test_the_systems_file_exists_wherever_coffre_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    assert "BEGIN CERTIFICATE" in Path(certificates.system_file()).read_text()
    monkeypatch.setattr(certificates, "_SYSTEM_FILES", ())
    assert "BEGIN CERTIFICATE" in Path(certificates.system_file()).read_text()


@pytest.mark.parametrize(
    ("ca", "code", "words"),
    [
        ("secret:coffre/database/gone", "SECRET_MISSING", "coffre/database/gone"),
        ("secret:coffre/database/shop", "TLS_CA_INVALID", "The secret coffre/database/shop has no certificates"),
        ("-----BEGIN CERTIFICATE-----\nMIIB", "TLS_CA_INVALID", "The text in tls.ca has no certificates"),
    ],
)
def test_a_ca_that_cannot_be_read_is_named(
    coffre: Coffre, verified_server: PostgresServer, ca: str, code: str, words: str
) -> None:
    coffre.configure(verified_server.dsn("shop"), target={"tls": {"ca": ca}})

    failed_backup(coffre, code, words)


def test_a_ca_that_is_a_word_is_refused_by_the_configuration(coffre: Coffre, verified_server: PostgresServer) -> None:
    coffre.configure(verified_server.dsn("shop"), target={"tls": {"ca": "/etc/ca.pem"}})

    failed_backup(coffre, "CONFIGURATION_INVALID", "tls.ca", recorded=False)


def test_the_ca_of_another_is_named(coffre: Coffre, verified_server: PostgresServer, authority: Authority) -> None:
    authority.install(verified_server)
    coffre.configure(verified_server.dsn("shop"), target={"tls": {"ca": Authority("another").pem}})

    failed_backup(coffre, "TLS_UNTRUSTED", "was signed by no authority in tls.ca", "this server's provider")


def test_an_expired_certificate_is_not_called_untrusted(
    coffre: Coffre, verified_server: PostgresServer, authority: Authority
) -> None:
    authority.install(verified_server, left=-1, age=100)
    coffre.configure(verified_server.dsn("shop"), target={"tls": {"ca": authority.pem}})

    failed_backup(coffre, "TLS_CERTIFICATE_EXPIRED", "The certificate of 127.0.0.1 has expired", "Renew it")


def test_an_expired_ca_is_not_called_untrusted(
    coffre: Coffre, verified_server: PostgresServer, authority: Authority
) -> None:
    authority.left = -3
    authority.install(verified_server)
    coffre.configure(verified_server.dsn("shop"), target={"tls": {"ca": authority.pem}})

    failed_backup(coffre, "TLS_CA_EXPIRED", "The CA that 127.0.0.1 is checked with has expired on", "tls.ca")


def test_another_host_name_is_not_called_untrusted(
    coffre: Coffre, verified_server: PostgresServer, authority: Authority
) -> None:
    authority.install(verified_server, host="10.1.2.3")
    coffre.configure(verified_server.dsn("shop"), target={"tls": {"ca": authority.pem}})

    failed_backup(
        coffre, "TLS_HOST_MISMATCH", "is for another host name", "10.1.2.3", "verify-ca does not compare names"
    )

    # What the message says
    coffre.configure(verified_server.dsn("shop"), target={"tls": {"ca": authority.pem, "mode": "verify-ca"}})
    assert coffre.backup()["status"] == "COMPLETED"


def test_a_server_without_tls_cannot_be_verified(coffre: Coffre, shop: str, authority: Authority) -> None:
    coffre.configure(shop, target={"tls": {"ca": authority.pem}})

    failed_backup(coffre, "TLS_REFUSED", "does not accept TLS as asked for (sslmode=verify-full)")


# --- before it ends ---


def test_a_certificate_that_ends_soon_is_reported_until_it_is_renewed(
    coffre: Coffre, verified_server: PostgresServer, authority: Authority
) -> None:
    authority.install(verified_server, age=345, left=20)
    coffre.configure(verified_server.dsn("shop"), target={"tls": {"ca": authority.pem}})

    coffre.backup()
    (alert,) = coffre.alerts()
    assert "CN=server at 127.0.0.1" in alert["Message"]
    assert "tls.ca" in alert["Message"]
    assert alert["MessageAttributes"]["kind"]["Value"] == "CERTIFICATE_EXPIRES"
    coffre.backup()
    assert heard(coffre) == [], "once"

    authority.install(verified_server)
    coffre.backup()
    assert heard(coffre) == [("CERTIFICATE_EXPIRES", "recovered")]


def test_a_ca_that_ends_soon_is_reported_although_the_certificate_does_not(
    coffre: Coffre, verified_server: PostgresServer, authority: Authority
) -> None:
    authority.left = 10
    authority.install(verified_server)
    coffre.configure(verified_server.dsn("shop"), target={"tls": {"ca": authority.pem}})

    coffre.backup()

    (alert,) = coffre.alerts()
    assert "CN=Coffre test authority" in alert["Message"]


def test_a_certificate_that_nobody_checks_is_not_reported(
    coffre: Coffre, verified_server: PostgresServer, authority: Authority
) -> None:
    authority.install(verified_server, left=1)
    coffre.configure(verified_server.dsn("shop"), target={"tls": {"mode": "require"}})

    coffre.backup()

    assert heard(coffre) == []
