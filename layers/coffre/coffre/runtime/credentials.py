"""Logins and access keys from secrets. Nothing is kept between invocations; one that is refused is read again, once.

A rotation changes the server and the secret one after the other. So what was read may be older than what the server
takes by now, or newer: the version to come (`AWSPENDING`) is looked at too, and what did not change gets a moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from coffre.buckets.client import parse_credentials
from coffre.concurrency.renewal import Renewal
from coffre.model.database_target import DatabaseTarget, FoundDatabase
from coffre.model.errors import CoffreError, SecretError
from coffre.postgres.connection.address import Connection, Login, apply_tls
from coffre.postgres.connection.connection_secret import parse_secret
from coffre.runtime.sources import Stage
from coffre.stores.s3_client import S3Credentials

_PAUSE_SECONDS: Final = 2.0


class ReadSecret(Protocol):
    """Returns a secret's text by its name or ARN."""

    def __call__(self, reference: str, stage: Stage = "AWSCURRENT", /) -> str:
        """Raise what `read_secret` raises."""


def connection_from(read: ReadSecret, reference: str, *, place: str | None = None) -> Connection:
    """Return how to reach the database that a secret names.

    Parameters
    ----------
    place
        How errors name where the address is kept; by default as this secret.

    Raises
    ------
    SecretError
        What `read_secret` and `parse_secret` raise.
    """
    connection = parse_secret(read(reference), where=reference, place=place)

    def parse(text: str) -> Login:
        found = parse_secret(text, where=reference)
        if (found.host, found.port, found.database) != (connection.host, connection.port, connection.database):
            raise SecretError(f"The secret {reference} names another database by now.")
        return found.login

    return replace(connection, renewal=_renewal(read, reference, connection.login, parse))


def target_connection(read: ReadSecret, target: DatabaseTarget) -> Connection:
    """Return how to reach a target's database; of one that was found on a server the secret names another one there.

    Raises
    ------
    SecretError
        What `connection_from` raises.
    """
    connection = connection_from(read, target.secret)
    return connection.to_database(target.database) if isinstance(target, FoundDatabase) else connection


def checked_connection(read: ReadSecret, target: DatabaseTarget, scratch: Path) -> Connection:
    """Return how to reach a target's database, with the certificates that its server is checked by.

    Parameters
    ----------
    scratch
        Gets the file of certificates: needed until the last session is ended.

    Raises
    ------
    SecretError
        What `target_connection` raises.
    """
    connection = target_connection(read, target)
    timeout = target.limits.connect_timeout_seconds
    return apply_tls(connection, target.tls, scratch, connect_timeout_seconds=timeout, read_secret=read)


def keys_from(read: ReadSecret, reference: str, text: str) -> Renewal[S3Credentials]:
    """Return the access key in a secret, given its text; raises what `parse_credentials` raises."""

    def parse(text: str) -> S3Credentials:
        return parse_credentials(text, where=reference)

    return _renewal(read, reference, parse(text), parse)


def _renewal[T](read: ReadSecret, reference: str, value: T, parse: Callable[[str], T]) -> Renewal[T]:
    def read_again(refused: T) -> T | None:
        try:
            current = parse(read(reference))
            if current != refused:
                return current
            pending = _pending(read, reference, parse)
            if pending not in (None, refused):
                return pending
            time.sleep(_PAUSE_SECONDS)
            return parse(read(reference))
        except CoffreError:
            return None  # the refusal says more than a secret that is gone by now

    return Renewal(value, read_again)


def _pending[T](read: ReadSecret, reference: str, parse: Callable[[str], T]) -> T | None:
    """Return what a rotation under way will make current; None when there is none."""
    try:
        return parse(read(reference, "AWSPENDING"))
    except SecretError:
        return None
