"""A gate with a catalog, a configuration and a played identity provider; what it records and reports is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from moto import mock_aws
from tests.catalog_table import create
from tests.unit.console.access.issuer import PlayedIssuer

from coffre.alerts.alert import Alert
from coffre.catalog.catalog import Catalog
from coffre.model.audit import AuditEvent
from coffre.model.configuration import Configuration, parse_configuration
from coffre.operations.monitoring.alerting import Alerting
from coffre.runtime.function import Edge
from coffre.runtime.observability import make_logger
from coffre_console.access.gate import Gate
from coffre_console.access.request import Request

NOW = datetime(2026, 11, 29, 3, tzinfo=UTC)
BASE = "https://backups.example.com"
ROLES = [
    {"group": "dba", "role": "admin"},
    {"group": "dev", "role": "viewer"},
    {"group": "shop", "role": "restorer", "targets": ["shop"]},
]


def configuration(**console: Any) -> Configuration:
    """Return a configuration with three targets and a console."""
    issuer = {"issuer": PlayedIssuer().url, "client_id": "coffre", "roles": ROLES}
    targets = [{"name": name, "secret": f"coffre/database/{name}"} for name in ("shop", "billing", "files")]
    whole = {"encryption": "none", "targets": targets, "console": {**issuer, **console}}
    return parse_configuration(json.dumps(whole), where="a test")


def request(method: str = "GET", path: str = "/", **fields: Any) -> Request:
    """Return a request to the console; what is not given is empty."""
    empty: dict[str, Any] = {"headers": {}, "query": {}, "cookies": {}, "body": "", "address": "192.0.2.1"}
    return Request(method=method, path=path, origin=BASE, **{**empty, **fields})


@dataclass
class Published:
    """A topic that keeps what it is given."""

    alerts: list[Alert] = field(default_factory=list)

    def publish(self, alert: Alert) -> None:
        self.alerts.append(alert)


@dataclass
class Scene:
    """The gate, and what can be seen from outside."""

    catalog: Catalog
    topic: Published
    issuer: PlayedIssuer
    current: Configuration
    gate: Gate = field(init=False)

    def configure(self, **console: Any) -> None:
        """Put another section `console` in effect."""
        self.current = configuration(**console)

    @property
    def alerts(self) -> list[Alert]:
        """What was reported."""
        return self.topic.alerts

    def audited(self, action: str) -> list[AuditEvent]:
        """Return the events with an action, oldest first."""
        found = self.catalog.audit.stored("-", self.catalog.audit.head("-"))
        return [one.event for one in found if one.event is not None and one.event.action == action]

    def stored(self) -> str:
        """Return everything in the table, as text: to look for what must not be there."""
        scan = self.catalog._table._connection.connection.dispatch("Scan", {"TableName": self.catalog._table.name})
        return json.dumps(scan, default=str)


@pytest.fixture(scope="module")
def connected() -> Iterator[Catalog]:
    """A catalog whose client the tests of a module share: making one takes most of a test's time."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_PROFILE"):
            patch.delenv(name, raising=False)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
        yield Catalog("coffre-catalog")


@pytest.fixture
def catalog(connected: Catalog) -> Iterator[Catalog]:
    found = Catalog("coffre-catalog")
    found._table._connection = connected._table._connection
    create(found._table)
    yield found
    found._table._connection.connection.dispatch("DeleteTable", {"TableName": found._table.name})


@pytest.fixture
def scene(catalog: Catalog) -> Scene:
    topic, issuer = Published(), PlayedIssuer()
    alerting: Callable[..., Alerting] = Alerting
    edge = Edge(make_logger("console"), alerting(catalog, topic, lambda: NOW, lambda _: None))
    made = Scene(catalog, topic, issuer, configuration())
    made.gate = Gate(catalog, edge, lambda: made.current, {"coffre/console/client": "s3cret:/"}.__getitem__, issuer)
    return made
