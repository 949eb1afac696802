"""Why a server's certificate is not trusted: libpq only says that it is not."""

from __future__ import annotations

import socket
import ssl
import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from coffre.model.errors import ConnectError
from coffre.postgres.connection.certificates import all_expired

if TYPE_CHECKING:
    from coffre.postgres.connection.address import Connection

# PostgreSQL's protocol: its length, and the number of a request for TLS.
_TLS_REQUEST: Final = struct.pack("!ii", 8, 80877103)
# OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED, _HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH.
_EXPIRED: Final = 10
_ANOTHER_NAME: Final = (62, 64)


def explain_untrusted(connection: Connection, said: str) -> ConnectError:
    """Return the error of a certificate that was not accepted, after a look at it.

    Parameters
    ----------
    said
        libpq's words.
    """
    host, file = connection.host, connection.sslrootcert
    if file is None:
        return ConnectError(
            f"The certificate of {host} cannot be verified: no authority (CA) is configured.",
            code="TLS_UNTRUSTED",
            detail=said,
            hint="Put the provider's CA (PEM) into the target's tls.ca; \"system\" if a public authority signed it.",
        )
    return _of_authority(connection, file, said) or _of_certificate(connection, file, said)


def _of_authority(connection: Connection, file: str, said: str) -> ConnectError | None:
    """Return what is wrong with the file that the certificate is checked with; None: nothing."""
    host = connection.host
    if not Path(file).is_file():
        return ConnectError(
            f"The CA file {file}, which {host} is to be checked with, does not exist here.",
            code="TLS_UNTRUSTED",
            detail=said,
            hint=f"Take sslrootcert out of {connection.place}, and put the CA (PEM) into the target's tls.ca.",
        )
    if ended := all_expired(file, datetime.now(UTC)):
        return ConnectError(
            f"The CA that {host} is checked with has expired on {ended:%Y-%m-%d}.",
            code="TLS_CA_EXPIRED",
            detail=said,
            hint="Download the provider's present CA file, and put it into the target's tls.ca (docs/roles.md).",
        )
    return None


def _of_certificate(connection: Connection, file: str, said: str) -> ConnectError:
    host = connection.host
    number, words = _look(connection, file)
    detail = f"{said} ({words})" if words else said
    if number == _EXPIRED:
        return ConnectError(
            f"The certificate of {host} has expired, or one that signed it.",
            code="TLS_CERTIFICATE_EXPIRED",
            detail=detail,
            hint="Renew it at the server; on a managed one, choose the provider's present certificate authority.",
        )
    if number in _ANOTHER_NAME or "does not match host name" in said:
        return ConnectError(
            f"The certificate of {host} is for another host name.",
            code="TLS_HOST_MISMATCH",
            detail=detail,
            hint=f"Use the name that the provider shows, in {connection.place}. tls.mode verify-ca does not compare "
            "names: any server with a certificate of the same authority could then pose as yours.",
        )
    return ConnectError(
        f"The certificate of {host} was signed by no authority in tls.ca.",
        code="TLS_UNTRUSTED",
        detail=detail,
        hint="Put the CA file of this server's provider and region into the target's tls.ca (docs/roles.md).",
    )


def _look(connection: Connection, file: str) -> tuple[int, str]:
    """Begin TLS as libpq does, and return OpenSSL's number and words for what is wrong with the certificate."""
    # Not Python's defaults, which are stricter than libpq's.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(file)
    context.check_hostname = connection.sslmode == "verify-full"
    seconds = connection.connect_timeout_seconds
    try:
        with socket.create_connection((connection.host, connection.port), timeout=seconds) as plain:
            plain.sendall(_TLS_REQUEST)
            if plain.recv(1) != b"S":
                return 0, ""
            with context.wrap_socket(plain, server_hostname=connection.host):
                return 0, ""
    except ssl.SSLCertVerificationError as error:
        return error.verify_code, error.verify_message
    except (OSError, ValueError):
        return 0, ""
