"""Endpoints that keep no session are refused, with the one to use instead."""

import pytest

from coffre.model.errors import ConnectError
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.poolers import refuse_transaction_pooler


@pytest.mark.parametrize(
    ("host", "port", "hint"),
    [
        ("ep-cool-1-pooler.eu-central-1.aws.neon.tech", 5432, "host ep-cool-1.eu-central-1.aws.neon.tech"),
        ("aws-0-eu-west-1.pooler.supabase.com", 6543, "same host aws-0-eu-west-1.pooler.supabase.com with port 5432"),
        ("10.0.0.1", 6543, "port 5432"),
    ],
)
def test_transaction_poolers_are_refused_with_the_endpoint_to_use(host: str, port: int, hint: str) -> None:
    with pytest.raises(ConnectError) as caught:
        refuse_transaction_pooler(Connection(host, port, "u", "p", "d"))

    assert caught.value.code == "TRANSACTION_POOLER"
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("aws-0-eu-west-1.pooler.supabase.com", 5432),
        ("db.abc.supabase.co", 5432),
        ("ep-cool-1.eu-central-1.aws.neon.tech", 5432),
        ("my-pooler", 5432),
    ],
)
def test_session_endpoints_are_not(host: str, port: int) -> None:
    refuse_transaction_pooler(Connection(host, port, "u", "p", "d"))
