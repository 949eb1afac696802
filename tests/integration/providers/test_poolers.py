"""Backups through a pooler of a provider, with the 15 connections that small plans have."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.integration.contents import RoundTrip
from tests.providers.pooler import pgbouncer
from tests.providers.servers import ProviderServer

from coffre.postgres.connection.connection_secret import parse_secret
from coffre.postgres.inspection.sessions import shared_process


def through(url: str, port: int) -> str:
    """The same database and role, by another port."""
    return url.replace(f":{urlsplit(url).port}/", f":{port}/")


def test_a_session_pooler_with_15_connections_is_enough(project: RoundTrip, pgbouncer_root: Path) -> None:
    with pgbouncer(pgbouncer_root, project.server.port, "session") as port:
        backup = project.back_up(reader=through(project.source, port), limits={"streams": 4})
        report = project.restore(backup, through(project.copy, port), streams=4)

    assert backup.exceptions == ()
    assert [left.what for left in report.left_out] == ["1 row of vault.secrets"]
    assert report.rows > 100


@pytest.mark.parametrize(("mode", "is_shared"), [("session", False), ("transaction", True)])
def test_a_pooler_that_shares_sessions_between_transactions_is_noticed(
    mode: str, is_shared: bool, supabase: ProviderServer, pgbouncer_root: Path
) -> None:
    url = supabase.project(template="fresh")
    with pgbouncer(pgbouncer_root, supabase.server.port, mode) as port:
        connection = parse_secret(through(url, port), where="the test")

        assert shared_process(connection).same_process is is_shared
