"""Secrets into connections: every shape that people store, and no word of a wrong one in an error."""

import json
import traceback
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from psycopg2.extensions import parse_dsn

from coffre.model.database_target import Tls
from coffre.model.errors import SecretError
from coffre.postgres.connection.address import Connection, apply_tls, conninfo_of
from coffre.postgres.connection.connection_secret import parse_secret
from coffre.postgres.connection.session_settings import session_settings
from coffre_local.certificate import write_certificate

RDS = {
    "engine": "postgres",
    "host": "shop.abc.eu-west-1.rds.amazonaws.com",
    "username": "app",
    "password": "p@ss/w:rd?#[]%",
    "dbname": "shop",
    "port": 5433,
    "dbInstanceIdentifier": "shop",
    "masterarn": "arn:aws:secretsmanager:x",
}
text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


def refused(secret: str) -> SecretError:
    with pytest.raises(SecretError) as caught:
        parse_secret(secret, where="coffre/database/shop")
    return caught.value


def everything_of(error: BaseException) -> str:
    """All that a log could hold of an error: its texts, those of its causes, and the tracebacks."""
    return " ".join(str(value) for value in vars(error).values()) + "".join(traceback.format_exception(error))


@given(
    text, text, text, st.sampled_from(["db.example.com", "10.0.0.1", "[::1]", "[2001:db8::1]"]), st.integers(1, 65535)
)
def test_any_user_password_and_database_survive_percent_encoding(
    user: str, password: str, database: str, host: str, port: int
) -> None:
    user, password, database = (part.replace("/", "|") for part in (user, password, database))
    url = f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@{host}:{port}/{quote(database, safe='')}"

    connection = parse_secret(f"  {url}\n", where="x")

    assert (connection.user, connection.password, connection.database) == (user, password, database)
    assert (connection.host, connection.port) == (host.strip("[]"), port)
    assert password == connection.environment()["PGPASSWORD"]


@given(text, text, text)
def test_any_user_password_and_database_survive_json(user: str, password: str, database: str) -> None:
    connection = parse_secret(
        json.dumps({**RDS, "username": user, "password": password, "dbname": database}), where="x"
    )

    assert (connection.user, connection.password, connection.database) == (user, password, database)
    assert (connection.host, connection.port) == (RDS["host"], 5433)


@pytest.mark.parametrize(
    ("secret", "shown", "sslmode"),
    [
        ("postgres://app:x@h/shop", "h:5432/shop", "require"),
        ("postgresql://app@h:1/shop?sslmode=verify-full", "h:1/shop", "verify-full"),
        ("postgresql://app:x@ep-1.neon.tech/shop?sslmode=require&channel_binding=require", "ep-1.neon.tech:5432/shop",
         "require"),
        ("postgresql://app:x@localhost/shop", "localhost:5432/shop", "prefer"),
        ("postgresql://app:x@127.0.0.9/shop", "127.0.0.9:5432/shop", "prefer"),
        ("postgresql://app:x@[::1]/shop", "::1:5432/shop", "prefer"),
        ("postgresql://app:x@10.0.0.1/shop", "10.0.0.1:5432/shop", "require"),
        ("postgresql://app:x@localhost.example.com/shop", "localhost.example.com:5432/shop", "require"),
        (json.dumps({**RDS, "port": "5432"}), f"{RDS['host']}:5432/shop", "require"),
        (json.dumps({"host": "h", "user": "a", "password": "", "database": "d"}), "h:5432/d", "require"),
        (json.dumps({**RDS, "sslmode": "verify-ca"}), f"{RDS['host']}:5433/shop", "verify-ca"),
        (json.dumps({"url": "postgresql://app:x@h/shop", "note": "mine"}), "h:5432/shop", "require"),
    ],
)  # fmt: skip
def test_each_shape_is_read(secret: str, shown: str, sslmode: str) -> None:
    connection = parse_secret(secret, where="x")

    assert str(connection) == shown
    assert connection.sslmode == sslmode


@pytest.mark.parametrize(
    ("secret", "detail"),
    [
        ("", "neither a postgresql:// URL nor a JSON object"),
        ("hunter2", "neither a postgresql:// URL nor a JSON object"),
        ('"hunter2"', "neither a postgresql:// URL nor a JSON object"),
        ("mysql://app:hunter2@h/shop", "neither a postgresql:// URL nor a JSON object"),
        ("postgresql://", "the URL has no host and no user and no database"),
        ("postgresql://app:hunter2@h", "the URL has no database"),
        ("postgresql://h/shop", "the URL has no user"),
        ("postgresql://app:hunter2@/shop", "the URL has no host"),
        ("postgresql://app:hun/ter2@h/shop", "the URL cannot be read; percent-encode"),
        ("postgresql://app:hunter2@h:port/shop", "the URL cannot be read; percent-encode"),
        ("postgresql://app:hun[ter2@h/shop", "the URL cannot be read; percent-encode"),
        ("postgresql://app:hunter2@h:0/shop", "port is not a number from 1 to 65535"),
        ("postgresql://app:x@h/shop?pgbouncer=true", "unknown URL option pgbouncer; allowed: channel_binding, sslmode"),
        ("postgresql://app:p@h/s?hunter2=@real/shop", "unknown URL option (not repeated)"),
        ("postgresql://app:x@h/shop?sslmode=of", "sslmode is none of disable"),
        ("postgresql://app:x@h/shop?channel_binding=hunter2", "channel_binding is none of disable"),
        ("postgresql://app:hunter2%00@h/shop", "password has a NUL character"),
        (json.dumps({}), "missing or not text: host, username, password, dbname"),
        (json.dumps({**RDS, "password": 12345678}), "missing or not text: password"),
        (json.dumps({**RDS, "dbname": ""}), "missing or not text: dbname"),
        (json.dumps({**RDS, "port": "hunter2"}), "port is not a number"),
        (json.dumps({**RDS, "port": [5432]}), "port is not a number"),
        (json.dumps({"url": "hunter2"}), "its url does not begin with postgresql://"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_repeated(secret: str, detail: str) -> None:
    error = refused(secret)

    assert error.code == "SECRET_SHAPE"
    assert "coffre/database/shop" in error.message
    assert detail in (error.detail or "")
    assert "hunter2" not in everything_of(error)
    assert "12345678" not in everything_of(error)


_MARK = "hunter2"
_PIECES = st.sampled_from(
    ["postgresql://", "app", ":", "@", "/", "?", "&", "=", "#", "[", "]", "%", "%00", "5432", "h", " ", "{", '"']
)


@given(st.lists(_PIECES | st.just(_MARK), max_size=14))
def test_no_malformed_url_is_ever_repeated(pieces: list[str]) -> None:
    secret = "postgresql://" + "".join(pieces)
    assume(_MARK in secret)

    assert _MARK not in said_of(secret)


def said_of(secret: str) -> str:
    """All that is shown of a secret, whether it can be read or not; user, host and database may be shown."""
    try:
        connection = parse_secret(secret, where="x")
    except SecretError as error:
        return everything_of(error)
    return repr(replace(connection, user="", host="", database=""))


@given(
    st.recursive(st.none() | st.booleans() | st.just(_MARK) | st.integers(10**8, 10**9), st.lists, max_leaves=4),
    st.data(),
)
def test_no_malformed_json_is_ever_repeated(value: Any, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(["host", "username", "password", "dbname", "port", "sslmode", "url"]))
    secret = {**RDS, "password": _MARK, field: value}

    assert _MARK not in said_of(json.dumps(secret))


def test_a_password_is_in_no_representation() -> None:
    connection = parse_secret(json.dumps({**RDS, "password": "hunter2"}), where="x")

    assert "hunter2" not in f"{connection} {connection!r}"
    assert "hunter2" not in repr(connection.to_database("other"))
    assert connection.to_database("other").database == "other"


def no_secret(name: str) -> str:
    raise AssertionError(name)


def test_a_ca_makes_full_verification_the_default(tmp_path: Path) -> None:
    connection = Connection("h", 5432, "u", "p", "d")
    certificate = write_certificate(tmp_path, now=datetime.now(UTC))[0].read_text()

    full = apply_tls(connection, Tls(ca=certificate), tmp_path, connect_timeout_seconds=3, read_secret=no_secret)
    chosen = apply_tls(
        connection, Tls(ca=certificate, mode="verify-ca"), tmp_path, connect_timeout_seconds=3, read_secret=no_secret
    )
    plain = apply_tls(connection, Tls(mode="disable"), tmp_path, connect_timeout_seconds=3, read_secret=no_secret)
    untouched = apply_tls(connection, Tls(), tmp_path, connect_timeout_seconds=3, read_secret=no_secret)

    assert full.sslmode == "verify-full"
    assert Path(full.environment()["PGSSLROOTCERT"]).read_text() == certificate
    assert chosen.sslmode == "verify-ca"
    assert (plain.sslmode, plain.sslrootcert) == ("disable", None)
    assert untouched.sslmode == "require"
    assert full.environment()["PGCONNECT_TIMEOUT"] == "3"


@given(text)
def test_a_database_name_cannot_add_to_a_connection_string(name: str) -> None:
    assert parse_dsn(conninfo_of(name)) == {"dbname": name}


def test_newer_servers_get_settings_that_older_ones_do_not_know() -> None:
    assert not any("transaction_timeout" in text and "idle" not in text for text in session_settings(160000))
    assert "SET transaction_timeout = 0" in session_settings(170000)
    assert "SET row_security = off" in session_settings(130000)
