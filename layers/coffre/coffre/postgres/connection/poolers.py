"""Poolers that no backup can use are refused before anything connects."""

from __future__ import annotations

from coffre.model.errors import ConnectError
from coffre.policy.poolers import session_endpoint
from coffre.postgres.connection.address import Connection


def refuse_transaction_pooler(connection: Connection) -> None:
    """Refuse endpoints where a session does not keep its transaction and its settings.

    Raises
    ------
    ConnectError
        Code `TRANSACTION_POOLER`, naming the endpoint to use instead.
    """
    instead = session_endpoint(connection.host, connection.port)
    if instead is not None:
        raise ConnectError(
            f"{connection} is a transaction pooler: a consistent backup needs a session.",
            code="TRANSACTION_POOLER",
            hint=f"{instead} Change it in {connection.place}.",
        )
