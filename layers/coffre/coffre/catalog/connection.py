"""The connection to a table: pynamodb's, with items as DynamoDB sends them, on a session that others use too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import botocore.session
from botocore.parsers import JSONParser, ResponseParserFactory
from pynamodb.connection.base import Connection, MetaTable
from pynamodb.connection.table import TableConnection

from coffre.concurrency.shared_session import SharedSession

CONNECT_TIMEOUT_SECONDS: Final = 2  # Inside AWS a connection takes milliseconds; without a route it never comes.
READ_TIMEOUT_SECONDS: Final = 5  # Calls take milliseconds; a run must not wait long for a heartbeat.
RETRIES: Final = 3  # botocore's standard mode: about 7 seconds in all when throttled, far less when refused.


def connect(
    name: str,
    definition: Mapping[str, Any],
    *,
    region: str | None,
    endpoint_url: str | None,
    session: botocore.session.Session | None,
) -> TableConnection:
    """Return the connection to a table with this definition. Its client is made on the first call."""
    table = TableConnection(name)
    table.connection = _Connection(
        session,
        region=region,
        host=endpoint_url,
        connect_timeout_seconds=CONNECT_TIMEOUT_SECONDS,
        read_timeout_seconds=READ_TIMEOUT_SECONDS,
        max_retry_attempts=RETRIES,
    )
    table.connection.add_meta_table(MetaTable({"TableName": name, **definition}))
    return table


class _Connection(Connection):
    """pynamodb has a session for each thread, each of which reads the descriptions of endpoints again: 0.1 s."""

    def __init__(self, session: botocore.session.Session | None, **options: Any) -> None:
        super().__init__(**options)
        self._session = session

    @property
    def session(self) -> botocore.session.Session:
        if self._session is None:
            self._session = SharedSession()
        self._session.register_component("response_parser_factory", _Parsers())
        return self._session


class _Parsers(ResponseParserFactory):
    def create_parser(self, protocol_name: str) -> Any:
        return _Answers() if protocol_name == "json" else super().create_parser(protocol_name)


class _Answers(JSONParser):
    """Leaves items as they are. botocore copies each attribute of each, by its type, which is most of a query's time.

    The copy differs in binary values alone: items have none.
    """

    def _handle_map(self, shape: Any, value: Any) -> Any:
        return value if shape.value.name == "AttributeValue" else super()._handle_map(shape, value)  # type: ignore[misc]
