"""Clients for S3, and for stores that speak its protocol."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, cast
from urllib.parse import urlsplit

import botocore.session
from botocore.config import Config

from coffre.model.errors import SettingsError
from coffre.stores.s3_locks import md5_for_locks
from coffre.stores.s3_put import sign_by_digest

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


Addressing = Literal["auto", "path", "virtual"]


@dataclass(frozen=True, slots=True)
class S3Credentials:
    """An access key, where the environment's own (the function's role) is not the right one."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class RetryLimits:
    """How often a request is sent, and how long the store has to answer.

    A healthy store answers within a second; a function has 15 minutes in all, and tries several times.

    Parameters
    ----------
    attempts
        Of each request, in all, with growing random pauses in between (botocore's "standard" mode).
    connect_seconds, read_seconds
        Longest wait for a connection, and for the next bytes on one.
    """

    attempts: int = 6
    connect_seconds: float = 10.0
    read_seconds: float = 60.0


_DEFAULT_LIMITS: Final = RetryLimits()


def make_client(
    *,
    session: botocore.session.Session | None = None,
    region: str | None = None,
    endpoint_url: str | None = None,
    credentials: S3Credentials | None = None,
    addressing: Addressing = "auto",
    max_connections: int = 16,
    limits: RetryLimits = _DEFAULT_LIMITS,
) -> S3Client:
    """Return an S3 client for one or several `S3Store`s. It is thread-safe; the caller closes it.

    Parameters
    ----------
    session
        Shared with other clients, so that descriptions of services are read once; a new one when not given.
    region
        Region of the bucket; the environment's when not given.
    endpoint_url
        Address of a store that is not AWS (or of an emulator), without credentials in it. The SHA-256 of every body is
        then part of the signature: such a store may not know the newer checksums.
    credentials
        The environment's when not given.
    addressing
        Whether the bucket stands in the path or in the host's name; "auto": in the path where an endpoint is given.
    max_connections
        Connections kept open; as many as threads use the store, or they wait for each other.
    limits
        Attempts and timeouts.

    Raises
    ------
    SettingsError
        The endpoint is not an http(s) address, or has credentials in it.
    """
    if endpoint_url is not None:
        _check_endpoint(endpoint_url)
    client = (session or botocore.session.get_session()).create_client(
        "s3",
        region_name=region,
        endpoint_url=endpoint_url,
        aws_access_key_id=credentials.access_key_id if credentials else None,
        aws_secret_access_key=credentials.secret_access_key if credentials else None,
        aws_session_token=credentials.session_token if credentials else None,
        config=_config(endpoint_url, addressing, max_connections, limits),
    )
    if endpoint_url is not None:
        sign_by_digest(client)
    md5_for_locks(client)
    return cast("S3Client", client)


def _config(endpoint_url: str | None, addressing: Addressing, max_connections: int, limits: RetryLimits) -> Config:
    return Config(
        signature_version="s3v4",
        retries={"mode": "standard", "total_max_attempts": limits.attempts},
        connect_timeout=limits.connect_seconds,
        read_timeout=limits.read_seconds,
        max_pool_connections=max_connections,
        tcp_keepalive=True,
        # The default CRC trailers break R2, B2 and older MinIO (aws-sdk-js-v3#6810); every put has a digest of ours.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={
            "addressing_style": "path" if endpoint_url and addressing == "auto" else addressing,
            # AWS checks the digest header, which is signed: hashing the body once more for the signature adds nothing.
            "payload_signing_enabled": endpoint_url is not None,
        },
    )


def _check_endpoint(endpoint_url: str) -> None:
    parts = urlsplit(endpoint_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise SettingsError(
            "The endpoint of a store is not an http(s) address without credentials.",
            hint="Write it as https://host[:port]; put the access key into the secret that the vault names.",
        )
