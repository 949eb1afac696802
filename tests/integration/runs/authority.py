"""A certificate authority of our own, and a server whose certificate can be replaced while it runs."""

from __future__ import annotations

import datetime
import ipaddress
import time
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.integration.conftest import run_sql

from coffre_local.postgres_server import PostgresServer

DAY = datetime.timedelta(days=1)


@dataclass
class Authority:
    """Signs servers' certificates; it began `age` days ago and ends in `left` days (both may be negative)."""

    name: str = "Coffre test authority"
    left: int = 3650
    age: int = 365
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def pem(self) -> str:
        """The certificate that clients trust."""
        builder = _builder(self.name, self.name, self.key, self.age, self.left)
        usage = x509.BasicConstraints(ca=True, path_length=None)
        signed = builder.add_extension(usage, critical=True).sign(self.key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM).decode()

    def install(self, server: PostgresServer, *, left: int = 365, age: int = 1, host: str = "127.0.0.1") -> None:
        """Give the server a certificate for an address, and wait until it uses that."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        builder = _builder(f"server at {host}", self.name, key, age, left).add_extension(names, critical=False)
        signed = builder.sign(self.key, hashes.SHA256())
        # Written into the files that exist: the server's user owns them
        server.certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        server.cluster.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        ((before,),) = run_sql(server.dsn(), "SELECT pg_conf_load_time()")
        run_sql(server.dsn(), "SELECT pg_reload_conf()")
        while run_sql(server.dsn(), "SELECT pg_conf_load_time()") == [(before,)]:
            time.sleep(0.01)


def _builder(
    subject: str, issuer: str, key: ec.EllipticCurvePrivateKey, age: int, left: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    return (
        x509.CertificateBuilder()
        .subject_name(named(subject))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - age * DAY)
        .not_valid_after(now + left * DAY)
    )
