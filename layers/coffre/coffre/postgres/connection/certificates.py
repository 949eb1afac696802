"""Which certificates a server is checked with, and until when they are valid."""

from __future__ import annotations

import ctypes
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import psycopg2.extensions

from coffre.model.errors import ConfigurationError

SYSTEM: Final = "system"
_SECRET: Final = "secret:"  # noqa: S105 - the start of a reference
# Amazon Linux 2023 (Lambda), Debian. The driver's own OpenSSL looks where it was built, which exists nowhere.
_SYSTEM_FILES: Final = ("/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt")
_NAME_BYTES: Final = 256


@dataclass(frozen=True)
class Validity:
    """Of the certificate that ends first among those that a connection was verified with. `name` is its subject."""

    name: str
    begins: datetime
    ends: datetime


def system_file() -> str:
    """Return the file of the public authorities: `SSL_CERT_FILE`, the system's, or the one that botocore brings."""
    from botocore.httpsession import where

    for file in (os.environ.get("SSL_CERT_FILE"), *_SYSTEM_FILES):
        if file and Path(file).is_file():
            return file
    return str(where())


def authority_file(ca: str, scratch: Path, read_secret: Callable[[str], str]) -> str:
    """Return the file with the certificates that `tls.ca` means.

    Parameters
    ----------
    ca
        A PEM text, `secret:` and the name of a secret with one, or `system`.
    scratch
        Where the file goes, unless it exists already.

    Raises
    ------
    ConfigurationError
        `TLS_CA_INVALID`: it is no PEM text with certificates.
    """
    if ca == SYSTEM:
        return system_file()
    is_secret = ca.startswith(_SECRET)
    text = read_secret(ca.removeprefix(_SECRET)) if is_secret else ca
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        where = f"The secret {ca.removeprefix(_SECRET)}" if is_secret else "The text in tls.ca"
        raise ConfigurationError(
            f"{where} has no certificates that can be read.",
            code="TLS_CA_INVALID",
            hint="It has to be the provider's CA file as it was downloaded: PEM, one or more blocks from "
            "-----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----, line breaks included.",
        ) from error
    file = scratch / "ca.pem"
    file.write_text(text)
    return str(file)


def all_expired(file: str, now: datetime) -> datetime | None:
    """Return when the last certificate of a file expired; None when one of them is still valid."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(file)
    ends = [_moment(str(found["notAfter"])) for found in context.get_ca_certs()]
    return max(ends) if ends and max(ends) < now else None


def _moment(text: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)


def verified_until(session: psycopg2.extensions.connection) -> Validity | None:
    """Return what ends first of the chain that a session's server was verified with; None without verification.

    The chain goes from the server's certificate to the authority that was chosen among the trusted ones. It is asked of
    the driver's own OpenSSL: the driver shows no certificate.
    """
    library = _library()
    connection = library.PQsslStruct(session.pgconn_ptr, b"OpenSSL") if session.info.ssl_in_use else None
    chain = library.SSL_get0_verified_chain(connection) if connection else None
    if not chain:
        return None
    found = [_validity(library, library.OPENSSL_sk_value(chain, n)) for n in range(library.OPENSSL_sk_num(chain))]
    return min(found, key=lambda one: one.ends, default=None)


def _validity(library: Any, certificate: int) -> Validity:
    name = ctypes.create_string_buffer(_NAME_BYTES)
    library.X509_NAME_oneline(library.X509_get_subject_name(certificate), name, _NAME_BYTES)
    begins, ends = library.X509_get0_notBefore(certificate), library.X509_get0_notAfter(certificate)
    return Validity(name.value.decode("utf-8", "replace"), _time(library, begins), _time(library, ends))


class _Tm(ctypes.Structure):
    """C's `struct tm`, with room for what a platform adds to it."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("sec", "min", "hour", "mday", "mon", "year")),
        ("rest", ctypes.c_char * 64),
    )


def _time(library: Any, time: int) -> datetime:
    tm = _Tm()
    library.ASN1_TIME_to_tm(time, ctypes.byref(tm))
    return datetime(tm.year + 1900, tm.mon + 1, tm.mday, tm.hour, tm.min, tm.sec, tzinfo=UTC)


@cache
def _library() -> Any:
    """Return the functions of libpq and OpenSSL as the driver itself finds them."""
    import psycopg2._psycopg

    library = ctypes.PyDLL(psycopg2._psycopg.__file__)
    pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    for name, result, arguments in (
        ("PQsslStruct", pointer, (pointer, text)),
        ("SSL_get0_verified_chain", pointer, (pointer,)),
        ("OPENSSL_sk_num", number, (pointer,)),
        ("OPENSSL_sk_value", pointer, (pointer, number)),
        ("X509_get_subject_name", pointer, (pointer,)),
        ("X509_NAME_oneline", pointer, (pointer, text, number)),
        ("X509_get0_notBefore", pointer, (pointer,)),
        ("X509_get0_notAfter", pointer, (pointer,)),
        ("ASN1_TIME_to_tm", number, (pointer, pointer)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, list(arguments)
    return library
