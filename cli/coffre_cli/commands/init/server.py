"""The database's address: read without ever showing it, and tried immediately."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from coffre.model.errors import CoffreError, SecretError
from coffre_cli.commands.init.questions import InitError

if TYPE_CHECKING:
    from coffre.model.provider import Provider
    from coffre.policy.profiles import Profile
    from coffre.postgres.connection.address import Connection

# Refusals that only say that this machine is elsewhere: the function may get through.
_ELSEWHERE: Final = frozenset({"HOST_UNKNOWN", "HOST_UNREACHABLE", "CONNECTION_REFUSED", "CONNECTION_TIMEOUT"})
# What providers keep on every server for themselves.
_PROVIDERS_OWN: Final = ("rdsadmin", "azure_maintenance", "azure_sys", "cloudsqladmin", "_dodb")
_DATABASES: Final = """
SELECT datname FROM pg_catalog.pg_database
WHERE datallowconn AND NOT datistemplate AND pg_catalog.has_database_privilege(oid, 'CONNECT') ORDER BY datname
"""


@dataclass(frozen=True)
class Address:
    """A database URL, or JSON as RDS writes it. Its text is a secret, and is never shown."""

    text: str = field(repr=False)
    connection: Connection

    @classmethod
    def parse(cls, text: str, place: str) -> Address:
        """Check what can be checked without connecting.

        Raises
        ------
        InitError
            It is no address.
        ConnectError
            `TRANSACTION_POOLER`
        """
        from coffre.postgres.connection.connection_secret import parse_secret
        from coffre.postgres.connection.poolers import refuse_transaction_pooler

        try:
            connection = parse_secret(text, where=place, place=place)
        except SecretError as error:
            raise InitError(
                "This is not the address of a database.",
                detail=error.detail,
                hint="For example postgresql://USER:PASSWORD@HOST:5432/DATABASE, as your provider shows it.",
            ) from error
        refuse_transaction_pooler(connection)
        return cls(text.strip(), connection)

    def of_database(self, name: str) -> str:
        """Return the text for another database of the same server."""
        if name == self.connection.database:
            return self.text
        if self.text.startswith("{"):
            fields = json.loads(self.text)
            if isinstance(fields.get("url"), str):
                return json.dumps({**fields, "url": _with_path(fields["url"], name)})
            key = "database" if "dbname" not in fields else "dbname"
            return json.dumps({**fields, key: name})
        return _with_path(self.text, name)


def _with_path(url: str, database: str) -> str:
    return urlsplit(url)._replace(path=f"/{quote(database, safe='')}").geturl()


def given_address(option: str) -> str:
    """Return the text that `--address` leads to: `env:NAME` or `file:PATH`.

    Raises
    ------
    InitError
        It is neither, or leads to nothing; the value is not repeated, as it may be the address itself.
    """
    kind, _, place = option.partition(":")
    if kind == "env":
        text = os.environ.get(place, "")
        if not text:
            raise InitError(
                f"The variable {place} is empty, or not exported.",
                hint=f"Export it first: export {place}=postgresql://...",
            )
        return text
    if kind == "file":
        try:
            return Path(place).read_text(encoding="utf-8")
        except (OSError, UnicodeError) as error:
            raise InitError(f"The file {place} cannot be read: {error}", hint="Check the path.") from error
    raise InitError(
        "--address takes env:NAME or file:PATH.",
        hint="The address itself would stay in the shell's history, and others on this machine could see it.",
    )


@dataclass(frozen=True)
class Server:
    """What the address leads to; without a `version` it could not be reached from this machine."""

    version: str | None
    databases: tuple[str, ...]
    profile: Profile | None = None
    refusal: CoffreError | None = None


def look_at(address: Address, provider: Provider) -> Server:
    """Connect and ask for the version, the databases, and whose server it is.

    Raises
    ------
    CoffreError
        The server answered, and refuses: a wrong password, TLS. Not: that this machine does not reach it.
    """
    from coffre.policy.profiles import detect
    from coffre.postgres.connection.connect import connect
    from coffre.postgres.connection.provider_facts import read_provider_facts

    own = address.connection
    try:
        with connect(own) as session, session.cursor() as cursor:

            def query(text: str, values: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
                cursor.execute(text, values)
                return cursor.fetchall()

            [(version,)] = query("SELECT pg_catalog.current_setting('server_version')")
            found = [str(name) for (name,) in query(_DATABASES)]
            profile = detect(read_provider_facts(query, own.host), provider)
    except CoffreError as error:
        if error.code in _ELSEWHERE:
            return Server(None, (own.database,), refusal=error)
        raise
    databases = tuple(name for name in found if name not in _PROVIDERS_OWN)
    return Server(str(version).split(" ")[0], databases, profile)
